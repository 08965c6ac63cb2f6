"""What people can do with monitors, once: REST and gRPC are thin faces of ``Monitors``."""

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from services.common.artifacts import ArtifactStore
from services.common.errors import InvalidInputError, NotFoundError
from services.orchestrator.access.endpoints import EndpointHosts
from services.orchestrator.documents import parse_document
from services.orchestrator.identity import Scope, require
from services.orchestrator.listing import Page
from services.orchestrator.loop.rulers import load_ruler
from services.orchestrator.monitor.document import MonitorDocument, next_fire
from services.orchestrator.monitor.live.records import Sample
from services.orchestrator.monitor.records import Alarm, Kind, Measurement, Monitor
from services.orchestrator.ruler import Ruler
from services.orchestrator.store.monitors import SqlMonitors
from services.orchestrator.study import prompt_set_digest, reference_set_digest, resolve

MAX_COMMENT_CHARACTERS = 2000
_MAX_NUMBER = 2**63 - 1


def _nobody() -> None:
    """The default listener."""


class Monitors:
    """Makes, pauses, asks and removes monitors. Every method is called from the loop.

    Args:
        store: monitors, measurements and alarms.
        artifacts: where rulers lie.
        endpoints: which hosts may be named.
        on_change: called when something may be due, in the event loop's thread.
    """

    def __init__(
        self,
        store: SqlMonitors,
        artifacts: ArtifactStore,
        endpoints: EndpointHosts,
        on_change: Callable[[], None] = _nobody,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._endpoints = endpoints
        self._on_change = on_change

    async def create(self, text: str | bytes) -> Monitor:
        """A new monitor; its baseline is taken at once.

        Raises:
            ForbiddenError: without the scope run, or admin for one that looks at live exchanges.
            InvalidInputError: a document that no monitor can have, with line, column and path of every fault.
            PreconditionError: there are too many monitors, or the ruler is of other sets.
            NotFoundError: the ruler is not here.
        """
        principal = require(Scope.RUN)
        document = await asyncio.to_thread(parse_document, text, MonitorDocument)
        if document.live is not None:
            # It has texts of people kept.
            require(Scope.ADMIN)
        frozen = await asyncio.to_thread(self._frozen, document)
        now = datetime.now(UTC)
        monitor = Monitor(
            monitor_id=f"mo-{secrets.token_hex(6)}",
            name=document.name,
            document=frozen,
            paused=False,
            create_time=now,
            create_by=principal.name,
            update_time=now,
            next_time=next_fire(document.schedule, document.time_zone, now),
            last_number=0,
            last_alarm=0,
            baseline_number=0,
            baseline_version=0,
            prompts_number=0,
            drifted=0,
            normal=0,
            failures=0,
            last_success_time=None,
            last_error="",
            drifting=False,
            failing=False,
        )
        made = await asyncio.to_thread(self._store.add, monitor)
        self._on_change()
        return made

    async def page(self, page_size: int = 50, page_token: str = "") -> tuple[list[Monitor], str]:
        """Newest first, at most 200, and the next page's token ("" on the last)."""
        return await asyncio.to_thread(self._store.page, Page(page_size, page_token).bounded())

    async def get(self, monitor_id: str) -> Monitor:
        """NotFoundError if there is none."""
        return await asyncio.to_thread(self._store.get, _id(monitor_id))

    async def pause(self, monitor_id: str, *, paused: bool) -> Monitor:
        """Measure no more on schedule, or go on with the schedule's next moment."""
        require(Scope.RUN)
        found = await self.get(monitor_id)
        following = next_fire(found.document["schedule"], found.document["time_zone"], datetime.now(UTC))
        changed = await asyncio.to_thread(self._store.set_paused, found.monitor_id, paused, following)
        self._on_change()
        return changed

    async def delete(self, monitor_id: str) -> None:
        """With its measurements and alarms. NotFoundError if there is none."""
        require(Scope.RUN)
        await asyncio.to_thread(self._store.delete, _id(monitor_id))

    async def measure(self, monitor_id: str) -> Measurement:
        """Now, also while it is paused; the measurement that is open already if there is one."""
        require(Scope.RUN)
        queued = await asyncio.to_thread(self._store.enqueue, _id(monitor_id), Kind.ASKED, datetime.now(UTC))
        self._on_change()
        return queued

    async def measurements(
        self, monitor_id: str, page_size: int = 50, page_token: str = ""
    ) -> tuple[list[Measurement], str]:
        """Newest first, at most 200, and the next page's token ("" on the last)."""
        size = Page(page_size, page_token).bounded().size
        return await asyncio.to_thread(self._store.measurements, _id(monitor_id), size, page_token)

    async def measurement(self, monitor_id: str, number: int) -> Measurement:
        """NotFoundError if there is none."""
        return await asyncio.to_thread(self._store.measurement, _id(monitor_id), _number(number))

    async def alarms(
        self, monitor_id: str, page_size: int = 50, page_token: str = ""
    ) -> tuple[list[Alarm], str]:
        """Newest first, at most 200, and the next page's token ("" on the last)."""
        size = Page(page_size, page_token).bounded().size
        return await asyncio.to_thread(self._store.alarms, _id(monitor_id), size, page_token)

    async def samples(
        self, monitor_id: str, page_size: int = 50, page_token: str = ""
    ) -> tuple[list[Sample], str]:
        """People's exchanges, newest first, at most 200, and the next page's token ("" on the last)."""
        require(Scope.ADMIN)
        size = Page(page_size, page_token).bounded().size
        return await asyncio.to_thread(self._store.samples, _id(monitor_id), size, page_token)

    async def acknowledge(self, monitor_id: str, number: int, comment: str = "") -> Alarm:
        """Somebody has seen it. PreconditionError if it was acknowledged or cleared before."""
        require(Scope.RUN)
        if len(comment) > MAX_COMMENT_CHARACTERS or "\0" in comment:
            raise InvalidInputError(
                f"a comment has at most {MAX_COMMENT_CHARACTERS} characters and no NUL; this one has"
                f" {len(comment)}"
            )
        return await asyncio.to_thread(self._store.acknowledge, _id(monitor_id), _number(number), comment)

    def _frozen(self, document: MonitorDocument) -> dict[str, Any]:
        if document.target.endpoint is not None:
            self._endpoints.check(document.target.endpoint.url)
        if document.on_drift != "alarm":
            study = document.on_drift.study
            if study.endpoint is not None:
                self._endpoints.check(study.endpoint.url)
            resolve(study)
        ruler = load_ruler(self._artifacts, document.ruler)
        frozen = document.frozen()
        return frozen if ruler is None else {**frozen, **_of_ruler(document, ruler)}


def _of_ruler(document: MonitorDocument, ruler: Ruler) -> dict[str, Any]:
    """The topics and prompts that a ruler fixes."""
    resolved, facts = document.resolved(), ruler.facts
    if (prompt_set_digest(resolved.prompt_set), reference_set_digest(resolved.reference_set)) != (
        facts.prompt_set_sha256,
        facts.reference_set_sha256,
    ):
        raise InvalidInputError(
            f"ruler {facts.name!r} is of prompt set {facts.prompt_set_id} and reference set"
            f" {facts.reference_set_id}, as they were then; name those in the monitor"
        )
    seen: dict[str, int] = {}
    inputs = []
    for item in facts.inputs:
        seen[item.topic_id] = seen.get(item.topic_id, 0) + 1
        if seen[item.topic_id] <= document.samples.prompts_per_topic:
            one = {"topic_id": item.topic_id, "index": item.index, "original": item.original}
            inputs.append({**one, "targets": list(item.aligned)})
    topics = [{"id": one.id, "title": one.title, "description": one.description} for one in facts.topics]
    return {"topics": topics, "inputs": inputs}


def _number(number: int) -> int:
    if not 1 <= number <= _MAX_NUMBER:
        raise NotFoundError(f"there is no number {number}; they begin with 1")
    return number


def _id(monitor_id: str) -> str:
    # PostgreSQL refuses a text with NUL in it; no id has one.
    if not monitor_id.isascii() or not monitor_id.replace("-", "").isalnum():
        raise NotFoundError(
            f"there is no monitor {monitor_id[:40]!r}; `valign monitors list` shows which there are"
        )
    return monitor_id
