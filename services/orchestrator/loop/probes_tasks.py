"""Probe tasks: multiple-choice files of the user's, answered by base and tuned model.

The choice with the highest sum of log-probabilities is the answer: ``acc`` of lm-evaluation-harness.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from services.common.errors import PreconditionError
from services.orchestrator.assets import read_asset
from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.probes_asking import Tell, Told, ask_scores
from services.orchestrator.loop.probes_utility import Models
from services.orchestrator.ports import ScoreItem
from services.orchestrator.study_sections import TaskSettings
from services.orchestrator.tasks import TaskItem, parse_task


async def read_task(ctx: RunContext, settings: TaskSettings) -> tuple[TaskItem, ...]:
    """The items of a task that the study names."""
    data = await asyncio.to_thread(read_asset, ctx.artifacts, settings.sha256)
    return await asyncio.to_thread(parse_task, data)


def questions(items: Sequence[TaskItem], models: Models) -> int:
    """How many continuations the task has for all models."""
    return len(models) * sum(len(item.choices) for item in items)


async def probe_task(
    ctx: RunContext, settings: TaskSettings, items: Sequence[TaskItem], models: Models, tell: Tell
) -> dict[str, Any]:
    """The task's answers by model; PreconditionError if no item could be asked.

    An item that one model cannot be asked is left out for all, and named under "failed".
    """
    asked = [
        ScoreItem(f"{place}/{number}", Prompt((Message("user", item.context),)), choice)
        for place, item in enumerate(items)
        for number, choice in enumerate(item.choices)
    ]
    found: dict[str, Mapping[str, Told]] = {}
    for arm, adapter in models:
        key = f"tasks/{settings.sha256[:16]}/{arm}"
        found[arm] = await ask_scores(ctx, key, asked, adapter, tell)
    failed: dict[int, str] = {}
    for answers in found.values():
        for name, told in answers.items():
            if told.error:
                failed.setdefault(int(name.partition("/")[0]), told.error)
    if len(failed) == len(items):
        raise PreconditionError(
            f"none of its {len(items)} items could be asked: {next(iter(failed.values()))}"
        )
    return {
        "sha256": settings.sha256,
        "margin": settings.margin,
        "arms": {
            arm: [
                {"id": item.id, **_answer(item, place, answers)}
                for place, item in enumerate(items)
                if place not in failed
            ]
            for arm, answers in found.items()
        },
        "failed": [{"id": items[place].id, "why": why} for place, why in sorted(failed.items())],
    }


def _answer(item: TaskItem, place: int, answers: Mapping[str, Told]) -> dict[str, Any]:
    sums = [answers[f"{place}/{number}"].logprob for number in range(len(item.choices))]
    choice = max(range(len(sums)), key=sums.__getitem__)
    return {"correct": choice in item.answers, "choice": choice}
