"""What the generator speaks of: prompts, completions, scores, adapters, and the engine's port."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

from services.common.errors import InvalidInputError

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation, oldest turn first (keys ``role`` and ``content``), and the begun answer."""

    messages: tuple[Mapping[str, str], ...]
    prefill: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. ``temperature`` 0 is greedy; ``seed`` None is the engine's own randomness."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerateItem:
    """One prompt to complete."""

    prompt: Prompt
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """One continuation to score."""

    prompt: Prompt
    continuation: str


ItemT = TypeVar("ItemT", GenerateItem, ScoreItem)


@dataclass(frozen=True, slots=True)
class Asked(Generic[ItemT]):
    """One item under the caller's key, or why what the caller sent is none."""

    id: str
    item: ItemT | InvalidInputError


@dataclass(frozen=True, slots=True)
class Completion:
    """A generated text, without the begun answer."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Score:
    """Sum of natural log-probabilities over ``tokens`` tokens."""

    logprob: float
    tokens: int


@dataclass(frozen=True, slots=True)
class LoraHandle:
    """An adapter as the engine knows it. ``lora_id`` is never used twice in a process."""

    name: str
    lora_id: int
    folder: Path


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Identity and limits of a running engine.

    ``copies`` of the model share the work, each with the whole model and all adapters (data parallelism).
    ``device_name`` is what the driver calls the GPU, and ``gpus`` are those of all copies; "" and 0 on a CPU.
    ``weight_shapes`` are the base model's weights by name, shape (out, in), as far as its
    safetensors headers tell; empty if the weights have another format.
    """

    model: str
    revision: str
    fingerprint: str
    max_model_len: int
    max_lora_rank: int
    max_loras: int
    max_cpu_loras: int
    copies: int
    lora_target_modules: tuple[str, ...]
    has_chat_template: bool
    engine_version: str
    device: str
    weight_shapes: Mapping[str, tuple[int, ...]]
    device_name: str = ""
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Canary:
    """A continuation with the trainer's own log-probabilities (nats, summed over ``tokens`` tokens)."""

    prompt: Prompt
    continuation: str
    logprob_adapter: float
    logprob_base: float
    tokens: int


@dataclass(frozen=True, slots=True)
class AdapterMeta:
    """What an adapter's manifest says of it."""

    rank: int
    base_fingerprint: str
    canaries: tuple[Canary, ...]


@dataclass(frozen=True, slots=True)
class CanaryProof:
    """The evidence of a swap: the canary nearest to its limit, and how far the text moved.

    ``max_relative_error`` and ``tolerance`` belong to the same canary; both are relative to
    the trainer's log-probability.
    """

    canaries: int
    max_relative_error: float
    tolerance: float
    mean_shift_nats: float


@dataclass(frozen=True, slots=True)
class AdapterStatus:
    """One adapter in the engine."""

    name: str
    sha256: str
    rank: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Outcome of a load; ``duration_s`` runs from the call to the proof."""

    adapter: AdapterStatus
    proof: CanaryProof
    already_loaded: bool
    duration_s: float


class Engine(Protocol):
    """One inference engine with one base model.

    Every method but ``start`` and ``stop`` raises NotReadyError while the engine is not
    running or when it dies under the call. Cancelling a call aborts its request.
    """

    @property
    def info(self) -> EngineInfo:
        """Identity and limits."""

    @property
    def incarnation(self) -> int:
        """Grows with every start; adapters belong to one incarnation."""

    async def start(self) -> None:
        """Load the model; returns when it answers. PreconditionError: it can't be loaded as configured."""

    async def stop(self) -> None:
        """Release everything. Safe to call at any time, also on a dead engine."""

    async def wait_dead(self) -> str:
        """Return the reason when a running engine has died."""

    async def generate(self, prompt: Prompt, sampling: Sampling, lora: LoraHandle | None) -> Completion:
        """Complete one prompt. InvalidInputError: it cannot be served (too long, for example)."""

    async def score(
        self, prompt: Prompt, continuation: str, lora: LoraHandle | None, copy: int | None = None
    ) -> Score:
        """Log-probability of one continuation. InvalidInputError as in ``generate``.

        ``copy``: which copy of the model answers, 0 to ``info.copies`` - 1; None for the least loaded.
        """

    async def add_lora(self, lora: LoraHandle) -> None:
        """Load an adapter from its folder into every copy. PreconditionError: one of them refuses it."""

    async def remove_lora(self, lora: LoraHandle) -> None:
        """Remove an adapter from every copy; one that is not there is no error."""

    async def list_loras(self) -> tuple[frozenset[int], ...]:
        """The ids that each copy holds."""
