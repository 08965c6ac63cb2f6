"""Alerts, recording rules, dashboards and runbooks fit each other and the metrics that there are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.metric_table import listed, series

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "k8s" / "components" / "monitoring"
RUNBOOKS = ROOT / "docs" / "guides" / "runbooks.md"
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
# What Prometheus itself puts on every series.
TARGET_LABELS = frozenset({"job", "instance"})
WORDS = frozenset({"and", "or", "unless", "by", "without", "on", "bool", "offset", "inf", "nan"})


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)")
_RANGE = re.compile(r"\[[^\]]*\]")
_NAME = re.compile(r"(?<![\w:.$])([a-zA-Z_:][a-zA-Z0-9_:]*)(?![\w:]|\s*\()")


def used(expression: str) -> tuple[set[str], set[str]]:
    """The series and the labels that a PromQL expression names."""
    bare = _RANGE.sub("", _STRING.sub('""', expression))
    labels = {name.strip() for group in _GROUPING.findall(bare) for name in group.split(",") if name.strip()}
    bare = _GROUPING.sub("", bare)
    for _, matchers in _SELECTOR.findall(bare):
        labels |= set(_MATCHER.findall(matchers))
    bare = _SELECTOR.sub(r"\1", bare)
    return {name for name in _NAME.findall(bare) if name.lower() not in WORDS}, labels


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = rules("alerts.yaml")


def known() -> dict[str, frozenset[str]]:
    """Every series with its labels: those of the guide, what is recorded of them, and Prometheus's own."""
    found = series() | {"up": frozenset[str]()}
    for rule in rules("recording.yaml"):
        _, labels = used(rule["expr"])
        found[rule["record"]] = frozenset(labels)
    return found


def problems(expression: str) -> Iterator[str]:
    """What an expression names that is not there."""
    names, labels = used(expression)
    there = known()
    if not names:
        yield f"no series in {expression}"
    yield from (f"no such series: {name}" for name in names - there.keys())
    allowed = TARGET_LABELS.union(*(there.get(name, frozenset()) for name in names))
    yield from (f"no such label of {sorted(names)}: {label}" for label in labels - allowed)


@pytest.mark.parametrize(
    ("expression", "names", "labels"),
    [
        ("a_total", {"a_total"}, set()),
        ('sum by (x, y) (rate(a_total{b=~"c{d}", e!="f"}[5m])) > 0.5', {"a_total"}, {"x", "y", "b", "e"}),
        ("vllm:a / on (i) group_left (j) b:c:d", {"vllm:a", "b:c:d"}, {"i", "j"}),
        ("time() - max(a) > 2 * 86400 and on() (vector(0) == 1e3)", {"a"}, set()),
        ("increase(a[$__range]) offset 5m", {"a"}, set()),
    ],
)
def test_used_of_an_expression_finds_series_and_labels(
    expression: str, names: set[str], labels: set[str]
) -> None:
    found = used(expression)
    assert found == (names, labels)


def test_problems_of_a_wrong_name_or_label_are_told() -> None:
    assert list(problems("valign_run")) == ["no such series: valign_run"]
    assert list(problems('valign_runs{state="x"}')) == ["no such label of ['valign_runs']: state"]


@pytest.mark.parametrize(
    "rule", [*ALERTS, *rules("recording.yaml")], ids=lambda r: r.get("alert") or r["record"]
)
def test_rule_names_only_series_and_labels_that_there_are(rule: dict[str, Any]) -> None:
    assert list(problems(rule["expr"])) == []


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_alert_has_severity_words_and_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    told = rule["annotations"]
    assert told["summary"]
    assert told["description"]
    page, _, anchor = told["runbook_url"].partition("#")
    assert ROOT / page == RUNBOOKS
    assert anchor in re.findall(r"^## (\S+)$", RUNBOOKS.read_text(), re.MULTILINE)
    # Names in templates are labels that the expression leaves.
    _, labels = used(rule["expr"])
    there = known()
    kept = TARGET_LABELS | labels | set().union(*(there.get(name, set()) for name in used(rule["expr"])[0]))
    for text in (told["summary"], told["description"]):
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= kept


def test_runbooks_have_no_section_without_an_alert() -> None:
    sections = re.findall(r"^## (\S+)$", RUNBOOKS.read_text(), re.MULTILINE)
    linked = {rule["annotations"]["runbook_url"].partition("#")[2] for rule in ALERTS}
    assert set(sections) == linked
    assert len(sections) == len(set(sections))


def test_runbooks_name_panels_that_there_are() -> None:
    titles = {panel["title"] for path in DASHBOARDS for panel in json.loads(path.read_text())["panels"]}
    named = re.findall(r"(?<![*\w])\*([A-Z][^*\n]+)\*(?!\*)", RUNBOOKS.read_text())
    assert len(named) > 5
    assert set(named) <= titles


def test_runbooks_name_commands_and_links_that_there_are() -> None:
    from typer.main import get_command

    from services.cli.__main__ import app

    text = RUNBOOKS.read_text()
    top = get_command(app)
    for command in re.findall(r"`valign ([a-z-]+(?: [a-z-]+)?)", text):
        first, _, second = command.partition(" ")
        found = top.commands[first]  # type: ignore[attr-defined]
        if second:
            assert second in found.commands, command
    for anchor in re.findall(r"\]\(#(\S+)\)", text):
        assert f"\n## {anchor}\n" in text
    for page in re.findall(r"\]\((\w[\w-]*\.md)\)", text):
        assert (RUNBOOKS.parent / page).exists(), page


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: str(path.name))
def test_dashboard_is_one_that_grafana_takes(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["schemaVersion"] >= 39
    assert board["uid"].startswith("valign-")
    assert board["title"].startswith("valign / ")
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert names[0] == "datasource"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["legendFormat"]
            assert list(problems(target["expr"])) == [], panel["title"]
            _, labels = used(target["expr"])
            everywhere = (
                labels
                | TARGET_LABELS
                | set().union(*(known().get(name, set()) for name in used(target["expr"])[0]))
            )
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= everywhere
            for variable in re.findall(r"\$(\w+)", target["expr"]):
                assert variable in names or variable.startswith("__")
    for variable in board["templating"]["list"][1:]:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
        assert label in known()[metric]


def test_dashboards_have_ids_of_their_own() -> None:
    found = [json.loads(path.read_text())["uid"] for path in DASHBOARDS]
    assert len(found) == len(set(found)) == 5


def test_every_metric_stands_in_a_rule_or_on_a_dashboard() -> None:
    """A metric that nobody looks at is a metric too many."""
    expressions = [rule["expr"] for rule in (*ALERTS, *rules("recording.yaml"))]
    for path in DASHBOARDS:
        panels = json.loads(path.read_text())["panels"]
        expressions += [target["expr"] for panel in panels for target in panel.get("targets", ())]
    seen = set().union(*(used(expression)[0] for expression in expressions))
    unseen = {name for name, one in listed().items() if not seen & set(one.series)}
    assert unseen <= {
        "valign_run_seconds",
        "valign_orchestrator_adapters_pruned_total",
        "valign_generator_requests_in_flight",
        "valign_trainer_steps_total",
        "valign_trainer_job_seconds",
    }


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not there: apt-get install prometheus, or make tools")
    return found


def test_promtool_takes_the_rules(promtool: str) -> None:
    files = [str(FOLDER / name) for name in ("alerts.yaml", "recording.yaml")]
    done = subprocess.run([promtool, "check", "rules", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_sees_every_alert_fire_and_be_silent(promtool: str) -> None:
    cases = ROOT / "tests" / "monitoring" / "alerts_test.yaml"
    tested = yaml.safe_load(cases.read_text())["tests"]
    names = [str(rule["alert"]) for rule in ALERTS]
    expected = {f"{name} {what}" for name in names for what in ("fires", "is silent")}
    assert {case["name"] for case in tested} == expected
    done = subprocess.run(
        [promtool, "test", "rules", str(cases)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
