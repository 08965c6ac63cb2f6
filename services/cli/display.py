"""A run on the screen: live where there is a terminal, a line per event where there is none."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from services.cli.costs import reached_sentence
from services.cli.output import one_line, table
from services.cli.progress import RunState, StageState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

BAR_WIDTH = 28


def duration(seconds: float) -> str:
    """Return seconds as ``42 s``, ``3:07`` (minutes) or ``1:02:03`` (hours)."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def training_line(data: Mapping[str, Any]) -> str:
    """Return a training progress event as text."""
    which = f"iteration {data.get('iteration')}"
    if data.get("arm"):
        which = f"arm {data['arm']}, {which}"
    if not data.get("total_steps"):
        return f"{which}, loading the model"
    parts = [
        which,
        f"step {data.get('step')}/{data.get('total_steps')}",
        f"loss {float(data.get('loss') or 0):.4f}",
        f"lr {float(data.get('learning_rate') or 0):.2e}",
        f"{float(data.get('tokens_per_s') or 0):.0f} tokens/s",
    ]
    if data.get("time_left_s") is not None:
        parts.append(f"{duration(float(data['time_left_s']))} left")
    return ", ".join(parts)


def verdict_line(data: Mapping[str, Any]) -> str:
    """Return the event that tells the verdict as text."""
    return f"verdict: {data.get('decision')}: {data.get('headline')}"


def iteration_cells(row: Mapping[str, Any]) -> list[str]:
    """Return iteration, mean validation difference and relative improvement as text."""
    mean, improvement = row.get("validation_mean"), row.get("relative_improvement")
    return [
        str(row.get("iteration")),
        "" if mean is None else f"{mean:.4f}",
        "" if improvement is None else f"{improvement:+.1%}",
    ]


def render(state: RunState) -> "RenderableType":
    """Return the live display of a run."""
    from rich.console import Group
    from rich.markup import escape
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, stage in state.stages.items():
        done, total = (1, 1) if stage.duration_s is not None else (stage.done, stage.total)
        bar = ProgressBar(total=max(total, 1), completed=done, width=BAR_WIDTH)
        grid.add_row(_mark(stage), escape(_stage_name(name, stage)), bar, _counts(stage))
        if stage.started and stage.duration_s is None:
            for topic, (part, whole) in stage.topics.items():
                small = ProgressBar(total=max(whole, 1), completed=part, width=BAR_WIDTH)
                grid.add_row("", f"  {escape(topic)}", small, f"{part}/{whole}")
    parts: list[RenderableType] = [Text(f"run {state.run_id} {state.name}: {state.status}", "bold"), grid]
    if state.training:
        total, step = state.training.get("total_steps") or 1, state.training.get("step") or 0
        parts.append(Text("training: " + training_line(state.training)))
        parts.append(ProgressBar(total=total, completed=step, width=2 * BAR_WIDTH))
    if state.iterations:
        rows = [iteration_cells(row) for row in state.iterations]
        parts.append(table("", ["iteration", "validation difference", "improvement"], rows, right=3))
    if state.verdict:
        parts.append(Text(verdict_line(state.verdict), "bold"))
    if state.waiting:
        parts.append(Text(state.waiting, "yellow"))
    return Group(*parts)


def _mark(stage: StageState) -> str:
    if stage.duration_s is not None:
        return "[green]done[/]"
    return "[cyan]now[/]" if stage.started else "[dim]-[/]"


def _stage_name(name: str, stage: StageState) -> str:
    return name if stage.iteration is None else f"{name} (iteration {stage.iteration})"


def _counts(stage: StageState) -> str:
    if stage.duration_s is not None:
        return duration(stage.duration_s)
    return f"{stage.done}/{stage.total}" if stage.total else ""


class LiveDisplay:
    """Redraws the run in place; use as a context manager."""

    def __init__(self, console: "Console", state: RunState) -> None:
        from rich.live import Live

        self._state = state
        self._live = Live(console=console, refresh_per_second=4, get_renderable=lambda: render(state))

    def __enter__(self) -> "LiveDisplay":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def event(self, event: Mapping[str, Any]) -> None:
        """Nothing to do: the display reads the state four times a second."""

    def note(self, text: str) -> None:
        """Print a line above the display."""
        self._live.console.print(text, markup=False)


class PlainDisplay:
    """Prints a line per event; progress at most every ``every_s`` seconds and when a part is done."""

    def __init__(self, console: "Console", every_s: float = 10.0) -> None:
        self._console = console
        self._every_s = every_s
        self._last_s = float("-inf")
        self._last_line = ""

    def __enter__(self) -> "PlainDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def event(self, event: Mapping[str, Any]) -> None:
        """Print the event, unless it is progress that comes too soon after the last."""
        kind, data = str(event.get("kind")), event.get("data") or {}
        if kind.endswith(".progress"):
            now = time.monotonic()
            complete = data.get("done", data.get("step")) == data.get("total", data.get("total_steps"))
            if not complete and now - self._last_s < self._every_s:
                return
            self._last_s = now
        line = one_line(describe(kind, data))
        # The last step of a job is told more than once: done, saved, ended.
        if line != self._last_line:
            self._last_line = line
            self.note(line)

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, soft_wrap=True)


def describe(kind: str, data: Mapping[str, Any]) -> str:
    """Return one event as a line of text."""
    iteration = f" (iteration {data['iteration']})" if data.get("iteration") is not None else ""
    match kind:
        case "stage.started":
            return f"{data.get('stage')}{iteration}: started"
        case "stage.progress":
            topic = f" {data['topic']}" if data.get("topic") else ""
            return f"{data.get('stage')}{iteration}{topic}: {data.get('done')}/{data.get('total')}"
        case "stage.ended":
            return f"{data.get('stage')}{iteration}: done in {duration(float(data.get('duration_s') or 0))}"
        case "training.progress":
            return "training: " + training_line(data)
        case "adapter.loaded":
            return f"adapter {data.get('name')} loaded and proven"
        case "topic.means":
            means = ", ".join(f"{topic} {mean:.3f}" for topic, mean in (data.get("means") or {}).items())
            split = f" ({data['split']} pairs)" if data.get("split") else ""
            return f"means of {data.get('arm')}{split}: {means}"
        case "iteration.ended":
            number, mean, improvement = iteration_cells(data)
            return f"iteration {number}: validation difference {mean} {improvement}".rstrip()
        case "budget.reached":
            return f"budget reached: {reached_sentence(data)}"
        case "verdict.reached":
            return verdict_line(data)
        case "probe.failed":
            return f"probe {data.get('probe')} not run: {data.get('message')} ({data.get('code')})"
        case "service.waiting":
            return f"waiting for the {data.get('service')}: {data.get('reason')}"
        case "run.failed":
            return f"run failed: {data.get('message')} ({data.get('code')})"
        case _:
            return kind.replace(".", " ")
