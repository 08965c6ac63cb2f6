"""What valign offers, once: REST and gRPC are two thin faces of ``Application``.

It knows studies, runs and packaged data; it does not know HTTP, protobuf, SQL or the loop.
Every method raises a ValignError for what a caller can get wrong.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from services.common.artifacts import Artifact, ArtifactStore
from services.common.errors import (
    ConflictError,
    DeadlineError,
    InvalidInputError,
    NotFoundError,
    ValignError,
)
from services.orchestrator import catalogue
from services.orchestrator.access.endpoints import EndpointHosts
from services.orchestrator.access.keys import ApiKeys
from services.orchestrator.assets import AssetLibrary
from services.orchestrator.audit.publish import Publisher
from services.orchestrator.auditlog import AuditLog
from services.orchestrator.benchmarks import Benchmarks
from services.orchestrator.catalogue import ShippedStudy
from services.orchestrator.documents import parse_document
from services.orchestrator.domain.prompts import PromptSet
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.governance import Governance
from services.orchestrator.identity import Scope, require
from services.orchestrator.listing import ListOrder, Page, RunFilter
from services.orchestrator.looks import Probe, ServiceFacts
from services.orchestrator.planning.service import Planner
from services.orchestrator.platform import Platform
from services.orchestrator.ports import (
    CompletionRecord,
    EventRecord,
    RunQueue,
    RunRecord,
    RunStatus,
    RunStore,
    StepReader,
    StepRecord,
)
from services.orchestrator.registry.service import Registry
from services.orchestrator.report_files import read_report_file
from services.orchestrator.schemas import PromptSetDocument, ReferenceSetDocument
from services.orchestrator.steering import Steering
from services.orchestrator.study import Study, resolve
from services.orchestrator.values_training import ValuesTraining

MAX_KEY_CHARACTERS = 255
# Another process may write the events: its writes are found by looking.
_POLL_S = 0.3
_EVENTS_A_READ = 500
# Crockford's base 32: sorts like the number, and has no letters that read like digits.
_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service as it was found; ``latency_s`` is None if it did not answer."""

    name: str
    target: str
    reachable: bool
    facts: ServiceFacts
    latency_s: float | None = None
    error: str = ""


class Application:
    """Studies, runs, packaged data and the state of the system."""

    def __init__(
        self,
        store: RunStore,
        queue: RunQueue,
        artifacts: ArtifactStore,
        probes: Sequence[Probe] = (),
        *,
        assets: AssetLibrary,
        values: ValuesTraining,
        steps: StepReader,
        registry: Registry,
        api_keys: ApiKeys,
        platform: Platform,
        endpoints: EndpointHosts | None = None,
        max_queued_runs: int = 0,
        probe_timeout_s: float = 3.0,
        generator_window: int = 0,
    ) -> None:
        """Nothing is opened here; the store's schema must be in place before the first call.

        ``endpoints`` are the hosts that studies may name (None: any); ``max_queued_runs`` and
        ``generator_window`` 0 are no limit.
        """
        self._store = store
        self._queue = queue
        self._artifacts = artifacts
        self._probes = tuple(probes)
        self.assets = assets
        self.values = values
        self.registry = registry
        self.api_keys = api_keys
        self.platform = platform
        self._endpoints = endpoints or EndpointHosts(None)
        self._max_queued_runs = max_queued_runs
        self._probe_timeout_s = probe_timeout_s
        self._closing = asyncio.Event()
        self.governance = Governance(store)
        self.audit = Publisher(store, artifacts)
        self.steering = Steering(store, queue, steps, max_queued_runs)
        self.audit_log = AuditLog(store.audit_log)
        self.idempotency = store.idempotency
        self.benchmarks = Benchmarks(self.report, artifacts, assets)
        self.planner = Planner(store, artifacts, assets, self._probes, probe_timeout_s, generator_window)

    def close(self) -> None:
        """End every watch, so that a server can drain."""
        self._closing.set()

    async def ready(self) -> None:
        """Raise if the database does not answer."""
        await asyncio.to_thread(self._store.ping)

    # Studies and runs

    async def check_study(self, text: str | bytes) -> dict[str, Any]:
        """A study (YAML) with every default and every packaged set filled in; starts nothing.

        InvalidInputError also for an asset that it names and that is not here.
        """
        study = await asyncio.to_thread(lambda: resolve(parse_document(text, Study)).as_json())
        self._endpoints.check_study(study)
        await self.assets.require(study)
        return study

    async def create_run(self, text: str | bytes, idempotency_key: str = "") -> tuple[RunRecord, bool]:
        """Begin a run; (the run that the key made, False) if it was begun before.

        ConflictError: the key made a run of another study. OverloadedError: too many runs wait.
        ForbiddenError: the study promotes by itself, and the caller may not promote.
        """
        if len(idempotency_key) > MAX_KEY_CHARACTERS or not idempotency_key.isprintable():
            raise InvalidInputError(
                f"an idempotency key is at most {MAX_KEY_CHARACTERS} printable characters; "
                f"this one has {len(idempotency_key)}"
            )
        study = await self.check_study(text)
        if study["promotion"]["automatic"]:
            # The leader will move the public route by itself, on the word of whoever begins the run.
            require(Scope.PROMOTE)
        # Before it is stored: a caller that is told to try again must not leave a run behind.
        self._queue.check_ready()
        record, created = await asyncio.to_thread(self._insert, study, idempotency_key)
        # The store is the queue; whoever leads looks there, and sooner if it is told.
        if record.status is RunStatus.QUEUED:
            await self._queue.enqueue(record.run_id)
        return record, created

    async def get_run(self, run_id: str) -> RunRecord:
        """One run."""
        return await asyncio.to_thread(self._store.get_run, _known_shape(run_id))

    async def list_runs(
        self,
        status: RunStatus | None = None,
        page_size: int = 50,
        page_token: str = "",
        *,
        where: RunFilter | None = None,
        order: ListOrder = ListOrder.NEWEST,
    ) -> tuple[list[RunRecord], str]:
        """A page of runs, and the next page's token ("" on the last).

        A page holds at most 200 runs, also if more are asked for.
        """
        page = Page(page_size, page_token, order).bounded()
        return await asyncio.to_thread(self._store.list_runs, status, where=where, page=page)

    async def cancel_run(self, run_id: str) -> RunRecord:
        """Ask a run to stop; a run that has ended stays as it is."""
        record = await asyncio.to_thread(self._store.request_cancel, _known_shape(run_id))
        if record.status.ended:
            return record
        await self._queue.cancel(run_id)
        return await self.get_run(run_id)

    async def pause_run(self, run_id: str) -> RunRecord:
        """See ``Steering.pause``."""
        return await self.steering.pause(_known_shape(run_id))

    async def resume_run(self, run_id: str) -> RunRecord:
        """See ``Steering.resume``."""
        return await self.steering.resume(_known_shape(run_id))

    async def retry_run(
        self, run_id: str, from_step: str = "", budget: Mapping[str, float] | None = None
    ) -> RunRecord:
        """See ``Steering.retry``."""
        return await self.steering.retry(_known_shape(run_id), from_step, budget)

    async def run_steps(self, run_id: str) -> list[StepRecord]:
        """See ``Steering.steps``."""
        return await self.steering.steps(_known_shape(run_id))

    async def watch(self, run_id: str, after: int = 0) -> AsyncIterator[EventRecord]:
        """The run's events above number ``after``, then new ones as they come, until it has ended.

        A run that is paused has not ended; one that was retried goes on after the event of its first end.
        NotFoundError comes before the first event.
        """
        loop = asyncio.get_running_loop()
        news = asyncio.Event()

        def on_change(changed: str) -> None:
            if changed == run_id and not loop.is_closed():
                loop.call_soon_threadsafe(news.set)

        unsubscribe = self._store.subscribe(on_change)
        try:
            while not self._closing.is_set():
                news.clear()
                run = await self.get_run(run_id)
                events = await asyncio.to_thread(self._store.events, run_id, after, _EVENTS_A_READ)
                for event in events:
                    yield event
                    after = event.number
                if events:
                    continue
                if run.status.ended:
                    return
                await self._wait(news)
        finally:
            unsubscribe()

    async def watch_is_over(self, run_id: str, after: int) -> bool:
        """True if the run has ended and a watch after event ``after`` (above 0) would show nothing."""
        run = await self.get_run(run_id)
        if not run.status.ended or after == 0:
            return False
        return not await asyncio.to_thread(self._store.events, run_id, after, 1)

    # What a run left

    async def report(self, run_id: str) -> dict[str, Any]:
        """report.json; NotFoundError until the run has succeeded."""
        data = await self._report_bytes(run_id, lambda run: run.report_uri)
        report: dict[str, Any] = json.loads(data)
        return report

    async def report_html(self, run_id: str) -> bytes:
        """report.html, UTF-8; NotFoundError until the run has succeeded."""
        return await self._report_bytes(run_id, lambda run: run.report_html_uri)

    async def bundle(self, run_id: str) -> Artifact:
        """The run's audit bundle, made when it is first asked for; NotFoundError until it has succeeded."""
        return await asyncio.to_thread(self.audit.bundle, _known_shape(run_id))

    async def bundle_parts(self, bundle: Artifact) -> AsyncIterator[bytes]:
        """A bundle's bytes in parts of at most 1 MiB."""
        parts = self.audit.parts(bundle)
        while part := await asyncio.to_thread(next, parts, b""):
            yield part

    async def model_card(self, run_id: str) -> str:
        """The adapter's model card; NotFoundError until the run has succeeded, or if it trained nothing."""
        return await asyncio.to_thread(self.audit.model_card, _known_shape(run_id))

    async def principles(
        self, run_id: str, arm: str | None = None, topic_id: str | None = None
    ) -> list[CompletionRecord]:
        """The usable principles that the run has drawn so far, by arm, topic, index and draw."""
        await self.get_run(run_id)
        found = await asyncio.to_thread(self._store.completions, run_id, arm, topic_id)
        return [record for record in found if record.principle]

    # Packaged data

    async def reference_sets(self) -> list[ReferenceSet]:
        """The packaged reference sets, by id."""
        return await asyncio.to_thread(catalogue.list_reference_sets)

    async def reference_set(self, set_id: str) -> dict[str, Any]:
        """Every field of a packaged reference set."""
        found = _by_id(await self.reference_sets(), set_id, "reference set", lambda item: item.id)
        return ReferenceSetDocument.from_domain(found).model_dump(mode="json")

    async def check_reference_set(self, text: str | bytes) -> dict[str, Any]:
        """A user's reference set (YAML), checked, with its defaults filled in."""
        document = await asyncio.to_thread(parse_document, text, ReferenceSetDocument)
        return document.model_dump(mode="json")

    async def prompt_sets(self) -> list[PromptSet]:
        """The packaged prompt sets, by id."""
        return await asyncio.to_thread(catalogue.list_prompt_sets)

    async def prompt_set(self, set_id: str) -> dict[str, Any]:
        """Every field of a packaged prompt set."""
        found = _by_id(await self.prompt_sets(), set_id, "prompt set", lambda item: item.id)
        return PromptSetDocument.from_domain(found).model_dump(mode="json")

    async def shipped_studies(self) -> list[ShippedStudy]:
        """The studies that valign ships, by id."""
        return await asyncio.to_thread(catalogue.list_shipped_studies)

    async def shipped_study(self, study_id: str) -> ShippedStudy:
        """One of them."""
        return await asyncio.to_thread(catalogue.load_shipped_study, study_id)

    async def system(self) -> list[ServiceState]:
        """Each service, asked at the same time; takes ``probe_timeout_s`` at most."""
        return list(await asyncio.gather(*(self._look(probe) for probe in self._probes)))

    def _insert(self, study: Mapping[str, Any], idempotency_key: str) -> tuple[RunRecord, bool]:
        for _ in range(20):
            run_id = new_run_id(datetime.now(UTC))
            try:
                return self._store.create_run(
                    run_id, str(study["name"]), study, idempotency_key, max_queued=self._max_queued_runs
                )
            except ConflictError as error:
                if error.details.get("run_id") != run_id:
                    raise
        raise ConflictError("no free run id was found in 20 attempts; try again")

    async def _wait(self, news: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (news, self._closing)]
        try:
            await asyncio.wait(waits, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _report_bytes(self, run_id: str, uri_of: Callable[[RunRecord], str]) -> bytes:
        run = await self.get_run(run_id)
        uri = uri_of(run)
        if not uri:
            raise NotFoundError(
                f"run {run_id} is {run.status.value} and has no report; a run that succeeds writes one"
            )
        return await asyncio.to_thread(read_report_file, self._store, self._artifacts, run, uri)

    async def _look(self, probe: Probe) -> ServiceState:
        started = time.perf_counter()
        nothing = ServiceFacts(serving=False)
        try:
            async with asyncio.timeout(self._probe_timeout_s):
                facts = await probe.look()
        except TimeoutError:
            error: ValignError = DeadlineError(f"no answer within {self._probe_timeout_s:g} s")
        except ValignError as raised:
            error = raised
        else:
            latency_s = time.perf_counter() - started
            return ServiceState(probe.name, probe.target, True, facts, latency_s)
        return ServiceState(probe.name, probe.target, False, nothing, error=error.message)


def new_run_id(now: datetime) -> str:
    """``r-20261121-xxxxxx``: sorts by time within about 0.1 s; 1,024 ids in each such moment.

    Only lower-case letters, digits and "-", so that it can be part of an adapter's name.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    moment = int((now - midnight).total_seconds() / 86_400 * 2**20)
    value = moment << 10 | secrets.randbits(10)
    digits = "".join(_DIGITS[value >> shift & 31] for shift in range(25, -1, -5))
    return f"r-{now:%Y%m%d}-{digits}"


def _known_shape(run_id: str) -> str:
    # No id of ours has another shape, and a database may choke on some (PostgreSQL: NUL).
    if not _RUN_ID.fullmatch(run_id):
        raise NotFoundError(f"there is no run {run_id[:80]!r}")
    return run_id


def _by_id(items: Sequence[T], wanted: str, what: str, id_of: Callable[[T], str]) -> T:
    for item in items:
        if id_of(item) == wanted:
            return item
    known = ", ".join(id_of(item) for item in items)
    raise NotFoundError(f"there is no packaged {what} {wanted[:80]!r}; there are: {known}")
