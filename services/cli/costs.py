"""What a run used, against its plan and its budget, as text."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from services.cli.output import table

if TYPE_CHECKING:
    from rich.console import Console

# What people read; the names in a report that it is the sum of; the budget's limit for it.
_ROWS = (
    ("completions", ("completions",), ""),
    ("tokens", ("prompt_tokens", "completion_tokens"), "max_tokens"),
    ("log-probabilities", ("scores",), ""),
    ("texts embedded", ("embeddings",), ""),
    ("training steps", ("training_steps",), "max_training_steps"),
    ("GPU seconds", ("gpu_s",), "max_gpu_s"),
    ("seconds", ("wall_s",), "max_wall_s"),
)


def reached_sentence(data: Mapping[str, Any]) -> str:
    """Return a limit that was reached as one sentence: what it allows, what was used, what was left out."""
    left_out = data.get("left_out") or data.get("before") or data.get("step")
    return (
        f"budget.{data.get('limit')} allows {_number(data.get('allowed'))}: {_number(data.get('used'))} were"
        f" used, and what came next would have taken about {_number(data.get('needed'))} with the end of the"
        f" run. Left out: {left_out}."
    )


def cost_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Return what was used, what the plan expected and what the budget allows; "-" where nothing is known."""
    cost = report.get("cost") or {}
    used, planned = cost.get("total_used") or {}, cost.get("total_planned") or {}
    budget = (report.get("study") or {}).get("budget") or {}
    rows = []
    for title, names, limit in _ROWS:
        values = [_sum(used, names), _sum(planned, names), budget.get(limit)]
        if any(values):
            rows.append([title, *(_number(value) for value in values)])
    return rows


def print_cost(report: Mapping[str, Any], screen: "Console") -> None:
    """Print what the run used; nothing for a report that does not tell."""
    rows = cost_rows(report)
    if not rows:
        return
    screen.print(
        table("what the run used, over all its attempts", ["", "used", "plan", "budget"], rows, right=3)
    )
    reached = report["cost"].get("budget")
    if reached:
        screen.print(f"Budget reached: {reached_sentence(reached)}", markup=False, soft_wrap=True)


def _sum(sums: Mapping[str, float], names: tuple[str, ...]) -> float | None:
    found = [sums[name] for name in names if name in sums]
    return sum(found) if found else None


def _number(value: Any) -> str:
    return "-" if value is None else f"{float(value):,.0f}"
