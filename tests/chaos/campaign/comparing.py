"""What two runs of one study must have in common: texts, numbers, weights; and what they may not."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.campaign.system import System
from tests.chaos.campaign.watching import Watcher

_ADAPTER = re.compile(r"RUN((?:-[a-z0-9]+)*?-i\d+)-[0-9a-f]{8}")
# When, how long, where, and the digests over those; what it cost, over all attempts and against a plan that
# knows the runs before it.
_OF_THE_RUN = re.compile(
    r"(.*_s|.*_at|.*_time|.*uri|.*sha256|.*_bytes|id|already_loaded|tokens_per_s|timings|cost)"
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run left behind, with its id taken out."""

    completions: dict[str, tuple[str, ...]]
    report: Mapping[str, Any]
    weights: dict[str, str]
    """sha256 of each adapter's weights, by what the adapter is."""


def result_of(system: System, watcher: Watcher, run_id: str) -> Result:
    """Collect a run's result."""
    adapters = sorted(path for path in (system.folder / "artifacts" / "adapters").glob(f"{run_id}-*"))
    weights = {
        _plain(path.name, run_id): json.loads((path / "manifest.json").read_text())["files"][
            "adapter_model.safetensors"
        ]
        for path in adapters
        if ".part-" not in path.name
    }
    return result_from(watcher.completions(run_id), system.report(run_id), weights, run_id)


def result_from(
    rows: Iterable[Mapping[str, Any]], report: Mapping[str, Any], weights: dict[str, str], run_id: str
) -> Result:
    """A result of rows of the table of completions, a report.json and the adapters' weights."""
    completions = {
        f"{row['arm']}/{row['topic_id']}/{row['item_index']}/{row['draw']}": (
            row["text"],
            row["principle"],
            row["outcome"],
            _plain(row["adapter"], run_id),
        )
        for row in rows
    }
    return Result(completions, _clean(report, run_id), weights)


def differences(expected: Result, found: Result) -> list[str]:
    """What is not the same, one line each."""
    told = []
    for what in ("completions", "weights"):
        left, right = getattr(expected, what), getattr(found, what)
        told += [f"{what}: {key} is missing" for key in left.keys() - right.keys()]
        told += [f"{what}: {key} is new" for key in right.keys() - left.keys()]
        told += [
            f"{what}: {key} is {right[key]!r}, not {left[key]!r}"
            for key in left.keys() & right.keys()
            if left[key] != right[key]
        ]
    return told + list(_apart("report", expected.report, found.report))


def _plain(text: str, run_id: str) -> str:
    return _ADAPTER.sub(r"RUN\1", text.replace(run_id, "RUN"))


def _clean(value: Any, run_id: str) -> Any:
    match value:
        case dict():
            kept = {key: item for key, item in value.items() if not _OF_THE_RUN.fullmatch(key)}
            return {_plain(key, run_id): _clean(item, run_id) for key, item in kept.items()}
        case list():
            return [_clean(item, run_id) for item in value]
        case str():
            return _plain(value, run_id)
    return value


def _apart(place: str, left: Any, right: Any) -> Iterator[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from _apart(f"{place}.{key}", left.get(key), right.get(key))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _apart(f"{place}[{number}]", one, other)
    elif left != right:
        yield f"{place} is {str(right)[:120]}, not {str(left)[:120]}"


def trainings(folder: Path, run_id: str) -> dict[str, int]:
    """How often each of the run's jobs came to its last step, by what its adapter is."""
    ends: dict[str, int] = {}
    for job in sorted((folder / "trainer" / "jobs").glob("*/request.json")):
        spec = json.loads(job.read_text())
        if not spec["adapter_name_prefix"].startswith(f"{run_id}-"):
            continue
        lines = (job.parent / "progress.jsonl").read_text().splitlines()
        points = [json.loads(line) for line in lines]
        name = spec["adapter_name_prefix"].replace(run_id, "RUN")
        ends[name] = ends.get(name, 0) + sum(point["step"] == point["total_steps"] for point in points)
    return ends
