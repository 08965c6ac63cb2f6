"""A comparison of runs as text: what to know first, then the numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from services.cli.output import table
from services.cli.results import number

if TYPE_CHECKING:
    from rich.console import Console

Json = Mapping[str, Any]
_TOPIC_ARMS = ("tuned", "base_p3", "original")
_TITLES = {
    "models": "several models, one reference set",
    "sets": "one model, several reference sets",
    "models_and_sets": "several models, several reference sets",
    "repeats": "one model, one reference set",
}


def estimate(value: Any) -> str:
    """Return a number with its interval; a dash where there is none."""
    if value is None:
        return "-"
    if value.get("low") is None or value.get("high") is None:
        return number(value["value"])
    return f"{number(value['value'])} [{number(value['low'])}, {number(value['high'])}]"


def print_comparison(found: Json, screen: "Console") -> None:
    """Print warnings, runs, arms, topics, own principles, paired differences and the matrix."""
    labels = {run["run_id"]: run["label"] for run in found["runs"]}
    ids = list(labels)
    by = f", by ruler {found['ruler_name']} ({found['ruler'][:12]})" if found.get("ruler") else ""
    screen.print(f"{len(ids)} runs: {_TITLES[found['kind']]}{by}", markup=False)
    for line in found["warnings"]:
        screen.print(f"- {line}", markup=False, soft_wrap=True)
    rows = [
        [
            run["run_id"],
            run["model"],
            f"{run['reference_set']} {run['reference_set_version']}",
            run.get("decision") or "only measured",
            str(run["test_inputs"]),
        ]
        for run in found["runs"]
    ]
    screen.print(table("", ["run", "model", "reference set", "verdict", "inputs"], rows, right=1))
    heads = [label if run_id in label else f"{label} ({run_id})" for run_id, label in labels.items()]
    for name, title in (("mean", "value difference, all topics"), ("scaled", "scaled (0 chance, 1 ceiling)")):
        rows = [[arm["title"], *_cells(arm, ids, name)] for arm in found["arms"]]
        screen.print(table(title, ["arm", *heads], rows, right=len(ids)))
    for arm in found["arms"]:
        if arm["arm"] in _TOPIC_ARMS:
            screen.print(_topics(found, arm, ids, heads))
    _print_own(found, ids, heads, screen)
    _print_paired(found, labels, screen)
    if found["matrix"]:
        rows = [
            [
                cell["model"],
                cell["trained_on"],
                cell["measured_against"],
                estimate(cell["mean"]),
                cell["run_id"],
            ]
            for cell in found["matrix"]
        ]
        heads = ["model", "trained on", "measured against", "value difference", "run"]
        screen.print(table("trained on x measured against", heads, rows))


def _cells(arm: Json, ids: list[str], name: str) -> list[str]:
    cells = {cell["run_id"]: cell for cell in arm["cells"]}
    return [estimate(cells[run_id][name]) if run_id in cells else "-" for run_id in ids]


def _topics(found: Json, arm: Json, ids: list[str], heads: list[str]) -> Any:
    cells = {cell["run_id"]: cell["by_topic"] for cell in arm["cells"]}
    rows = [
        [title, *(estimate(cells.get(run_id, {}).get(topic)) for run_id in ids)]
        for topic, title in found["topics"].items()
    ]
    return table(f"{arm['title']}, by topic (exploratory)", ["topic", *heads], rows, right=len(ids))


def _print_own(found: Json, ids: list[str], heads: list[str], screen: "Console") -> None:
    own = found.get("own")
    if not own:
        return
    cells = {cell["run_id"]: cell for cell in own["cells"]}
    rows = [
        [title, number(own["benchmark_by_topic"].get(topic))]
        + [number(cells[run_id]["by_topic"].get(topic)) if run_id in cells else "-" for run_id in ids]
        for topic, title in found["topics"].items()
    ]
    rows.append(
        ["all topics", number(own["benchmark"])]
        + [number(cells[run_id]["own"]) if run_id in cells else "-" for run_id in ids]
    )
    title = "own principles against all the ruler's reference texts of the topic"
    heads = ["topic", f"benchmark ({own['benchmark_model']})", *heads]
    screen.print(table(title, heads, rows, right=len(ids) + 1))


def _print_paired(found: Json, labels: Mapping[str, str], screen: "Console") -> None:
    if not found["paired"]:
        return
    rows = [
        [
            pair["arm"],
            labels[pair["left"]],
            labels[pair["right"]],
            estimate(pair["difference"]),
            "-" if pair["p_value"] is None else f"{pair['p_value']:.3f}",
            str(pair["difference"]["n"]),
        ]
        for pair in found["paired"]
    ]
    heads = ["arm", "first", "second", "second - first", "p (permutation)", "inputs"]
    title = "input by input: above 0 the first lies nearer to the reference"
    screen.print(table(title, heads, rows, right=3))
