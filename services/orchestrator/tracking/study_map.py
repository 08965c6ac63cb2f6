"""What a run is in MLflow before it has done anything: parameters and tags. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from services.orchestrator.loop.shown import shown_model
from services.orchestrator.records import RunRecord, RunStatus
from services.orchestrator.tracking import names

RUN_ID_TAG = "valign.run_id"
# Written out in full in the artifact study.json: as parameters they would be pages of text.
_SETS = ("reference_set", "prompt_set")

MLFLOW_STATUS = {
    RunStatus.QUEUED: "SCHEDULED",
    RunStatus.PAUSED: "SCHEDULED",
    RunStatus.RUNNING: "RUNNING",
    RunStatus.SUCCEEDED: "FINISHED",
    RunStatus.FAILED: "FAILED",
    RunStatus.CANCELLED: "KILLED",
}
"""What MLflow calls where a run stands."""


def parameters(study: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a study by dotted name, within MLflow's limits.

    Sets of texts appear by id and version, topics by their ids; what is not set is left out.
    """
    found: dict[str, str] = {}
    for name, setting in study.items():
        if name == "topics" and isinstance(setting, list):
            found["topics"] = names.value(", ".join(_id_of(topic) for topic in setting))
        elif name in _SETS:
            found.update(_set(name, setting))
        elif name == "arms" and isinstance(setting, Mapping):
            other = setting.get("other_reference_set")
            rest = {key: value for key, value in setting.items() if key != "other_reference_set"}
            found.update(_flat(name, rest))
            found.update(_set("arms.other_reference_set", other))
        else:
            found.update(_flat(name, setting))
    return found


def tags(run: RunRecord) -> dict[str, str]:
    """How people and ``valign`` find the run, and where it stands now."""
    reference = run.study.get("reference_set")
    found = {
        RUN_ID_TAG: run.run_id,
        "valign.study": run.name,
        "valign.status": run.status.value,
        "valign.stage": run.stage,
        "valign.attempt": str(run.attempt),
        "valign.created_by": run.created_by,
        "valign.identity": run.identity,
        "valign.base_model": shown_model(str(run.study.get("model") or "")),
        "valign.reference_set": _id_of(reference) if reference else "",
        "valign.error_code": run.error_code,
        "valign.error_message": run.error_message,
    }
    # The error of an attempt before must not stay.
    always = ("valign.error_code", "valign.error_message")
    return {name: names.tag(text) for name, text in found.items() if text or name in always}


def run_name(run: RunRecord) -> str:
    """What MLflow's pages call the run."""
    return names.value(f"{run.name} {run.run_id}", names.MAX_KEY_CHARACTERS)


def _set(name: str, chosen: Any) -> Iterator[tuple[str, str]]:
    if isinstance(chosen, Mapping):
        for key in ("id", "version"):
            if chosen.get(key) is not None:
                yield names.key(f"{name}.{key}"), names.value(str(chosen[key]))
    elif chosen is not None:
        yield names.key(f"{name}.id"), names.value(str(chosen))


def _flat(name: str, setting: Any) -> Iterator[tuple[str, str]]:
    if isinstance(setting, Mapping):
        for key, inner in setting.items():
            yield from _flat(f"{name}.{key}", inner)
    elif isinstance(setting, list | tuple):
        plain = all(isinstance(item, str | int | float) for item in setting)
        text = ", ".join(map(str, setting)) if plain else json.dumps(setting, ensure_ascii=False)
        yield names.key(name), names.value(text)
    elif setting is not None:
        yield names.key(name), names.value(str(setting))


def _id_of(chosen: Any) -> str:
    return str(chosen.get("id", "")) if isinstance(chosen, Mapping) else str(chosen)
