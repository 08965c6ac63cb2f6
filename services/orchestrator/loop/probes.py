"""Stage probes: what is asked of base and tuned model beside the study's own prompts.

Each probe's material goes into the evidence as it is; what it says is the analysis's business. A probe that
fails does not fail the run: why it was not run stands in the evidence, and its guard is not measured.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from services.common.errors import ValignError
from services.orchestrator import catalogue
from services.orchestrator.analysis.evidence import Arm, Key, Output
from services.orchestrator.loop import probes_polarity, probes_tasks, probes_utility
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.journal import Journal
from services.orchestrator.loop.probes_asking import Tell
from services.orchestrator.loop.probes_utility import Models
from services.orchestrator.study_sections import TaskSettings

log = structlog.get_logger(__name__)

STAGE = "probes"
BASE = "base"
SWITCHED_OFF = "switched off in the study"
NO_TASKS = "the study names no task file"
NOTHING_TUNED = "nothing was tuned, and this compares a tuned model with its base"
NOTHING_TO_JUDGE = "there are no texts of the test inputs to judge"


class _SkippedError(Exception):
    """The study does not ask for the probe, or the run has nothing to ask it of."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """One probe that can be run: how many items it asks, and how."""

    size: int
    work: Callable[[Tell], Awaitable[dict[str, Any]]]


async def run_probes(
    ctx: RunContext,
    models: Models,
    arms: Sequence[Arm],
    outputs: Sequence[Output],
    test_keys: Collection[Key],
) -> tuple[dict[str, Any], dict[str, str]]:
    """The probes' material by name, and why each of the others was not run.

    ``models``: ("base", None), and behind it tuned arms with their adapters, which are loaded when needed.
    ``arms``, ``outputs``: those of the evidence; ``test_keys``: the inputs whose texts are judged. What comes
    back is stored part by part: a repeated call asks only for what is missing.
    """
    makers: dict[str, Callable[[], Awaitable[_Plan]]] = {
        "utility": partial(_utility, ctx, models),
        "polarity": partial(_polarity, ctx, arms, outputs, test_keys),
    }
    for task in ctx.study.guards.tasks:
        makers[f"tasks/{task.name}"] = partial(_task, ctx, task, models)
    not_run: dict[str, str] = {} if ctx.study.guards.tasks else {"tasks": NO_TASKS}
    plans: dict[str, _Plan] = {}
    for name, make in makers.items():
        await _attempt(ctx, name, make, plans, not_run)
    progress = _Progress(ctx.journal, {name: plan.size for name, plan in plans.items()})
    found: dict[str, dict[str, Any]] = {}
    for name, plan in plans.items():
        await _attempt(ctx, name, partial(plan.work, partial(progress.add, name)), found, not_run)
        progress.end(name)
    await ctx.journal.flush()
    return _with_tasks_together(found, not_run)


async def _attempt(
    ctx: RunContext,
    name: str,
    work: Callable[[], Awaitable[Any]],
    done: dict[str, Any],
    not_run: dict[str, str],
) -> None:
    try:
        done[name] = await work()
    except _SkippedError as skipped:
        not_run[name] = str(skipped)
    except ValignError as error:
        not_run[name] = f"{error.message} ({error.code})"
        log.warning("probe.failed", run_id=ctx.run_id, probe=name, code=error.code.value)
        ctx.journal.emit("probe.failed", probe=name, code=error.code.value, message=error.message)


async def _utility(ctx: RunContext, models: Models) -> _Plan:
    set_id = ctx.study.guards.general_prompts
    if set_id is None:
        raise _SkippedError(SWITCHED_OFF)
    if len(models) < 2:
        raise _SkippedError(NOTHING_TUNED)
    prompts = catalogue.load_general_prompts(set_id)
    size = probes_utility.questions(prompts, models)
    return _Plan(size, lambda tell: probes_utility.probe_utility(ctx, prompts, models, tell))


async def _polarity(
    ctx: RunContext, arms: Sequence[Arm], outputs: Sequence[Output], test_keys: Collection[Key]
) -> _Plan:
    if not ctx.study.guards.polarity:
        raise _SkippedError(SWITCHED_OFF)
    known = probes_polarity.calibration(ctx.resolved.reference_set)
    known += probes_polarity.written(ctx.resolved.reference_set, outputs, test_keys, ctx.study.seed)
    judged = probes_polarity.judged(arms, outputs, test_keys)
    if not judged:
        raise _SkippedError(NOTHING_TO_JUDGE)
    size = 2 * (len(known) + len(judged))
    return _Plan(size, lambda tell: probes_polarity.probe_polarity(ctx, known, judged, tell))


async def _task(ctx: RunContext, task: TaskSettings, models: Models) -> _Plan:
    if len(models) < 2:
        raise _SkippedError(NOTHING_TUNED)
    items = await probes_tasks.read_task(ctx, task)
    size = probes_tasks.questions(items, models)
    return _Plan(size, lambda tell: probes_tasks.probe_task(ctx, task, items, models, tell))


def _with_tasks_together(
    found: dict[str, dict[str, Any]], not_run: dict[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Tasks under one name, as the evidence has them."""
    probes: dict[str, Any] = {}
    for name, material in found.items():
        probe, _, task = name.partition("/")
        if task:
            probes.setdefault(probe, {})[task] = material
        else:
            probes[probe] = material
    why: dict[str, str] = {}
    for name, reason in not_run.items():
        probe, _, task = name.partition("/")
        said = f"{task}: {reason}" if task else reason
        why[probe] = f"{why[probe]}; {said}" if probe in why else said
    return probes, why


class _Progress:
    """Items asked of all probes together, told a few times a second."""

    def __init__(self, journal: Journal, totals: dict[str, int]) -> None:
        self._journal = journal
        self._totals = totals
        self._done = dict.fromkeys(totals, 0)

    def add(self, probe: str, count: int) -> None:
        """``count`` more items are answered."""
        self._done[probe] += count
        if self._journal.due(f"progress {STAGE}"):
            self._tell()

    def end(self, probe: str) -> None:
        """Nothing more comes from this probe, whether it was run to its end or not."""
        self._totals[probe] = self._done[probe]
        self._tell()

    def _tell(self) -> None:
        done, total = sum(self._done.values()), sum(self._totals.values())
        self._journal.emit("stage.progress", stage=STAGE, done=done, total=total)
