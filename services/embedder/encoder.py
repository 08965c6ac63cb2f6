"""The sentence encoder. The only module that imports torch and sentence_transformers; import it lazily."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from huggingface_hub import snapshot_download
from sentence_transformers import SentenceTransformer

from services.common.errors import PreconditionError
from services.embedder.fingerprint import fingerprint_encoder
from services.embedder.types import Encoded, EncoderInfo

log = structlog.get_logger(__name__)

# Weights in the formats of other frameworks, which are never loaded here.
_NOT_NEEDED = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.ot", "*.msgpack", "*.gguf", "*.tflite"]
# What max_tokens says for a model without a limit.
_NO_LIMIT = 2**31 - 1


class SentenceTransformerEncoder:
    """One sentence-transformers model on one device."""

    def __init__(self, model: SentenceTransformer, info: EncoderInfo, *, bfloat16: bool) -> None:
        self._model = model
        self._info = info
        self._bfloat16 = bfloat16
        # Some models declare a prompt that their own encode() puts before every text.
        name = model.default_prompt_name
        self._prompt: str = (model.prompts[name] or "") if name else ""

    @classmethod
    def load(
        cls, model: str, *, revision: str | None, device: str, precision: str, threads: int
    ) -> "SentenceTransformerEncoder":
        """Load a folder, or a hub id through its local snapshot (fetched if it is not there).

        Call it in the thread that will encode: PyTorch's thread count belongs to a thread.

        Raises:
            PreconditionError: no such model, not a sentence-transformers model, or no such device.
        """
        if threads:
            torch.set_num_threads(threads)
        folder = _resolve(model, revision)
        fingerprint = fingerprint_encoder(folder, precision=precision)
        try:
            loaded = SentenceTransformer(
                str(folder),
                device=None if device == "auto" else device,
                model_kwargs={"dtype": torch.float32},
                local_files_only=True,
                trust_remote_code=False,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise PreconditionError(f"cannot load the sentence encoder {model!r}: {error}") from error
        loaded.eval()
        info = EncoderInfo(
            model=model,
            dimension=int(loaded.get_embedding_dimension() or 0),
            fingerprint=fingerprint,
            max_tokens=_max_tokens(loaded),
            # By name: the class has moved between releases.
            normalized=type(loaded[-1]).__name__ == "Normalize",
            device=loaded.device.type,
        )
        log.info("encoder.loaded", model=model, folder=str(folder), device=str(loaded.device), **_facts(info))
        return cls(loaded, info, bfloat16=precision == "bfloat16")

    @property
    def info(self) -> EncoderInfo:
        return self._info

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Rows as ``SentenceTransformer.encode`` gives them, in one forward pass."""
        inputs = list(texts)
        with (
            torch.inference_mode(),
            torch.autocast(self._model.device.type, dtype=torch.bfloat16, enabled=self._bfloat16),
        ):
            features = self._model.preprocess(inputs, prompt=self._prompt or None)
            features = {
                key: value.to(self._model.device) if isinstance(value, torch.Tensor) else value
                for key, value in features.items()
            }
            truncated = self._truncated(inputs, features)
            rows = self._model(features)["sentence_embedding"]
        return Encoded(rows.float().cpu().numpy(), truncated)

    def _truncated(self, texts: list[str], features: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which texts have more tokens than the model takes: counted, not guessed from characters."""
        flags = np.zeros(len(texts), dtype=np.bool_)
        mask = features.get("attention_mask")
        # Only a row that fills the limit can have been cut. Flattened batches have no mask: count all.
        if mask is None or mask.ndim != 2:
            full = list(range(len(texts)))
        else:
            full = [int(i) for i in (mask.sum(dim=1) >= self._info.max_tokens).nonzero().flatten()]
        if full:
            counted = self._model.tokenizer(
                [self._prompt + texts[i] for i in full], padding=False, truncation=False, verbose=False
            )
            flags[full] = [len(ids) > self._info.max_tokens for ids in counted["input_ids"]]
        return flags


def _resolve(model: str, revision: str | None) -> Path:
    if Path(model).is_dir():
        return Path(model)
    if model.startswith((".", "/", "~")) or os.sep * 2 in model:
        raise PreconditionError(f"no such folder: {model}")
    try:
        return Path(snapshot_download(model, revision=revision, ignore_patterns=_NOT_NEEDED))
    except (OSError, ValueError) as error:
        raise PreconditionError(
            f"cannot get the sentence encoder {model!r} from the model hub, and it is no local folder:"
            f" {error}. Set VALIGN_EMBEDDER_MODEL to a folder, or check the name, the network and"
            " the token of the hub"
        ) from error


def _max_tokens(model: SentenceTransformer) -> int:
    limit = model.max_seq_length
    return min(int(limit), _NO_LIMIT) if limit else _NO_LIMIT


def _facts(info: EncoderInfo) -> dict[str, Any]:
    return {
        "dimension": info.dimension,
        "fingerprint": info.fingerprint,
        "max_tokens": info.max_tokens,
        "normalized": info.normalized,
    }
