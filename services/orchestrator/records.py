"""What the store keeps of runs: the records that ports, loop and API pass around."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"

    @property
    def ended(self) -> bool:
        return self in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One row of the runs table. ``study`` is the resolved study as JSON-able data."""

    run_id: str
    name: str
    status: RunStatus
    stage: str
    identity: str
    study: Mapping[str, Any]
    create_time: datetime
    end_time: datetime | None = None
    error_code: str = ""
    error_message: str = ""
    cancel_requested: bool = False
    report_uri: str = ""
    report_html_uri: str = ""
    progress: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # stage -> done and total
    pause_requested: bool = False
    workflow_id: str = ""
    attempt: int = 1
    retry_from: str = ""
    created_by: str = ""

    @property
    def etag(self) -> str:
        """Changes with what somebody decides about the run, and with its status; not with its progress."""
        return f"{self.attempt}-{self.status.value}-{self.cancel_requested:d}{self.pause_requested:d}"


@dataclass(frozen=True, slots=True)
class OpenRun:
    """What the leader must know of a run that waits, runs or is to be cancelled."""

    run_id: str
    status: RunStatus
    stage: str
    cancel_requested: bool
    pause_requested: bool
    workflow_id: str
    attempt: int
    retry_from: str


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A recorded step of a run: its place from 1, its name, and a code of the error table if it failed."""

    number: int
    name: str
    error_code: str = ""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One event of a run; numbers rise by one within the run, from 1."""

    number: int
    time: datetime
    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompletionRecord:
    """One stored draw. ``principle`` is the parsed text, empty if ``outcome`` is not "ok"."""

    arm: str
    topic_id: str
    index: int
    draw: int
    text: str
    principle: str
    outcome: str
    finish_reason: str
    completion_tokens: int
    adapter: str
    adapter_sha256: str


class LeadershipLost(asyncio.CancelledError):
    """This process must not go on with the loop: its epoch is over, or the database is away.

    A cancellation and no error: nothing may record it as a step's failure, or take it for one that a run can
    go on after.
    """
