"""The verdict as text: decision first, then figure, guards, topics; in words, not in colour alone."""

import json
from typing import Any

import pytest
from rich.console import Console

from services.cli.progress import RunState
from services.cli.results import print_report
from services.cli.verdict import decision, estimate, p_value
from services.orchestrator.report.schema import Report
from tests.unit.cli.conftest import Cli, FakeApi, make_run
from tests.unit.orchestrator.report import analyses, examples


def as_json(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report.to_json())
    return found


def printed(report: dict[str, Any]) -> str:
    screen = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_report(report, screen)
    screen.file.close()
    return screen.export_text()


@pytest.mark.parametrize(("kind", "word"), [("promote", "PROMOTE"), ("hold", "HOLD"), ("reject", "REJECT")])
def test_print_verdict_stands_first_with_its_reasons(kind: Any, word: str) -> None:
    text = printed(as_json(examples.judged(kind)))
    first = text.splitlines()[0]
    assert word in first
    assert analyses.HEADLINES[kind].partition(": ")[2] in first
    assert analyses.HEADLINES[kind] not in first  # the decision is said once
    for reason in analyses.REASONS[kind]:
        said = reason.text if reason.outcome == kind or reason.outcome != "promote" else reason.rule
        assert text.index(said) < text.index("Primary figure")


def test_print_headline_that_repeats_the_first_reason_counts_the_rules_instead() -> None:
    report = as_json(examples.judged("reject"))
    verdict = report["analysis"]["verdict"]
    verdict["headline"] = f"Reject: {verdict['reasons'][0]['text'].rstrip('.')} (1 more of 4 rules)."
    assert printed(report).startswith("✕ REJECT: 2 of the gate's 4 rules ask to reject\n")


def test_print_verdict_then_figure_guards_topics_and_the_papers_number() -> None:
    text = printed(as_json(examples.judged()))
    places = [
        text.index(said)
        for said in (
            "warning The reference set",
            "Primary figure: reduction of the value difference 38.6% (32.6% to 44.6%), 95% interval",
            "0.442 (0.402 to 0.482)",
            "floor: chance pairing",
            "ceiling: the reference drawn twice",
            "FAIL         Diversity",
            "warn         Marker words",
            "not measured Polarity",
            "pass         Second encoder",
            "by topic: exploratory",
            "Value space, scored by the model as a judge (agreement with people unknown)",
            "1.200 (1.100 to 1.300)     Tuned",
            "Measured by the ruler benchmark of Qwen2.5-7B-Instruct",
            "Not measured: polarity",
            "the paper's own number",
        )
    ]
    assert places == sorted(places)
    assert "not evidence" not in text  # the verdict has said it


def test_print_measured_only_says_there_is_nothing_to_promote() -> None:
    text = printed(as_json(examples.measured_with_analysis()))
    assert text.startswith("MEASURED ONLY")
    assert "Primary figure" not in text
    assert "Not controlled: The endpoint takes no seed" in text


def test_print_texts_that_look_like_markup_are_printed_as_they_are() -> None:
    report = as_json(examples.judged())
    report["analysis"]["verdict"]["headline"] = "[red]x[/red] [bold"
    assert "[red]x[/red] [bold" in printed(report)


def test_decision_of_a_report_without_verdict_is_empty() -> None:
    assert decision(as_json(examples.report())) == ""
    assert decision(as_json(examples.measured_with_analysis())) == ""
    assert decision(as_json(examples.judged("hold"))) == "hold"


def test_estimate_and_p_value_without_a_number_are_dashes() -> None:
    assert (estimate(None), p_value(None)) == ("-", "-")
    assert estimate({"value": 0.5, "low": None, "high": None}) == "0.500"
    assert (p_value(0.0001), p_value(0.02)) == ("<0.001", "0.020")


@pytest.mark.parametrize(
    ("kind", "arguments", "status"),
    [
        ("reject", (), 0),
        ("hold", (), 0),
        ("promote", ("--require", "promote"), 0),
        ("hold", ("--require", "promote"), 3),
        ("reject", ("--require", "promote"), 3),
    ],
)
def test_run_exit_status_is_the_verdicts_only_if_required(
    cli: Cli, api: FakeApi, kind: Any, arguments: tuple[str, ...], status: int
) -> None:
    api.events, api.report = [("run.succeeded", {})], as_json(examples.judged(kind))
    assert cli("run", "demo", *arguments) == status
    assert kind.upper() in cli.out
    assert ("promote was required" in cli.err) == (status == 3)


def test_watch_required_with_json_exits_3_and_prints_the_run_last(cli: Cli, api: FakeApi) -> None:
    api.events, api.report = [("run.succeeded", {})], as_json(examples.judged("reject"))
    api.runs["r-1"] = make_run("r-1")
    assert cli("watch", "r-1", "--json", "--require", "promote") == 3
    assert json.loads(cli.out.splitlines()[-1])["status"] == "succeeded"


def test_run_measured_only_is_no_promotion(cli: Cli, api: FakeApi) -> None:
    api.events, api.report = [("run.succeeded", {})], as_json(examples.measured_with_analysis())
    assert cli("run", "demo", "--require", "promote") == 3
    assert "the verdict is none" in cli.err


def test_run_detached_with_a_requirement_is_wrong_usage(cli: Cli, api: FakeApi) -> None:
    assert cli("run", "demo", "--detach", "--require", "promote") == 2
    assert api.posted == []


def test_report_prints_the_verdict_and_json_stays_as_it_is(cli: Cli, api: FakeApi) -> None:
    api.runs["r-1"] = make_run("r-1", "succeeded")
    api.report = as_json(examples.judged())
    assert cli("report", "r-1") == 0
    assert cli.out.startswith("✕ REJECT")
    assert cli("report", "r-1", "--json") == 0
    assert cli.json == {**api.report, "run_id": "r-1"}


def test_events_of_verdict_and_probes_are_shown() -> None:
    from services.cli.display import describe, render

    state = RunState("r-1", "demo")
    data = {"decision": "reject", "headline": "too near"}
    state.apply({"number": 1, "kind": "verdict.reached", "data": data})
    screen = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    screen.print(render(state))
    screen.file.close()
    assert "verdict: reject: too near" in screen.export_text()
    assert describe("verdict.reached", data) == "verdict: reject: too near"
    failed = {"probe": "utility", "message": "away", "code": "NOT_READY"}
    assert describe("probe.failed", failed) == "probe utility not run: away (NOT_READY)"
