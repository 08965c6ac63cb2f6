from typing import Any

from rich.console import Console

from services.cli.display import PlainDisplay, describe, duration, render
from services.cli.progress import RunState


def apply(*events: tuple[str, dict[str, Any]]) -> RunState:
    state = RunState("r-1", "demo")
    for number, (kind, data) in enumerate(events, 1):
        state.apply({"number": number, "kind": kind, "data": data})
    return state


def test_apply_topic_progress_adds_up_to_the_stage() -> None:
    state = apply(
        ("run.started", {}),
        ("stage.started", {"stage": "uncover"}),
        ("stage.progress", {"stage": "uncover", "done": 2, "total": 6, "topic": "a"}),
        ("stage.progress", {"stage": "uncover", "done": 1, "total": 6, "topic": "b"}),
    )
    stage = state.stages["uncover"]
    assert (stage.done, stage.total) == (3, 12)
    assert state.status == "running"
    assert state.last_number == "4"


def test_apply_new_iteration_forgets_the_topics_of_the_last() -> None:
    state = apply(
        ("stage.progress", {"stage": "realign", "iteration": 1, "done": 3, "total": 3, "topic": "a"}),
        ("stage.progress", {"stage": "realign", "iteration": 2, "done": 0, "total": 3, "topic": "b"}),
    )
    assert state.stages["realign"].iteration == 2
    assert state.stages["realign"].topics == {"b": (0, 3)}


def test_apply_unknown_kind_changes_only_the_number() -> None:
    state = apply(("something.new", {"x": 1}))
    assert (state.last_number, state.status) == ("1", "queued")


def test_apply_failure_ends_the_run_with_its_message() -> None:
    state = apply(("run.failed", {"code": "PRECONDITION", "message": "too few"}))
    assert state.ended
    assert state.error == "too few"


def test_apply_waiting_is_cleared_by_the_next_event() -> None:
    waiting = ("service.waiting", {"service": "generator", "reason": "loading"})
    assert apply(waiting).waiting == "waiting for the generator: loading"
    assert apply(waiting, ("stage.started", {"stage": "uncover"})).waiting == ""


TRAINING = {
    "iteration": 1,
    "step": 5,
    "total_steps": 55,
    "epoch": 0.5,
    "loss": 2.5,
    "learning_rate": 2e-4,
    "tokens_per_s": 240.0,
    "time_left_s": 75.0,
}


def test_render_shows_stages_topics_training_and_iterations() -> None:
    state = apply(
        ("stage.ended", {"stage": "uncover", "duration_s": 61.0}),
        ("stage.progress", {"stage": "realign", "done": 1, "total": 9, "topic": "[privacy]"}),
        ("training.progress", TRAINING),
        ("iteration.ended", {"iteration": 0, "validation_mean": 0.74}),
    )
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(render(state))
    console.file.close()
    text = console.export_text()
    for part in ("uncover", "1:01", "[privacy]", "1/9", "step 5/55", "loss 2.5000", "1:15 left", "0.7400"):
        assert part in text


def test_plain_display_prints_progress_rarely_but_always_its_end(capsys: Any) -> None:
    with PlainDisplay(Console(width=200), every_s=1000) as display:
        for done in (1, 2, 3, 9):
            data = {"stage": "uncover", "done": done, "total": 9}
            display.event({"kind": "stage.progress", "data": data})
    assert capsys.readouterr().out.splitlines() == ["uncover: 1/9", "uncover: 9/9"]


def test_describe_training_names_rate_and_time_left() -> None:
    assert describe("training.progress", TRAINING) == (
        "training: iteration 1, step 5/55, loss 2.5000, lr 2.00e-04, 240 tokens/s, 1:15 left"
    )


def test_describe_training_names_the_arm_that_trains() -> None:
    line = describe("training.progress", TRAINING | {"arm": "shuffled"})
    assert line.startswith("training: arm shuffled, iteration 1, step 5/55")
    assert describe("training.progress", {"arm": "uniform", "iteration": 2}) == (
        "training: arm uniform, iteration 2, loading the model"
    )


def test_stages_of_a_run_stand_in_their_order() -> None:
    assert list(RunState("r-1").stages)[-5:] == ["judge", "controls", "probes", "verdict", "report"]


def test_duration_uses_the_shortest_form() -> None:
    assert [duration(s) for s in (4.4, 59.6, 187, 3723)] == ["4 s", "1:00", "3:07", "1:02:03"]


def test_describe_budget_reached_says_limit_use_and_what_is_left_out() -> None:
    data = {"before": "shuffled", "limit": "max_tokens", "allowed": 2500, "used": 1848.0, "needed": 700.2}
    line = describe("budget.reached", {**data, "left_out": "the arm shuffled"})
    assert line.startswith("budget reached: budget.max_tokens allows 2,500: 1,848 were used")
    assert line.endswith("Left out: the arm shuffled.")
    # An event that an earlier version wrote.
    assert describe("budget.reached", data).endswith("Left out: shuffled.")
