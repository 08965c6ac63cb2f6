"""Where a base model lies on this machine, and its identity. Generator and trainer share both.

If one of the two fetched other files than the other, or counted others, the same model would have two
fingerprints, and every adapter would be refused as one for another base model.
"""

from pathlib import Path

from services.common.artifacts import fingerprint_folder
from services.common.errors import NotFoundError

_TEXT_FILES = ("*.json", "*.model", "*.txt", "*.jinja")
_SAFE_WEIGHTS = "*.safetensors"
_PICKLED_WEIGHTS = "*.bin"


def resolve_base_model(model: str, revision: str | None) -> Path:
    """The folder of a base model: a local one as it is, a hub id after its download.

    Weights are fetched as safetensors, and as ``*.bin`` only where the hub has no others.

    Raises:
        NotFoundError: neither a folder nor a model that the hub (or its local cache) has.
    """
    if Path(model).is_dir():
        return Path(model).resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    def fetch(weights: str) -> Path:
        patterns = [*_TEXT_FILES, weights]
        return Path(snapshot_download(model, revision=revision or None, allow_patterns=patterns))

    try:
        folder = fetch(_SAFE_WEIGHTS)
        return folder if any(folder.glob(_SAFE_WEIGHTS)) else fetch(_PICKLED_WEIGHTS)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise NotFoundError(
            f"base model {model!r} (revision {revision or 'default'}) is neither a folder on this machine "
            f"nor to be had from the hub: {error}"
        ) from error


def fingerprint_base_model(folder: Path) -> str:
    """sha256 (hex) over ``config.json`` and the weights that are loaded.

    Beside safetensors, ``*.bin`` files are not loaded and do not count: whether a cache holds them
    depends on who else uses it. Raises NotFoundError for a folder with neither.
    """
    weights = _SAFE_WEIGHTS if any(folder.glob(_SAFE_WEIGHTS)) else _PICKLED_WEIGHTS
    return fingerprint_folder(folder, ("config.json", weights))
