"""The adapter that a job continues from: data from a stranger, checked before torch or PEFT read it.

Whether it fits the job is for ``lora/model``; here it is only made sure that reading it is safe.
"""

from pathlib import Path
from typing import Any

from services.common.errors import PreconditionError
from services.common.safetensors_files import check_finite, read_header
from services.common.strict_json import loads

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_MAX_CONFIG_BYTES = 1024 * 1024
_MAX_CONFIG_PARTS = 10_000
_MAX_HEADER_BYTES = 16 * 1024 * 1024
_MAX_HEADER_PARTS = 600_000
# Each would need more than the two matrices of a plain adapter.
_REFUSED_FEATURES = (
    "modules_to_save",
    "use_dora",
    "lora_bias",
    "alora_invocation_tokens",
    "layer_replication",
    "rank_pattern",
    "alpha_pattern",
    "trainable_token_indices",
    "target_parameters",
    "use_qalora",
    "use_bdlora",
)


def check_init_adapter(folder: Path) -> dict[str, Any]:
    """Its configuration; a fetched folder whose files have their sha256.

    Raises:
        PreconditionError: a file is missing, too large, no JSON or no safetensors, holds NaN or infinity or
            a type other than F32, F16 and BF16, or the configuration asks for more than plain LoRA.
    """
    try:
        config = _read_config(folder / _CONFIG)
        path = folder / _WEIGHTS
        header, start = read_header(path, max_header_bytes=_MAX_HEADER_BYTES, max_parts=_MAX_HEADER_PARTS)
        for name, entry in header.items():
            check_finite(ascii(name)[:200], entry, path, start)
    except (OSError, ValueError) as error:
        raise PreconditionError(f"the adapter to continue from is refused: {str(error)[:500]}") from error
    asks = [feature for feature in _REFUSED_FEATURES if config.get(feature)]
    if asks:
        raise PreconditionError(
            f"the adapter to continue from uses {', '.join(asks)}; only plain LoRA is trained"
        )
    return config


def _read_config(path: Path) -> dict[str, Any]:
    size_bytes = path.stat().st_size
    if size_bytes > _MAX_CONFIG_BYTES:
        raise ValueError(f"{_CONFIG} has {size_bytes} bytes; at most {_MAX_CONFIG_BYTES} are read")
    config = loads(path.read_bytes(), max_parts=_MAX_CONFIG_PARTS)
    if not isinstance(config, dict):
        raise ValueError(f"{_CONFIG} is no object")
    return config
