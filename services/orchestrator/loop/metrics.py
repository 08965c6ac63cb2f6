"""Prometheus metrics of the loop, of the process that leads.

Label values are bounded: topics and arms are those of a study (64 and 5 at most), and of studies the names of
the first 16 that this process meets count, the others as ``other``. Value differences are those of the latest
run of each of the 16 studies that ran last; a monitor's are its own metric.
"""

from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress

from prometheus_client import Counter, Gauge, Histogram

from services.common.errors import ErrorCode
from services.orchestrator.records import RunStatus

MOST_STUDIES = 16
MOST_TOPICS = 64
OTHER = "other"
_LONG = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)

RUNS = Gauge(
    "valign_runs", "Runs that wait (queued) or go on (running), as the leader saw them last.", ("status",)
)
RUNS_ENDED = Counter(
    "valign_runs_ended_total", "Runs that ended, by status and error code.", ("status", "code")
)
RUN_SECONDS = Histogram(
    "valign_run_seconds", "Seconds from a run's creation to its end.", ("status",), buckets=_LONG
)
STAGE_SECONDS = Histogram(
    "valign_run_stage_seconds", "Wall time of a run's stage, in seconds.", ("stage",), buckets=_LONG
)
STAGE_PROGRESS = Gauge(
    "valign_run_stage_progress_ratio",
    "Share of a stage's items that are done, in [0, 1], while the stage goes on.",
    ("study", "stage"),
)
STEPS = Counter(
    "valign_run_steps_total",
    "Steps of runs that ended, by outcome (ok, or the error's code).",
    ("stage", "outcome"),
)
EXTERNAL_SECONDS = Counter(
    "valign_run_external_seconds_total",
    "Seconds that runs spent in calls to other services, by kind.",
    ("kind",),
)
WAITS = Counter(
    "valign_run_service_waits_total",
    "Times that a run had to wait for a service that was away or full.",
    ("component",),
)
CPU_SECONDS = Counter(
    "valign_run_cpu_seconds_total",
    "CPU seconds that services spent for runs.",
    ("study", "stage", "component"),
)
GPU_SECONDS = Counter(
    "valign_run_gpu_seconds_total",
    "GPU seconds that services spent for runs; no series where there is no GPU.",
    ("study", "stage", "component"),
)
DRAWS = Counter("valign_run_draws_total", "Completions drawn, by what became of them.", ("outcome",))
VERDICTS = Counter("valign_run_verdicts_total", "Runs by what the gate decided.", ("decision",))
VALUE_DIFFERENCE = Gauge(
    "valign_value_difference",
    "Mean value difference of the latest run of a study, in [0, 2].",
    ("study", "topic", "arm"),
)

_named: set[str] = set()
_shown: "OrderedDict[str, set[tuple[str, str]]]" = OrderedDict()


def begin() -> None:
    """Failures begin at 0: a counter that is born at 1 shows no increase."""
    for code in ErrorCode:
        RUNS_ENDED.labels(RunStatus.FAILED.value, code.value.lower())


def study_label(name: str) -> str:
    """A study's name as a label of a counter."""
    if len(_named) < MOST_STUDIES:
        _named.add(name)
    return name if name in _named else OTHER


def show_differences(study: str, arm: str, means: Mapping[str, float]) -> None:
    """Set the gauge for one arm (original, before, base_p3, after or validation)."""
    shown = _shown.setdefault(study, set())
    _shown.move_to_end(study)
    for topic, mean in list(means.items())[:MOST_TOPICS]:
        VALUE_DIFFERENCE.labels(study, topic, arm).set(mean)
        shown.add((topic, arm))
    if len(_shown) > MOST_STUDIES:
        forget_differences(next(iter(_shown)))


def forget_differences(study: str) -> None:
    """A new run of a study begins, or there are too many: what was shown of it must not stay."""
    for topic, arm in _shown.pop(study, set()):
        VALUE_DIFFERENCE.remove(study, topic, arm)


def show_progress(study: str, stage: str, done: int, total: int) -> None:
    """How far a stage is."""
    STAGE_PROGRESS.labels(study_label(study), stage).set(done / total if total else 1.0)


def forget_progress(study: str, stage: str) -> None:
    """The stage has ended, or its run."""
    with suppress(KeyError):
        STAGE_PROGRESS.remove(study_label(study), stage)


def show_open(statuses: Mapping[str, int]) -> None:
    """Runs by status; statuses that are left out have none."""
    for status in ("queued", "running"):
        RUNS.labels(status).set(statuses.get(status, 0))


def forget_open() -> None:
    """This process leads no more: it knows nothing of runs."""
    RUNS.clear()
    STAGE_PROGRESS.clear()
