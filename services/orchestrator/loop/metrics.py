"""Prometheus metrics of the loop. Label values are bounded: one study's topics at a time, 64 of them."""

from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

_MOST_TOPICS = 64

RUNS = Gauge("valign_orchestrator_runs", "Runs of this process, by status.", ("status",))
STAGE_SECONDS = Histogram(
    "valign_run_stage_seconds",
    "Wall time of a run's stage, in seconds.",
    ("stage",),
    buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600),
)
EXTERNAL_SECONDS = Counter(
    "valign_run_external_seconds", "Seconds that runs spent in calls to other services, by kind.", ("kind",)
)
DRAWS = Counter("valign_run_draws", "Completions drawn, by what became of them.", ("outcome",))
VERDICTS = Counter("valign_run_verdicts", "Runs by what the gate decided.", ("decision",))
VALUE_DIFFERENCE = Gauge(
    "valign_value_difference", "Mean value difference of the latest run, in [0, 2].", ("topic", "arm")
)


def show_differences(arm: str, means: Mapping[str, float]) -> None:
    """Set the gauge for one arm (before, base_p3, after or validation)."""
    for topic, mean in list(means.items())[:_MOST_TOPICS]:
        VALUE_DIFFERENCE.labels(topic, arm).set(mean)


def forget_differences() -> None:
    """A new run begins: the topics of the one before must not stay."""
    VALUE_DIFFERENCE.clear()
