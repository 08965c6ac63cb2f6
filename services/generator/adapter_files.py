"""Checks of a fetched adapter, before the engine sees it. An adapter is data from a stranger.

Nothing is unpickled: the tensors' names, types and shapes come from the safetensors header
(https://github.com/huggingface/safetensors#format), and their bytes are read as plain numbers.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from services.common.errors import PreconditionError
from services.generator.types import AdapterMeta, Canary, EngineInfo, Prompt

FORMAT = "peft-lora"
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_SAFE_SUFFIXES = (".json", ".safetensors", ".md", ".txt", ".jinja")
_MAX_HEADER_BYTES = 32 * 1024 * 1024
_MAX_CANARIES = 256
_TENSOR = re.compile(r"base_model\.model\.(?P<module>[A-Za-z0-9_.]+)\.lora_(?P<side>[AB])\.weight")
# A float is not finite if all bits of its exponent are set.
_EXPONENTS: Mapping[str, tuple[type[np.generic], int]] = {
    "F32": (np.uint32, 0x7F80_0000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
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


def check_adapter(
    name: str, folder: Path, files: Mapping[str, str], meta: Mapping[str, Any], engine: EngineInfo
) -> AdapterMeta:
    """Check a fetched adapter folder against its manifest's metadata and the engine's limits.

    Args:
        name: for messages.
        folder: holds ``files``, whose sha256 have been checked.
        meta: the manifest's ``meta``.

    Raises:
        PreconditionError: with what is wrong, the value, and the remedy.
    """
    _check_files(name, files)
    manifest = _read_meta(name, meta)
    if manifest.base_fingerprint != engine.fingerprint:
        raise PreconditionError(
            f"adapter {name} was trained on another base model: fingerprint {manifest.base_fingerprint[:12]}…"
            f" ({meta.get('base_model')}), this engine serves {engine.fingerprint[:12]}… ({engine.model})"
        )
    rank, modules = _check_config(name, folder / _CONFIG, engine)
    if rank != manifest.rank:
        raise PreconditionError(f"adapter {name}: manifest says rank {manifest.rank}, {_CONFIG} says {rank}")
    _check_tensors(name, folder / _WEIGHTS, rank, modules, engine)
    return manifest


def read_header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The tensors of a safetensors file by name, and where their bytes begin.

    Raises:
        ValueError: no safetensors file.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size_bytes < 8 or length > min(_MAX_HEADER_BYTES, size_bytes - 8):
            raise ValueError(f"header of {length} bytes in a file of {size_bytes} bytes")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("header is no object")
    header.pop("__metadata__", None)
    return header, 8 + length


def _check_files(name: str, files: Mapping[str, str]) -> None:
    for needed in (_CONFIG, _WEIGHTS):
        if needed not in files:
            hint = ""
            if needed == _WEIGHTS and any(f.endswith((".bin", ".pt", ".pth")) for f in files):
                hint = "; pickled weights are refused, save the adapter as safetensors"
            raise PreconditionError(
                f"adapter {name} has no {needed} (it has {', '.join(sorted(files))}){hint}"
            )
    for file in files:
        if not file.endswith(_SAFE_SUFFIXES):
            raise PreconditionError(f"adapter {name} holds {file}; only safetensors and text files are taken")


def _read_meta(name: str, meta: Mapping[str, Any]) -> AdapterMeta:
    if meta.get("format") != FORMAT:
        raise PreconditionError(
            f"adapter {name}: manifest format is {meta.get('format')!r}, expected {FORMAT!r}"
        )
    try:
        canaries = tuple(
            Canary(
                prompt=Prompt(
                    tuple({"role": str(m["role"]), "content": str(m["content"])} for m in raw["messages"]),
                    str(raw.get("prefill", "")),
                ),
                continuation=str(raw["continuation"]),
                logprob_adapter=float(raw["logprob_adapter"]),
                logprob_base=float(raw["logprob_base"]),
                tokens=int(raw["tokens"]),
            )
            for raw in meta["canaries"]
        )
        read = AdapterMeta(int(meta["rank"]), str(meta["base_fingerprint"]), canaries)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PreconditionError(f"adapter {name}: manifest metadata is incomplete: {error!r}") from error
    if not 1 <= len(canaries) <= _MAX_CANARIES:
        raise PreconditionError(
            f"adapter {name} has {len(canaries)} canaries; 1 to {_MAX_CANARIES} are needed to prove a swap"
        )
    for canary in canaries:
        if canary.tokens < 1 or not all(map(math.isfinite, (canary.logprob_adapter, canary.logprob_base))):
            raise PreconditionError(
                f"adapter {name}: a canary without tokens or with a log-probability that is not finite"
            )
        if not canary.prompt.messages or any(
            m["role"] not in ("system", "user", "assistant") for m in canary.prompt.messages
        ):
            raise PreconditionError(
                f"adapter {name}: a canary whose conversation is empty or has an unknown role"
            )
    return read


def _check_config(name: str, path: Path, engine: EngineInfo) -> tuple[int, frozenset[str]]:
    try:
        config = json.loads(path.read_bytes())
        rank = config["r"]
        modules = config["target_modules"]
        kind = config["peft_type"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PreconditionError(f"adapter {name}: {_CONFIG} is not PEFT's: {error!r}") from error
    if kind != "LORA":
        raise PreconditionError(f"adapter {name} is of type {kind!r}; only plain LoRA is served")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise PreconditionError(f"adapter {name}: rank {rank!r} is no positive number")
    if rank > engine.max_lora_rank:
        raise PreconditionError(
            f"adapter {name} has rank {rank}, the engine takes at most {engine.max_lora_rank};"
            " raise VALIGN_GENERATOR_MAX_LORA_RANK or train with a smaller rank"
        )
    if config.get("bias", "none") != "none":
        raise PreconditionError(
            f"adapter {name} trains biases ({config['bias']!r}); only plain LoRA is served"
        )
    for feature in _REFUSED_FEATURES:
        if config.get(feature):
            raise PreconditionError(f"adapter {name} uses {feature}; only plain LoRA is served")
    if not isinstance(modules, list) or not all(isinstance(module, str) for module in modules):
        raise PreconditionError(f"adapter {name}: target_modules must be a list of names, not {modules!r}")
    unknown = sorted(set(modules) - set(engine.lora_target_modules))
    if unknown or not modules:
        raise PreconditionError(
            f"adapter {name} changes {', '.join(unknown) or 'nothing'}; the engine takes"
            f" {', '.join(engine.lora_target_modules)} (VALIGN_GENERATOR_LORA_TARGET_MODULES)"
        )
    return rank, frozenset(modules)


def _check_tensors(name: str, path: Path, rank: int, modules: frozenset[str], engine: EngineInfo) -> None:
    try:
        header, start = read_header(path)
        sides: dict[str, set[str]] = {}
        for tensor, entry in header.items():
            match = _TENSOR.fullmatch(tensor)
            if match is None or match["module"].rpartition(".")[2] not in modules:
                raise ValueError(f"tensor {tensor} belongs to none of the target modules")
            sides.setdefault(match["module"], set()).add(match["side"])
            _check_shape(
                tensor, entry, rank, match["side"], engine.weight_shapes.get(f"{match['module']}.weight")
            )
            _check_finite(tensor, entry, path, start)
        if not sides:
            raise ValueError("no tensors")
        for module, found in sides.items():
            if found != {"A", "B"}:
                raise ValueError(f"{module} has only lora_{found.pop()}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PreconditionError(f"adapter {name}: {_WEIGHTS} is refused: {error}") from error


def _check_shape(
    tensor: str, entry: Mapping[str, Any], rank: int, side: str, base: tuple[int, ...] | None
) -> None:
    shape = tuple(entry["shape"])
    if entry["dtype"] not in _EXPONENTS:
        raise ValueError(f"tensor {tensor} is of type {entry['dtype']}; {', '.join(_EXPONENTS)} are taken")
    if len(shape) != 2 or shape[0 if side == "A" else 1] != rank:
        raise ValueError(f"tensor {tensor} has shape {shape}, which does not fit rank {rank}")
    if base is not None:
        wanted = (rank, base[1]) if side == "A" else (base[0], rank)
        if shape != wanted:
            raise ValueError(f"tensor {tensor} has shape {shape}; the base model needs {wanted}")


def _check_finite(tensor: str, entry: Mapping[str, Any], path: Path, start: int) -> None:
    dtype, exponent = _EXPONENTS[entry["dtype"]]
    begin, end = entry["data_offsets"]
    count = math.prod(entry["shape"])
    if end - begin != count * np.dtype(dtype).itemsize or begin < 0 or start + end > path.stat().st_size:
        raise ValueError(f"tensor {tensor}: its bytes do not fit its shape")
    bits = np.fromfile(path, dtype=dtype, count=count, offset=start + begin)
    if np.any((bits & exponent) == exponent):
        raise ValueError(f"tensor {tensor} holds NaN or infinity")
