"""Checks of a fetched adapter, before the engine sees it. An adapter is data from a stranger.

Nothing is unpickled: the tensors' names, types and shapes come from the safetensors header, and their bytes
are read as plain numbers. What is checked is this process's own copy, which is what the engine then loads.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.common.errors import PreconditionError
from services.common.safetensors_files import EXPONENTS, check_finite
from services.common.safetensors_files import read_header as read_header
from services.common.strict_json import loads
from services.generator.types import AdapterMeta, Canary, EngineInfo, Prompt

FORMAT = "peft-lora"
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
# Notes for people. Whatever else lies there some version of the engine might read.
_SAFE_SUFFIXES = (".md", ".txt")
_MAX_HEADER_BYTES = 16 * 1024 * 1024
_MAX_CONFIG_BYTES = 1024 * 1024
_MAX_CONFIG_PARTS = 10_000
# Brackets and commas of 60,000 tensors: more than any adapter has.
_MAX_HEADER_PARTS = 600_000
_MAX_ALPHA = 1e6
_MAX_SHOWN_CHARACTERS = 1000
_MAX_CANARIES = 256
_TENSOR = re.compile(r"base_model\.model\.(?P<module>[A-Za-z0-9_.]+)\.lora_(?P<side>[AB])\.weight")
_LAYER = re.compile(r"\.[0-9]+\.")
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
    try:
        return _check(name, folder, files, meta, engine)
    except PreconditionError as error:
        # What a stranger wrote goes into it: of any length, and of signs that no wire takes.
        raise PreconditionError(_plain(error.message)) from error


def _check(
    name: str, folder: Path, files: Mapping[str, str], meta: Mapping[str, Any], engine: EngineInfo
) -> AdapterMeta:
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
        if file not in (_CONFIG, _WEIGHTS) and not file.endswith(_SAFE_SUFFIXES):
            raise PreconditionError(
                f"adapter {name} holds {file}; beside {_CONFIG} and {_WEIGHTS} only notes"
                f" ({', '.join(_SAFE_SUFFIXES)}) are taken: leave it out"
            )


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
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
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
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes; at most {_MAX_CONFIG_BYTES} are read")
        config = loads(path.read_bytes(), max_parts=_MAX_CONFIG_PARTS)
        rank = config["r"]
        modules = config["target_modules"]
        kind = config["peft_type"]
        alpha = config["lora_alpha"]
    except (ValueError, KeyError, TypeError, IndexError) as error:
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
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha <= _MAX_ALPHA:
        raise PreconditionError(
            f"adapter {name}: lora_alpha {alpha!r} is not above 0, at most {_MAX_ALPHA:g}"
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
        header, start = read_header(path, max_header_bytes=_MAX_HEADER_BYTES, max_parts=_MAX_HEADER_PARTS)
        known = {_LAYER.sub(".#.", weight) for weight in engine.weight_shapes}
        sides: dict[str, set[str]] = {}
        for tensor, entry in header.items():
            match = _TENSOR.fullmatch(tensor)
            if match is None or match["module"].rpartition(".")[2] not in modules:
                raise ValueError(f"tensor {tensor} belongs to none of the target modules")
            sides.setdefault(match["module"], set()).add(match["side"])
            base = engine.weight_shapes.get(f"{match['module']}.weight")
            if base is None and _LAYER.sub(".#.", f"{match['module']}.weight") in known:
                raise ValueError(f"tensor {tensor} belongs to a layer that the base model does not have")
            _check_shape(tensor, entry, rank, match["side"], base)
            check_finite(tensor, entry, path, start)
        if not sides:
            raise ValueError("no tensors")
        for module, found in sides.items():
            if found != {"A", "B"}:
                raise ValueError(f"{module} has only lora_{found.pop()}")
    except (ValueError, KeyError, TypeError) as error:
        raise PreconditionError(f"adapter {name}: {_WEIGHTS} is refused: {error}") from error


def _check_shape(
    tensor: str, entry: Mapping[str, Any], rank: int, side: str, base: tuple[int, ...] | None
) -> None:
    shape = tuple(entry["shape"])
    if entry["dtype"] not in EXPONENTS:
        raise ValueError(f"tensor {tensor} is of type {entry['dtype']}; {', '.join(EXPONENTS)} are taken")
    if len(shape) != 2 or shape[0 if side == "A" else 1] != rank:
        raise ValueError(f"tensor {tensor} has shape {shape}, which does not fit rank {rank}")
    if base is not None:
        wanted = (rank, base[1]) if side == "A" else (base[0], rank)
        if shape != wanted:
            raise ValueError(f"tensor {tensor} has shape {shape}; the base model needs {wanted}")


def _plain(message: str) -> str:
    text = message.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:_MAX_SHOWN_CHARACTERS]
