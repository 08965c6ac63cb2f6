"""What a run's events are as metrics, while it goes. Pure.

An event always gives the same metrics, with its own time: MLflow keeps one of two that are equal in key,
step, time and value, so that an event that is told again adds nothing.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.orchestrator.records import EventRecord
from services.orchestrator.tracking import names


@dataclass(frozen=True, slots=True)
class Metric:
    """One point. ``time_ms`` since 1970, UTC; the value is finite."""

    key: str
    value: float
    step: int
    time_ms: int


def milliseconds(time: datetime) -> int:
    """Since 1970, UTC."""
    return int(time.timestamp() * 1000)


def metrics_of(events: Iterable[EventRecord]) -> list[Metric]:
    """The metrics of these events, in order; events that measure nothing give none."""
    return [metric for event in events for metric in _metrics(event)]


def _metrics(event: EventRecord) -> Iterator[Metric]:
    time_ms, data = milliseconds(event.time), event.data

    def point(value: Any, step: int, *parts: str) -> Iterator[Metric]:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield Metric(names.key(*parts), float(value), step, time_ms)

    match event.kind:
        case "topic.means":
            yield from _means(data, point)
        case "topics.ranked":
            for topic, rank in _items(data.get("ranks")):
                yield from point(rank, 0, "rank", topic)
            for topic, weight in _items(data.get("weights")):
                yield from point(weight, 1, "weight", topic)
        case "training.progress":
            arm = [str(data["arm"])] if data.get("arm") else []
            where = ("training", *arm, f"i{_whole(data.get('iteration'))}")
            for name in ("loss", "learning_rate", "tokens_per_s", "epoch"):
                yield from point(data.get(name), _whole(data.get("step")), *where, name)
        case "iteration.ended":
            step = _whole(data.get("iteration"))
            yield from point(data.get("relative_improvement"), step, "relative_improvement")
            # What the next iteration trains with.
            for topic, weight in _items(data.get("weights")):
                yield from point(weight, step + 1, "weight", topic)
        case "adapter.loaded":
            for name in ("max_relative_error", "mean_shift_nats", "duration_s"):
                yield from point(data.get(name), event.number, "swap", name)
        case _:
            return


def _means(data: Mapping[str, Any], point: Any) -> Iterator[Metric]:
    """Of the validation split by iteration: the loop's own series. Of everything else by split and arm."""
    split, arm = str(data.get("split", "")), str(data.get("arm", ""))
    own = arm == "original" or arm.startswith("realigned-i")
    if split == "validation" and data.get("iteration") is not None and own:
        step, where = _whole(data["iteration"]), ["value_difference"]
    else:
        step, where = 0, ["means", split, arm]
    means = dict(_items(data.get("means")))
    for topic, mean in means.items():
        yield from point(mean, step, *where, topic)
    numbers = [mean for mean in means.values() if isinstance(mean, int | float)]
    if numbers:
        overall = data.get("mean", sum(numbers) / len(numbers))
        yield from point(overall, step, *where[:-1], f"{where[-1]}_mean")


def _items(found: Any) -> list[tuple[str, Any]]:
    return [(str(name), value) for name, value in found.items()] if isinstance(found, Mapping) else []


def _whole(found: Any) -> int:
    return int(found) if isinstance(found, int | float) and math.isfinite(found) else 0
