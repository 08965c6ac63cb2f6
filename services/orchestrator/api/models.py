"""What the REST API answers with."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from services.common.errors import ErrorCode
from services.orchestrator.api.lists import NextPage
from services.orchestrator.application import ServiceState
from services.orchestrator.catalogue import ShippedStudy
from services.orchestrator.domain.prompts import PromptSet
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.governance import review_warnings
from services.orchestrator.ports import CompletionRecord, EventRecord, RunRecord, RunStatus
from services.orchestrator.study import prompt_set_digest

RUN_EXAMPLE = {
    "run_id": "r-20261121-k3m9qx",
    "name": "demo",
    "status": "running",
    "stage": "uncover",
    "identity": "9f2c6c1a4a5f0d8a2b7e1c3d5f6a7b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6",
    "create_time": "2026-11-21T14:03:05.123456Z",
    "end_time": None,
    "cancel_requested": False,
    "pause_requested": False,
    "attempt": 1,
    "created_by": "key:ci",
    "etag": "1-running-00",
    "error": None,
    "progress": {"uncover": {"done": 120, "total": 600}},
}
EVENT_EXAMPLE = {
    "number": 7,
    "time": "2026-11-21T14:03:09.500000Z",
    "kind": "stage.progress",
    "data": {"stage": "uncover", "done": 120, "total": 600},
}


def _examples(example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class RunError(BaseModel):
    """Why a run failed."""

    code: ErrorCode = Field(description="A code of the error table.")
    message: str = Field(description="What was wrong, and the remedy.")

    @classmethod
    def of(cls, code: str, message: str) -> "RunError | None":
        """None without a code."""
        return cls(code=ErrorCode(code), message=message) if code else None


class StageProgress(BaseModel):
    """How far a stage is."""

    done: int = Field(description="Items done.")
    total: int = Field(description="Items in all.")


class Run(BaseModel):
    """One execution of a study."""

    model_config = _examples(RUN_EXAMPLE)

    run_id: str = Field(description="Its id.")
    name: str = Field(description="The study's name.")
    status: RunStatus = Field(description="Where it stands.")
    stage: str = Field(description="The stage it is in; empty before it begins.")
    identity: str = Field(
        description="sha256 (hex) over study, reference set, prompt set and models; empty before it begins."
    )
    create_time: datetime = Field(description="When it was accepted.")
    end_time: datetime | None = Field(description="When it ended.")
    cancel_requested: bool = Field(description="True once somebody has asked it to stop.")
    pause_requested: bool = Field(
        description="True once somebody has asked it to pause, until it is resumed."
    )
    attempt: int = Field(description="Times that it was begun: 1, and one more for each retry.")
    created_by: str = Field(description="Who began it.")
    etag: str = Field(
        description="Changes with its status and with what somebody decides about it, not with its progress; "
        "send it as `If-Match`."
    )
    error: RunError | None = Field(description="Why it failed.")
    progress: dict[str, StageProgress] = Field(description="By stage, as far as it has come.")

    @classmethod
    def of(cls, run: RunRecord) -> "Run":
        """From the record."""
        error = RunError.of(run.error_code, run.error_message)
        return cls(
            run_id=run.run_id,
            name=run.name,
            status=run.status,
            stage=run.stage,
            identity=run.identity,
            create_time=run.create_time,
            end_time=run.end_time,
            cancel_requested=run.cancel_requested,
            pause_requested=run.pause_requested,
            attempt=run.attempt,
            created_by=run.created_by,
            etag=run.etag,
            error=error,
            progress={stage: StageProgress(**step) for stage, step in run.progress.items()},
        )


class RunPage(NextPage):
    """A page of runs."""

    model_config = _examples({"runs": [RUN_EXAMPLE], "next_page_token": ""})

    runs: list[Run] = Field(description="In the order that was asked for.")


class Event(BaseModel):
    """Something that happened in a run."""

    model_config = _examples(EVENT_EXAMPLE)

    number: int = Field(description="Rises by one within a run, from 1.")
    time: datetime = Field(description="When it happened.")
    kind: str = Field(description="What happened.")
    data: dict[str, Any] = Field(description="Details, by kind.")

    @classmethod
    def of(cls, event: EventRecord) -> "Event":
        """From the record."""
        return cls(number=event.number, time=event.time, kind=event.kind, data=dict(event.data))


class Principle(BaseModel):
    """One principle that the model stated."""

    model_config = _examples(
        {
            "arm": "original",
            "topic_id": "education",
            "index": 0,
            "draw": 0,
            "principle": "Every learner deserves a fair chance.",
            "adapter": "",
            "adapter_sha256": "",
        }
    )

    arm: str = Field(description='"original", "aligned", "base_p3" or "realigned-i<iteration>".')
    topic_id: str = Field(description="The topic's id.")
    index: int = Field(description="Number of the principle within its topic, from 0.")
    draw: int = Field(description="Which draw it came from, from 0.")
    principle: str = Field(description="The sentence.")
    adapter: str = Field(description="The adapter that produced it; empty for the base model.")
    adapter_sha256: str = Field(description="sha256 (hex) of that adapter's manifest; empty for the base.")

    @classmethod
    def of(cls, record: CompletionRecord) -> "Principle":
        """From the record."""
        return cls(**{name: getattr(record, name) for name in cls.model_fields})


class PrincipleList(BaseModel):
    """Principles of a run."""

    principles: list[Principle] = Field(description="By arm, topic, index and draw.")


class ReferenceSetSummary(BaseModel):
    """A packaged reference set in short."""

    model_config = _examples(
        {
            "id": "ten-commandments",
            "version": "1.0",
            "title": "The Ten Commandments",
            "steward": "valign maintainers",
            "review_date": "2027-11-01",
            "warnings": [],
        }
    )

    id: str = Field(description="Its id.")
    version: str = Field(description="Its version.")
    title: str = Field(description="Its title.")
    steward: str = Field(description="Its owner: who keeps the wording.")
    review_date: str = Field(description="ISO date of its next review.")
    stakeholders_consulted: tuple[str, ...] = Field(default=(), description="Whose views went into it.")
    warnings: tuple[str, ...] = Field(default=(), description="Says if its review is overdue.")

    @classmethod
    def of(cls, item: ReferenceSet) -> "ReferenceSetSummary":
        """From the set."""
        plain = {name: getattr(item, name) for name in cls.model_fields if name != "warnings"}
        return cls(**plain, warnings=review_warnings(item))


class ReferenceSetList(BaseModel):
    """The packaged reference sets."""

    reference_sets: list[ReferenceSetSummary] = Field(description="By id.")


class PromptSetSummary(BaseModel):
    """A packaged prompt set in short."""

    model_config = _examples(
        {"id": "instruct", "version": "1.0", "title": "Instruct models", "sha256": "5d41402a…"}
    )

    id: str = Field(description="Its id.")
    version: str = Field(description="Its version.")
    title: str = Field(description="Its title.")
    sha256: str = Field(description="sha256 (hex) of its content; part of a run's identity.")

    @classmethod
    def of(cls, item: PromptSet) -> "PromptSetSummary":
        """From the set."""
        return cls(id=item.id, version=item.version, title=item.title, sha256=prompt_set_digest(item))


class PromptSetList(BaseModel):
    """The packaged prompt sets."""

    prompt_sets: list[PromptSetSummary] = Field(description="By id.")


class StudySummary(BaseModel):
    """A shipped study in short."""

    model_config = _examples({"id": "demo", "title": "The demo: SmolLM2 and the Ten Commandments"})

    id: str = Field(description="Its id.")
    title: str = Field(description="What it is.")

    @classmethod
    def of(cls, item: ShippedStudy) -> "StudySummary":
        """From the study."""
        return cls(id=item.id, title=item.title)


class StudyList(BaseModel):
    """The shipped studies."""

    studies: list[StudySummary] = Field(description="By id.")


class Service(BaseModel):
    """One service as it was found."""

    model_config = _examples(
        {
            "name": "generator",
            "target": "127.0.0.1:50051",
            "reachable": True,
            "serving": True,
            "model": "SmolLM2-135M-Instruct",
            "fingerprint": "3b0c…",
            "version": "0.32.0",
            "device": "cpu",
            "latency_s": 0.004,
            "error": "",
        }
    )

    name: str = Field(description="generator, embedder, trainer, second_embedder or mlflow.")
    target: str = Field(description="Its address.")
    reachable: bool = Field(description="True if it answered.")
    serving: bool = Field(description="True if its health says SERVING.")
    model: str = Field(description="The model it serves; empty if it has none.")
    fingerprint: str = Field(description="sha256 (hex) of that model.")
    version: str = Field(description="Its engine's version.")
    device: str = Field(description="What it runs on.")
    latency_s: Annotated[float | None, Field(description="Seconds to answer; null if it did not.")]
    error: str = Field(description="Why it did not answer.")

    @classmethod
    def of(cls, state: ServiceState) -> "Service":
        """From the state."""
        facts = state.facts
        return cls(
            name=state.name,
            target=state.target,
            reachable=state.reachable,
            serving=facts.serving,
            model=facts.model,
            fingerprint=facts.fingerprint,
            version=facts.version,
            device=facts.device,
            latency_s=state.latency_s,
            error=state.error,
        )


class System(BaseModel):
    """The services behind the orchestrator."""

    services: list[Service] = Field(
        description="Generator, embedder, trainer, and a second embedder if there is one."
    )


class Status(BaseModel):
    """A probe's answer."""

    model_config = _examples({"status": "ok"})

    status: str = Field(description='"ok".')
