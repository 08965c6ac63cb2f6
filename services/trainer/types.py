"""What a training job is. Plain data: no protobuf, no torch."""

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Message:
    """One turn before the answer; ``role`` is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """Turns, the answer to learn, and the name of the loss weight that applies."""

    messages: tuple[Message, ...]
    answer: str
    group: str

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """From ``{"messages": [{"role", "content"}], "answer", "group"}``."""
        messages = tuple(Message(str(m["role"]), str(m["content"])) for m in raw["messages"])
        return cls(messages, str(raw["answer"]), str(raw["group"]))


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """Shape of the adapter: plain LoRA, whose update is scaled by ``alpha / rank``."""

    rank: int
    alpha: float
    dropout: float
    target_modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """Everything that determines a job; the fields are those of the proto's TrainingSpec."""

    base_model: str
    revision: str
    base_fingerprint: str
    examples: tuple[Example, ...]
    examples_uri: str
    examples_sha256: str
    group_weights: dict[str, float]
    lora: LoraSpec
    epochs: int
    batch_size: int
    learning_rate: float
    adam_beta1: float
    adam_beta2: float
    weight_decay: float
    lr_schedule: str
    warmup_steps: int
    max_grad_norm: float
    max_length: int
    seed: int
    dtype: str
    init_adapter_uri: str
    init_adapter_sha256: str
    adapter_name_prefix: str
    canaries: int
    checkpoint_every_steps: int

    def to_json(self) -> dict[str, Any]:
        """A JSON-able copy."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        lora = dict(raw["lora"])
        lora["target_modules"] = tuple(lora["target_modules"])
        examples = tuple(Example.from_json(item) for item in raw["examples"])
        return cls(**{**raw, "lora": LoraSpec(**lora), "examples": examples})

    @property
    def sha256(self) -> str:
        """sha256 (hex) over the canonical JSON: two specs with one digest are one job."""
        text = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class JobState(StrEnum):
    """A stage of a job's life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True once nothing more will happen."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Progress:
    """One point of a job's curve; ``loss`` is in nats a token, ``tokens_per_s`` without padding.

    ``tokens`` counts from the job's begin; ``device`` is where it runs, "cpu" or "cuda", and ``device_name``
    what the driver calls that GPU; ``workers`` share each batch.
    """

    step: int
    total_steps: int
    epoch: float
    loss: float
    learning_rate: float
    tokens_per_s: float
    time_left_s: float
    tokens: int = 0
    device: str = ""
    workers: int = 1
    device_name: str = ""


@dataclass(frozen=True, slots=True)
class TrainedAdapter:
    """A result: its name, its folder in the artifact store, sha256 (hex) of its manifest."""

    name: str
    uri: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as callers see it.

    ``attempts`` counts every start of its process, ``deaths`` those that ended without a word,
    ``duration_s`` the seconds that its processes have run, ``cpu_s`` and ``gpu_s`` what that cost.
    """

    job_id: str
    spec_sha256: str
    created_ns: int
    state: JobState = JobState.QUEUED
    progress: Progress | None = None
    adapter: TrainedAdapter | None = None
    error_code: str = ""
    error_message: str = ""
    duration_s: float = 0.0
    attempts: int = 0
    deaths: int = 0
    cpu_s: float = 0.0
    gpu_s: float = 0.0
