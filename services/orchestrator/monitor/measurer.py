"""One measurement, from its prompts to its outcome. What was stored is not asked for again."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import NotReadyError, PreconditionError
from services.orchestrator.domain.principles import Outcome
from services.orchestrator.domain.seeds import sample_seed
from services.orchestrator.monitor import judging
from services.orchestrator.monitor.asking import Asker, Slot
from services.orchestrator.monitor.document import MonitorDocument
from services.orchestrator.monitor.drift import DriftTest, Texts
from services.orchestrator.monitor.records import Draw, Found, Kind, Measurement, MeasurementState, Monitor
from services.orchestrator.monitor.sources import Connect, Source
from services.orchestrator.ports import Embedder
from services.orchestrator.registry.records import RouteRecord
from services.orchestrator.store.measuring import SqlMeasuring
from services.orchestrator.store.registry import SqlRegistry

ORIGINAL, ALIGNED, SAMPLE, CONFIRM = "original", "aligned", "sample", "confirm"
MIN_PROMPTS = 2
SETTLING = timedelta(seconds=30)
"""After a change of a route its replicas may still serve what they served before."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a measurement found, as the store takes it."""

    found: Found
    message: str
    result: Mapping[str, Any]
    prompts: int = 0


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The frozen prompts: originals and their counterparts by (topic, index)."""

    number: int
    originals: Mapping[tuple[str, int], str]
    targets: judging.Targets


class Measurer:
    """Measures; every dependency is the process's own.

    Args:
        store: over transactions that end with the leader's epoch.
        registry: says what a route should serve.
        connect: opens what a document targets.
        embedder: the sentence encoder.
    """

    def __init__(
        self, store: SqlMeasuring, registry: SqlRegistry, connect: Connect, embedder: Embedder
    ) -> None:
        self._store = store
        self._registry = registry
        self._connect = connect
        self._embedder = embedder

    async def measure(self, monitor: Monitor, measurement: Measurement) -> Outcomes:
        """The outcome. Raises the ValignError of what is away, or cannot be measured."""
        route = await asyncio.to_thread(self._registry.routes.get, monitor.route) if monitor.route else None
        version = route.version if route else 0
        new = monitor.baseline_number == 0 or monitor.baseline_version != version
        if measurement.state is MeasurementState.RUNNING and measurement.route_version != version:
            raise NotReadyError(f"the route {monitor.route} changed while it was measured")
        kind = Kind.BASELINE if new else measurement.kind
        begun = await asyncio.to_thread(
            self._store.begin, measurement, kind, version, 0 if new else monitor.baseline_number
        )
        source = self._connect(monitor.document)
        try:
            return await self._measure(monitor, begun, route, source)
        finally:
            await source.aclose()

    async def _measure(
        self, monitor: Monitor, measurement: Measurement, route: RouteRecord | None, source: Source
    ) -> Outcomes:
        document = _document(monitor)
        stored = await asyncio.to_thread(self._store.draws, monitor.monitor_id, measurement.number)
        asker = Asker(self._store, source, measurement, document.samples, stored)
        fingerprint = await source.fingerprint()
        inputs = await self._inputs(monitor, document, measurement, asker)
        baseline = measurement.kind is Kind.BASELINE
        draws = document.samples.baseline_draws if baseline else 1
        now = await asker.ask(SAMPLE, _slots(document, inputs, draws))
        stranger = await self._stranger(monitor, measurement, route, now, fingerprint)
        result: dict[str, Any] = {
            "fingerprint": fingerprint,
            "adapters": judging.adapters_of(now),
            "p_value": 1.0,
            "confirm_p_value": 1.0,
            "moved": [],
        }
        if baseline:
            if stranger:
                raise PreconditionError(f"no baseline can be taken: {stranger}")
            rows = await self._rows([inputs], now)
            texts = judging.texts_of(now, inputs.targets, rows)
            result["by_topic"] = judging.baseline_by_topic(texts)
            told = f"baseline of {len(now)} texts, route version {measurement.route_version}"
            return Outcomes(Found.BASELINE, told, result, inputs.number)
        then = await asyncio.to_thread(self._store.draws, monitor.monitor_id, measurement.baseline_number)
        before = [draw for draw in then if draw.phase == SAMPLE and draw.outcome == Outcome.OK]
        limits = judging.Limits(
            document.alarms.significance, document.alarms.min_effect, document.alarms.permutations
        )
        rows = await self._rows([inputs], [*before, *now])
        old = judging.texts_of(before, inputs.targets, rows)
        fresh = judging.texts_of(now, inputs.targets, rows)
        test, suspicious = await self._compare(old, fresh, limits, measurement, SAMPLE)
        result |= {"p_value": test.p_value, "by_topic": judging.by_topic(test, fresh)}
        result["moved"] = judging.moved(test, limits)
        if stranger:
            return Outcomes(Found.IDENTITY, stranger, result)
        if not suspicious:
            return Outcomes(Found.NORMAL, _said("no drift", test), result)
        if not judging.large(test, limits):
            return Outcomes(Found.SMALL, _said("a change below min_effect", test), result)
        again = await asker.ask(CONFIRM, _slots(document, inputs, 1))
        stranger = await self._stranger(monitor, measurement, route, again, fingerprint)
        if stranger:
            return Outcomes(Found.IDENTITY, stranger, result)
        rows = await self._rows([inputs], [*before, *again])
        old = judging.texts_of(before, inputs.targets, rows)
        second = judging.texts_of(again, inputs.targets, rows)
        confirmed, still = await self._compare(old, second, limits, measurement, CONFIRM)
        result["confirm_p_value"] = confirmed.p_value
        if not still:
            return Outcomes(Found.UNCONFIRMED, _said("a second sample did not confirm drift", test), result)
        return Outcomes(Found.DRIFT, _said("drift, confirmed by a second sample", test), result)

    async def _inputs(
        self, monitor: Monitor, document: MonitorDocument, measurement: Measurement, asker: Asker
    ) -> _Inputs:
        """The frozen prompts: the ruler's, those of an earlier baseline, or new ones."""
        frozen = monitor.document.get("inputs")
        if frozen:
            return _Inputs(
                measurement.number,
                {(one["topic_id"], one["index"]): one["original"] for one in frozen},
                {(one["topic_id"], one["index"]): tuple(one["targets"]) for one in frozen},
            )
        number = monitor.prompts_number or measurement.number
        if monitor.prompts_number:
            draws = await asyncio.to_thread(self._store.draws, monitor.monitor_id, number)
            usable = [draw for draw in draws if draw.outcome == Outcome.OK]
            originals = {(one.topic_id, one.index): one for one in usable if one.phase == ORIGINAL}
            aligned = [one for one in usable if one.phase == ALIGNED]
        else:
            asked = await asker.ask(ORIGINAL, _original_slots(document))
            originals = {(one.topic_id, one.index): one for one in asked}
            aligned = await asker.ask(ALIGNED, _aligned_slots(document, asked))
        targets = {(one.topic_id, one.index): (one.principle,) for one in aligned}
        kept = {key: one.principle for key, one in originals.items() if key in targets}
        counts = {topic: sum(key[0] == topic for key in kept) for topic in {key[0] for key in kept}}
        if max(counts.values(), default=0) < MIN_PROMPTS:
            raise PreconditionError(
                "no topic has two prompts with a counterpart; look at the model's answers"
            )
        return _Inputs(number, kept, targets)

    async def _stranger(
        self,
        monitor: Monitor,
        measurement: Measurement,
        route: RouteRecord | None,
        draws: Sequence[Draw],
        fingerprint: str,
    ) -> str:
        """Who answered and should not have, in words; empty if nobody.

        NotReadyError if the route has changed meanwhile, or so lately that replicas may not have followed.
        """
        if not monitor.route:
            return ""
        after = await asyncio.to_thread(self._registry.routes.get, monitor.route)
        if (after.version if after else 0) != measurement.route_version:
            raise NotReadyError(f"the route {monitor.route} changed while it was measured")
        expected = {""}
        if route is not None:
            names = {name for name in route.adapters if name}
            adapters = await asyncio.to_thread(self._registry.named, names)
            base = route.adapter == "" or (route.canary_share > 0 and route.canary_adapter == "")
            expected = {one.sha256 for one in adapters.values()} | ({""} if base else set())
        found = judging.strangers(draws, expected)
        if found and route is not None and datetime.now(UTC) - route.update_time < SETTLING:
            raise NotReadyError(
                f"the route {monitor.route} changed just now, and its replicas have not followed"
            )
        if found:
            return f"{', '.join(found)} answered under {monitor.route}, where nobody put it"
        return await self._other_base(monitor, measurement, fingerprint)

    async def _other_base(self, monitor: Monitor, measurement: Measurement, fingerprint: str) -> str:
        if not measurement.baseline_number:
            return ""
        told = await asyncio.to_thread(
            self._store.fingerprint, monitor.monitor_id, measurement.baseline_number
        )
        if told == fingerprint:
            return ""
        return f"the base model behind {monitor.route} is another: {fingerprint[:12]}…, not {told[:12]}…"

    async def _rows(self, inputs: Sequence[_Inputs], draws: Sequence[Draw]) -> judging.Rows:
        texts = {draw.principle for draw in draws}
        for one in inputs:
            texts |= {text for targets in one.targets.values() for text in targets}
        asked = sorted(texts)
        rows: NDArray[np.float32] = (await self._embedder.embed(asked)).rows
        return dict(zip(asked, rows, strict=True))

    async def _compare(
        self,
        old: Mapping[str, Texts],
        new: Mapping[str, Texts],
        limits: judging.Limits,
        measurement: Measurement,
        phase: str,
    ) -> tuple[DriftTest, bool]:
        seed = sample_seed(0, phase, measurement.monitor_id, measurement.number, 0)
        try:
            return await asyncio.to_thread(judging.compare, old, new, limits, seed)
        except ValueError as error:
            raise PreconditionError(f"nothing can be compared: {error}") from error


def _document(monitor: Monitor) -> MonitorDocument:
    return MonitorDocument.model_validate(
        {name: value for name, value in monitor.document.items() if name != "inputs"}
    )


def _original_slots(document: MonitorDocument) -> list[Slot]:
    resolved = document.resolved()
    prompts, set_id = resolved.prompt_set, resolved.reference_set.id
    answers = prompts.shot_answers("original", set_id)
    return [
        Slot(topic.id, index, 0, prompts.render_original(topic, set_id, index), answers)
        for topic in resolved.topics
        for index in range(document.samples.prompts_per_topic)
    ]


def _aligned_slots(document: MonitorDocument, originals: Sequence[Draw]) -> list[Slot]:
    resolved = document.resolved()
    prompts, reference = resolved.prompt_set, resolved.reference_set
    answers = prompts.shot_answers("aligned", reference.id)
    topics = {topic.id: topic for topic in resolved.topics}
    return [
        Slot(
            one.topic_id,
            one.index,
            0,
            prompts.render_aligned(
                topics[one.topic_id], one.principle, reference.id, reference.principles_for(one.topic_id)
            ),
            answers,
        )
        for one in originals
    ]


def _slots(document: MonitorDocument, inputs: _Inputs, draws: int) -> list[Slot]:
    resolved = document.resolved()
    prompts, set_id = resolved.prompt_set, resolved.reference_set.id
    answers = prompts.shot_answers("realigned", set_id)
    topics = {topic.id: topic for topic in resolved.topics}
    return [
        Slot(
            topic_id,
            index,
            draw,
            prompts.render_realigned(topics[topic_id], original, set_id),
            answers,
        )
        for (topic_id, index), original in sorted(inputs.originals.items())
        for draw in range(draws)
    ]


def _said(what: str, test: DriftTest) -> str:
    most = test.topics[0]
    return (
        f"{what}: p = {test.p_value:.4f}; most in {most.topic}, value difference {most.baseline_mean:.3f} ->"
        f" {most.now_mean:.3f}, energy distance {most.energy:.3f}"
    )
