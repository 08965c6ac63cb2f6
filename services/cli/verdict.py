"""A run's verdict as text: decision and reasons first, then the primary figure, the guards, the topics."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from services.cli.output import table

if TYPE_CHECKING:
    from rich.console import Console

Json = Mapping[str, Any]
DECISIONS = {
    "promote": ("✓ PROMOTE", "bold green"),
    "hold": ("! HOLD", "bold yellow"),
    "reject": ("✕ REJECT", "bold red"),
}
OUTCOMES = {"promote": ("passed", "green"), "hold": ("hold", "yellow"), "reject": ("reject", "red")}
STATUSES = {
    "fail": ("FAIL", "red"),
    "warn": ("warn", "yellow"),
    "not_measured": ("not measured", "dim"),
    "pass": ("pass", "green"),
}
LINE_CHARS = 140
NOTHING_TO_PROMOTE = "MEASURED ONLY: nothing was trained, so there is nothing to promote."


def decision(report: Json) -> str:
    """Return promote, hold or reject; "" for a report without a verdict."""
    return str(((report.get("analysis") or {}).get("verdict") or {}).get("decision") or "")


def print_verdict(report: Json, screen: "Console") -> None:
    """Print verdict, warnings, primary figure, guards and topics of a report that has an analysis."""
    analysis: Json = report["analysis"]
    verdict: Json | None = analysis.get("verdict")
    for line, style in (*_decided(verdict), *_warnings(report), *_figure(analysis), *_guards(analysis)):
        screen.print(line, style=style or None, markup=False, soft_wrap=True)
    _topics(report, analysis, screen)
    for line in (*_values(report.get("values")), *_ruler(report.get("ruler")), *_limits(analysis)):
        screen.print(line, markup=False, soft_wrap=True)


def estimate(value: Json | None, digits: int = 3, scale: float = 1.0, unit: str = "") -> str:
    """Return an estimate with its interval, for example ``0.442 (0.401 to 0.483)``."""
    if value is None:
        return "-"
    text = f"{value['value'] * scale:.{digits}f}{unit}"
    low, high = value.get("low"), value.get("high")
    if low is None or high is None:
        return text
    return f"{text} ({low * scale:.{digits}f}{unit} to {high * scale:.{digits}f}{unit})"


def p_value(value: float | None) -> str:
    """Return a p-value with three digits."""
    if value is None:
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _decided(verdict: Json | None) -> Iterable[tuple[str, str]]:
    if verdict is None:
        yield NOTHING_TO_PROMOTE, "bold"
        return
    word, style = DECISIONS[verdict["decision"]]
    yield f"{word}: {headline(verdict)}", style
    kept, passed = verdict["decision"] == "promote", []
    for reason in verdict["reasons"]:
        outcome, style = OUTCOMES[reason["outcome"]]
        if kept or reason["outcome"] != "promote":
            yield f"  {outcome:<7} {reason['text']}", style
        else:
            passed.append(str(reason["rule"]).replace("_", " "))
    if passed:
        yield f"  {'passed':<7} {', '.join(passed)}", "dim"


def headline(verdict: Json) -> str:
    """Return the headline without what the decision's word and the reasons say anyway."""
    text, reasons, start = str(verdict["headline"]), verdict["reasons"], f"{verdict['decision']}: "
    if text.lower().startswith(start):
        text = text[len(start) :]
    deciding = [reason for reason in reasons if reason["outcome"] == verdict["decision"]]
    if verdict["decision"] == "promote" or not deciding:
        return text
    if text.startswith(str(deciding[0]["text"]).rstrip(".")):
        ask = "asks" if len(deciding) == 1 else "ask"
        return f"{len(deciding)} of the gate's {len(reasons)} rules {ask} to {verdict['decision']}"
    return text


def _warnings(report: Json) -> Iterable[tuple[str, str]]:
    for warning in report.get("warnings") or ():
        yield f"  warning {warning}", "yellow"


def _figure(analysis: Json) -> Iterable[tuple[str, str]]:
    level = f"{analysis['level']:.0%} interval"
    primary, scale = analysis.get("primary"), analysis["scale"]
    titles = {arm["arm"]: arm["title"] for arm in analysis["arms"]}
    yield "", ""
    if primary is not None:
        reduction = estimate(primary["reduction"], 1, 100, "%")
        pair = " / ".join(titles.get(primary[side], primary[side]) for side in ("arm", "against"))
        yield f"Primary figure: reduction of the value difference {reduction}, {level}", "bold"
        yield f"  {pair}, same inputs; p {p_value(primary.get('p_value'))}", ""
    else:
        yield f"Value difference to the reference texts, {level}", "bold"
    for arm in analysis["arms"]:
        yield f"  {estimate(arm['mean']):<26} {arm['title']}", "bold" if arm["kind"] == "tuned" else ""
    ceiling = estimate(scale["ceiling"]) if scale.get("ceiling") else "not drawn"
    yield f"  {estimate(scale['floor']):<26} floor: chance pairing", "dim"
    yield f"  {estimate(scale['register_only']):<26} right register, wrong subject", "dim"
    yield f"  {ceiling:<26} ceiling: the reference drawn twice", "dim"


def _guards(analysis: Json) -> Iterable[tuple[str, str]]:
    guards = analysis.get("guards") or ()
    if guards:
        yield "", ""
        yield "Guards", "bold"
    order = list(STATUSES)
    for guard in sorted(guards, key=lambda guard: order.index(guard["status"])):
        word, style = STATUSES[guard["status"]]
        yield (
            f"  {word:<12} {_cut(guard['title'] + ': ' + guard['summary'])}",
            style if guard["status"] != "pass" else "",
        )


def _cut(text: str) -> str:
    """One line of a guard; the report has the rest."""
    return text if len(text) <= LINE_CHARS else text[: LINE_CHARS - 1].rsplit(" ", 1)[0] + " …"


def _topics(report: Json, analysis: Json, screen: "Console") -> None:
    titles = {topic["id"]: topic.get("title") or topic["id"] for topic in report["topics"]}
    primary = analysis.get("primary")
    if primary is None or not primary.get("topics"):
        return
    means = {arm["arm"]: arm["by_topic"] for arm in analysis["arms"]}
    rows = []
    for one in primary["topics"]:
        pair = [means.get(primary[side], {}).get(one["topic"]) for side in ("against", "arm")]
        rows.append(
            [
                titles.get(one["topic"], one["topic"]),
                *(f"{mean['value']:.3f}" if mean else "-" for mean in pair),
                estimate(one["difference"]),
                p_value(one.get("p_holm")),
            ]
        )
    heads = ["topic", "untuned", "tuned", "nearer by", "p (Holm)"]
    screen.print(table("by topic: exploratory, few inputs each", heads, rows, right=4))


def _values(space: Json | None) -> Iterable[str]:
    if space is None:
        return
    who = "the model as a judge" if space["evaluator"] == "judge" else "a trained head"
    yield f"Value space, scored by {who} (agreement with people {space['agreement']}): distance to the target"
    for arm in space["arms"]:
        yield f"  {estimate(arm['pooled']['distance']):<26} {arm['title']}"


def _ruler(ruler: Json | None) -> Iterable[str]:
    if ruler is not None:
        yield (
            f"Measured by the ruler {ruler['name']} of {ruler['model']}: own principles "
            f"lie {ruler['own']:.3f} from its targets, its own originals {ruler['benchmark']:.3f}"
        )


def _limits(analysis: Json) -> Iterable[str]:
    for one in analysis.get("uncontrolled") or ():
        yield f"Not controlled: {one}"
    for name, why in (analysis.get("not_run") or {}).items():
        yield f"Not measured: {name}: {why}"
