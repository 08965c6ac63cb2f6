"""What the loop and the API need from the world, as Protocols.

Behind them: ``clients/`` (gRPC), ``store/`` (SQL), ``services.common.artifacts``; ``__main__`` builds them.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.auditlog import AuditEntries
from services.orchestrator.domain.prompts import Prompt
from services.orchestrator.idempotency import IdempotencyBook
from services.orchestrator.listing import Page, RunFilter
from services.orchestrator.queueing import (
    RunQueue as RunQueue,
)
from services.orchestrator.queueing import (
    StepReader as StepReader,
)
from services.orchestrator.records import (
    CompletionRecord as CompletionRecord,
)
from services.orchestrator.records import (
    EventRecord as EventRecord,
)
from services.orchestrator.records import (
    LeadershipLost as LeadershipLost,
)
from services.orchestrator.records import (
    OpenRun as OpenRun,
)
from services.orchestrator.records import (
    RunRecord as RunRecord,
)
from services.orchestrator.records import (
    RunStatus as RunStatus,
)
from services.orchestrator.records import (
    StepRecord as StepRecord,
)
from services.orchestrator.registry.book import AdapterBook


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the tokens of one completion are drawn."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class GenerationItem:
    """One prompt to complete; ``key`` comes back with the completion."""

    key: str
    prompt: Prompt
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Completion:
    """One completion, or the error that took its place (``error_code`` set, ``text`` empty)."""

    key: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    adapter: str
    adapter_sha256: str
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class GeneratorInfo:
    """Identity of the model that the generator serves; ``gpus`` are those of one engine, 0 if unknown."""

    model: str
    revision: str
    fingerprint: str
    max_model_len: int
    max_lora_rank: int
    engine_version: str
    device: str
    device_name: str = ""
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """An immutable adapter in the artifact store."""

    name: str
    sha256: str
    uri: str


@dataclass(frozen=True, slots=True)
class SwapProof:
    """What the generator measured when it loaded an adapter."""

    canaries: int
    max_relative_error: float
    tolerance: float
    mean_shift_nats: float
    duration_s: float
    already_loaded: bool


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """A continuation whose log-probability is wanted; ``key`` comes back with the score."""

    key: str
    prompt: Prompt
    continuation: str


@dataclass(frozen=True, slots=True)
class Score:
    """Sum of the tokens' natural log-probabilities, or the error that took its place."""

    key: str
    logprob: float
    tokens: int
    error_code: str = ""
    error_message: str = ""


class Generator(Protocol):
    """The model under test. Every call raises a ValignError of services.common.errors.

    One that cannot score (an endpoint of somebody else's) raises PreconditionError from ``score``.
    """

    async def describe(self) -> GeneratorInfo: ...
    def generate(
        self, items: Sequence[GenerationItem], adapter: str = ""
    ) -> AsyncGenerator[Completion, None]: ...
    def score(self, items: Sequence[ScoreItem], adapter: str = "") -> AsyncGenerator[Score, None]: ...
    async def load_adapter(self, adapter: AdapterRef) -> SwapProof: ...
    async def unload_adapter(self, name: str) -> None: ...
    async def list_adapters(self) -> list[tuple[str, str]]:
        """Names and sha256 of what the engine holds."""
        ...


class Endpoint(Generator, Protocol):
    """A generator of somebody else's, which can be asked and not much more."""

    async def honours_seed(self, item: GenerationItem) -> bool | None:
        """Whether equal seeds give equal answers; None if the prompt cannot show it."""
        ...

    def observations(self) -> dict[str, Any]:
        """What was seen since it was built: ``requests``, ``retries``, ``system_fingerprints``, ``models``
        and ``left_out`` (parameter -> the endpoint's reason). JSON-able."""
        ...

    async def aclose(self) -> None:
        """End its connections."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """Identity of the sentence encoder."""

    model: str
    dimension: int
    fingerprint: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Rows in the order of the texts, (n, dimension), float32; indices of truncated texts; whose rows; how
    many of them were known."""

    rows: NDArray[np.float32]
    truncated: tuple[int, ...] = ()
    fingerprint: str = ""
    cached: int = 0


class Embedder(Protocol):
    """The sentence encoder."""

    async def describe(self) -> EncoderInfo: ...
    async def embed(self, texts: Sequence[str]) -> Embeddings: ...


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One example: conversation, answer, and the name of its loss weight (a topic id)."""

    prompt: Prompt
    answer: str
    group: str


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """Everything that determines a training job; ``settings`` are the study's lora and training sections."""

    base_model: str
    base_revision: str
    base_fingerprint: str
    examples: tuple[TrainingExample, ...]
    group_weights: Mapping[str, float]
    lora: Mapping[str, Any]
    training: Mapping[str, Any]
    seed: int
    adapter_name_prefix: str
    init_adapter: AdapterRef | None = None


@dataclass(frozen=True, slots=True)
class TrainingStatus:
    """State of a job: queued, running, succeeded, failed or cancelled.

    ``device`` ("cpu" or "cuda"), ``device_name`` and ``workers`` say what it runs on, once it does. A job
    begun anew has another ``create_time_ns``. ``cpu_s``, ``gpu_s``: of its processes that have ended.
    """

    job_id: str
    state: str
    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    loss: float | None = None
    learning_rate: float | None = None
    tokens_per_s: float | None = None
    time_left_s: float | None = None
    adapter: AdapterRef | None = None
    error_code: str = ""
    error_message: str = ""
    duration_s: float = 0.0
    device: str = ""
    device_name: str = ""
    workers: int = 0
    create_time_ns: int = 0
    cpu_s: float = 0.0
    gpu_s: float = 0.0


class Trainer(Protocol):
    """Training jobs; ``start`` attaches to a job that is known."""

    def job_id(self, request: TrainingRequest) -> str:
        """The id that ``start`` will give the request's job."""
        ...

    async def start(self, request: TrainingRequest, restart_ended: bool = False) -> str:
        """Begin or join the job and return its id (a hash of the request); begin it anew if it has failed or
        was cancelled and ``restart_ended`` says so."""
        ...

    def watch(self, job_id: str) -> AsyncIterator[TrainingStatus]: ...
    async def cancel(self, job_id: str) -> TrainingStatus | None: ...


class RunStore(Protocol):
    """Durable state. Synchronous: transactions are short; async callers use a thread."""

    @property
    def registry(self) -> AdapterBook:
        """Where the adapters are registered."""
        ...

    @property
    def idempotency(self) -> IdempotencyBook:
        """What was answered under which idempotency key."""
        ...

    @property
    def audit_log(self) -> AuditEntries:
        """What was done by whom."""
        ...

    def create_run(
        self,
        run_id: str,
        name: str,
        study: Mapping[str, Any],
        idempotency_key: str = "",
        *,
        max_queued: int = 0,
    ) -> tuple[RunRecord, bool]:
        """Insert a queued run and its first event; (existing run, False) for a known key with the same
        study; ConflictError for a known key with another study; OverloadedError if ``max_queued`` (0: no
        limit) others wait. A key is its principal's own."""
        ...

    def get_run(self, run_id: str) -> RunRecord:
        """NotFoundError if there is none."""
        ...

    def list_runs(
        self,
        status: RunStatus | None = None,
        page_size: int = 50,
        page_token: str = "",
        *,
        where: RunFilter | None = None,
        page: Page | None = None,
    ) -> tuple[list[RunRecord], str]:
        """A page of runs, and the next page's token ("" on the last)."""
        ...

    def update_run(self, run_id: str, **changes: Any) -> RunRecord:
        """Set columns by name. A run that has ended keeps its status."""
        ...

    def change_status(
        self, run_id: str, status: RunStatus, kind: str, data: Mapping[str, Any] | None = None, **changes: Any
    ) -> bool:
        """Set the status (and other columns) and append the event that tells it, both or neither.

        False, and nothing is written, if the run has that status already or has ended.
        """
        ...

    def request_cancel(self, run_id: str) -> RunRecord:
        """Mark a run as one to be stopped; a run that has ended stays as it is."""
        ...

    def request_pause(self, run_id: str) -> RunRecord:
        """Mark a run as one to be paused. PreconditionError: it has ended, or is being cancelled."""
        ...

    def mark_paused(self, run_id: str) -> bool:
        """The run has stopped; False, and nothing is written, if nobody wants it paused any more."""
        ...

    def request_resume(self, run_id: str) -> RunRecord:
        """Let a paused run go on. PreconditionError: it is not paused."""
        ...

    def retry_run(
        self,
        run_id: str,
        from_step: str,
        *,
        seen: RunRecord | None = None,
        max_queued: int = 0,
        study: Mapping[str, Any] | None = None,
    ) -> RunRecord:
        """Open a run that has ended again, from a step on. PreconditionError: it has not ended."""
        ...

    def open_runs(self) -> list[OpenRun]:
        """Runs that the leader must do something about, oldest first."""
        ...

    def bound(self, epoch: int) -> "RunStore":
        """This store for the leader of this epoch: every call raises LeadershipLost once it is over."""
        ...

    def check_leads(self) -> None:
        """LeadershipLost if the epoch that this store is bound to is over."""
        ...

    def add_event(self, run_id: str, kind: str, data: Mapping[str, Any] | None = None) -> EventRecord: ...
    def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[EventRecord]: ...

    def add_completions(self, run_id: str, records: Sequence[CompletionRecord]) -> None:
        """Insert; a key (arm, topic, index, draw) that is stored already is left as it is."""
        ...

    def completions(
        self, run_id: str, arm: str | None = None, topic_id: str | None = None
    ) -> list[CompletionRecord]:
        """Ordered by arm, topic, index, draw."""
        ...

    def put_value(self, run_id: str, key: str, value: Any) -> None:
        """Store a step's small result (JSON-able) under a key; overwrites."""
        ...

    def get_value(self, run_id: str, key: str) -> Any:
        """The value, or None."""
        ...

    def subscribe(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call ``listener(run_id)`` after each change of a run made through this object, in the thread
        that made it; it must not block or raise. Returns the function that ends this."""
        ...

    def ping(self) -> None:
        """Raise if the database does not answer."""
        ...
