"""Is the tuned model no worse on the tasks that the study names, by more than the margin set beforehand?"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from services.orchestrator.analysis.guards.context import Material
from services.orchestrator.analysis.guards.intervals import (
    measure,
    not_measured,
    paired,
    percent,
    status_of,
    worst,
)
from services.orchestrator.analysis.results import Guard, Measure

ID: Final = "tasks"
TITLE: Final = "Tasks"
QUESTION: Final = "Is the tuned model no worse on the study's tasks, by more than their margins?"
BASE: Final = "base"


def evaluate(material: Material) -> Guard:
    """The guard; see docs/guides/guards.md."""
    named = [task["name"] for task in material.evidence.study["guards"]["tasks"]]
    probe: Mapping[str, Any] = material.evidence.probes.get(ID) or {}
    arms = [arm.name for arm in material.tuned_arms]
    usable = {
        name: task
        for name, task in probe.items()
        if BASE in task["arms"] and any(arm in task["arms"] for arm in arms)
    }
    missing = [name for name in named if name not in usable]
    if not usable or missing:
        otherwise = f"no result for {', '.join(missing)}" if missing else "the study names no task file"
        return not_measured(ID, TITLE, QUESTION, material.why_not_run(ID, otherwise))
    found = [item for name, task in usable.items() for item in _task(material, name, task, arms)]
    status = worst(status_of(item, strict=True) for item in found)
    changes = [item for item in found if item.threshold is not None]
    summary = "; ".join(
        f"{item.title} {100 * (item.value or 0):+.1f} points (margin {100 * -(item.threshold or 0):.1f})"
        for item in changes
    )
    return Guard(
        id=ID, title=TITLE, question=QUESTION, status=status, summary=f"{summary}.", measures=tuple(found)
    )


def _task(material: Material, name: str, task: Mapping[str, Any], arms: list[str]) -> list[Measure]:
    right = {arm: {row["id"]: float(row["correct"]) for row in rows} for arm, rows in task["arms"].items()}
    present = [arm for arm in arms if arm in right]
    ids = [id_ for id_ in right[BASE] if all(id_ in right[arm] for arm in present)]
    base = np.array([right[BASE][id_] for id_ in ids])
    tuned = np.array([[right[arm][id_] for id_ in ids] for arm in present])
    change = paired(material, tuned - base)
    accuracy = f"{percent(float(base.mean()))} before, {percent(float(tuned.mean()))} after; {len(ids)} items"
    return [
        measure(f"{name}_base", f"accuracy on {name}, base", float(base.mean())),
        measure(f"{name}_tuned", f"accuracy on {name}, tuned", float(tuned.mean())),
        measure(
            f"{name}_change",
            f"change of accuracy on {name}",
            change,
            -float(task["margin"]),
            better="higher",
            note=accuracy,
        ),
    ]
