"""Is what people are answered, and what they ask, still what it was after the promotion?

The first ``window`` exchanges under a version of the route are its baseline. Each later window, which shares
no exchange with another, is compared with it by the test of ``monitor.drift``: energy distance of the
embeddings, of answers and of requests, the larger tested by permutation. Requests are no fixed set: the
test's level holds while exchanges are independent draws of one population; a change of either side is told.
"""

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.common.errors import ValignError
from services.orchestrator.domain.difference import unit_rows
from services.orchestrator.domain.seeds import sample_seed
from services.orchestrator.monitor.document import AlarmSettings, LiveSettings
from services.orchestrator.monitor.drift import DriftTest, Texts, test_drift
from services.orchestrator.monitor.live.records import (
    ANSWERS,
    REQUESTS,
    LiveFound,
    LiveOutcome,
    Sample,
    Window,
)
from services.orchestrator.monitor.records import Monitor
from services.orchestrator.ports import Embedder
from services.orchestrator.store.live import SqlLive
from services.orchestrator.store.registry import SqlRegistry


class LiveJudge:
    """Looks at what was kept; the outcome is the caller's to store.

    Args:
        store: samples and windows.
        registry: says which version a route has.
        embedder: the sentence encoder.
    """

    def __init__(self, store: SqlLive, registry: SqlRegistry, embedder: Embedder) -> None:
        self._store = store
        self._registry = registry
        self._embedder = embedder

    async def judge(self, monitor: Monitor) -> LiveFound | None:
        """What the exchanges show; None for a monitor that looks at none. An embedder's fault is in it."""
        settings = live_settings(monitor)
        if settings is None:
            return None
        wanted, monitor_id = settings.window, monitor.monitor_id
        route = await asyncio.to_thread(self._registry.routes.get, monitor.route)
        version = route.version if route else 0
        state = await asyncio.to_thread(self._store.state, monitor_id)
        judged = state.judged if state.route_version == version else 0
        samples = await asyncio.to_thread(self._store.newest, monitor_id, version, judged, wanted)
        count = len(samples)
        if count < wanted:
            told = f"{count} of {wanted} exchanges are there"
            return LiveFound(LiveOutcome.COLLECTING, told, count, wanted, route_version=version)
        try:
            now = await self._window(samples)
        except (ValignError, ValueError) as error:
            told = error.message if isinstance(error, ValignError) else f"no embedding to compare: {error}"
            return LiveFound(LiveOutcome.FAILED, told, count, wanted, route_version=version)
        before = state.window if state.route_version == version else None
        last = samples[-1].number
        if before is None or before.encoder != now.encoder:
            told = f"baseline of {count} exchanges"
            return LiveFound(
                LiveOutcome.BASELINE, told, count, wanted, route_version=version, judged=last, window=now
            )
        alarms = AlarmSettings.model_validate(monitor.document["alarms"])
        seed = sample_seed(0, "live", monitor_id, last, 0)
        test = await asyncio.to_thread(compare, before, now, alarms.permutations, seed)
        return told_of(test, alarms, count, wanted, version, last)

    async def _window(self, samples: Sequence[Sample]) -> Window:
        encoder = (await self._embedder.describe()).fingerprint
        texts = [one.answer for one in samples] + [one.request for one in samples]
        rows = np.asarray((await self._embedder.embed(texts)).rows)
        answers, requests = rows[: len(samples)], rows[len(samples) :]
        return Window(encoder, _unit(answers), _unit(requests))


def live_settings(monitor: Monitor) -> LiveSettings | None:
    """What a monitor says of live exchanges; None if nothing, as one from before there were any."""
    section = monitor.document.get("live")
    return None if section is None else LiveSettings.model_validate(section)


def compare(before: Window, now: Window, permutations: int, seed: int) -> DriftTest:
    """The test of two windows, whose two "topics" are answers and requests."""
    return test_drift(_sides(before), _sides(now), permutations=permutations, seed=seed, paired=True)


def told_of(
    test: DriftTest, alarms: AlarmSettings, samples: int, wanted: int, version: int, judged: int
) -> LiveFound:
    """The outcome of a test, in numbers and words."""
    sides = {one.topic: one for one in test.topics}
    moved = tuple(one.topic for one in test.topics if one.p_value <= alarms.significance)
    outcome = LiveOutcome.NORMAL
    if test.p_value <= alarms.significance:
        large = max(sides[name].energy for name in sides) >= alarms.min_effect
        outcome = LiveOutcome.MOVED if large else LiveOutcome.SMALL
    message = (
        f"live exchanges: {_WORDS[outcome]}; p = {test.p_value:.4f}, energy distance of answers"
        f" {sides[ANSWERS].energy:.3f}, of requests {sides[REQUESTS].energy:.3f}"
    )
    return LiveFound(
        outcome,
        message,
        samples,
        wanted,
        p_value=test.p_value,
        answers_energy=sides[ANSWERS].energy,
        requests_energy=sides[REQUESTS].energy,
        moved=moved if outcome is LiveOutcome.MOVED else (),
        route_version=version,
        judged=judged,
    )


_WORDS = {
    LiveOutcome.NORMAL: "as after the promotion",
    LiveOutcome.SMALL: "a change below min_effect",
    LiveOutcome.MOVED: "not as after the promotion",
}


def _sides(window: Window) -> dict[str, Texts]:
    # Free permutation: every exchange answers one and the same "prompt". No counterpart, so no difference.
    count = len(window.answers)
    zeros, same = np.zeros(count), np.zeros(count, dtype=np.int64)
    return {ANSWERS: Texts(window.answers, zeros, same), REQUESTS: Texts(window.requests, zeros, same)}


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(unit_rows(rows), dtype=np.float32)
