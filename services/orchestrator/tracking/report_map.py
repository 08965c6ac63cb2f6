"""What a report is as metrics and tags, once a run has succeeded. Pure."""

import math
from collections.abc import Iterator

from services.orchestrator.analysis.results import Analysis, Estimate
from services.orchestrator.report.schema import Report
from services.orchestrator.tracking import names
from services.orchestrator.tracking.event_map import Metric, milliseconds

_TOPIC = ("before", "base_p3", "after", "reduction", "constant", "initial_mean")
_OVERALL = ("before", "base_p3", "after", "reduction", "constant")

Number = tuple[tuple[str, ...], float | None]


def report_metrics(report: Report) -> list[Metric]:
    """Every number that a person compares runs by, at the step of the best iteration (0 if none)."""
    step, time_ms = report.best_iteration or 0, milliseconds(report.created_at)
    return [
        Metric(names.key(*parts), float(value), step, time_ms)
        for parts, value in _numbers(report)
        if value is not None and math.isfinite(value)
    ]


def report_tags(report: Report) -> dict[str, str]:
    """The verdict, how each guard ended, and what identifies the models."""
    found = {
        "valign.base_model": report.base_model,
        "valign.base_fingerprint": report.provenance.model_fingerprint,
        "valign.encoder": report.encoder,
        "valign.encoder_fingerprint": report.provenance.encoder_fingerprint,
        "valign.reference_set": report.reference_set,
        "valign.reference_set_sha256": report.provenance.reference_set.sha256,
        "valign.stop_reason": report.stop_reason,
        "valign.adapter": report.adapter.name if report.adapter else "",
        "valign.adapter_sha256": report.adapter.sha256 if report.adapter else "",
        "valign.evidence_sha256": report.evidence.sha256 if report.evidence else "",
    }
    analysis = report.analysis
    if analysis is not None:
        found |= {f"valign.guard.{guard.id}": guard.status for guard in analysis.guards}
        if analysis.verdict is not None:
            found |= {
                "valign.decision": analysis.verdict.decision,
                "valign.verdict": analysis.verdict.headline,
                "mlflow.note.content": f"**{analysis.verdict.decision}**: {analysis.verdict.headline}",
            }
    return {names.key(name): names.tag(text) for name, text in found.items() if text}


def _numbers(report: Report) -> Iterator[Number]:
    for name in _OVERALL:
        yield ("report", name), getattr(report.overall, name)
    for topic in report.topics:
        for name in _TOPIC:
            yield ("report", topic.id, name), getattr(topic, name)
    for stage, seconds in report.timings_s.items():
        yield ("seconds", stage), seconds
    if report.analysis is not None:
        yield from _analysis(report.analysis)


def _analysis(analysis: Analysis) -> Iterator[Number]:
    primary = analysis.primary
    if primary is not None:
        yield from _estimate(("primary", "difference"), primary.difference)
        yield from _estimate(("primary", "reduction"), primary.reduction)
        yield ("primary", "p_value"), primary.p_value
        yield ("primary", "effect_size"), primary.effect_size
        for one in primary.topics:
            yield from _estimate(("primary", one.topic, "difference"), one.difference)
            yield ("primary", one.topic, "p_value"), one.p_value
            yield ("primary", one.topic, "p_holm"), one.p_holm
    yield from _estimate(("scale", "floor"), analysis.scale.floor)
    yield from _estimate(("scale", "register_only"), analysis.scale.register_only)
    if analysis.scale.ceiling is not None:
        yield from _estimate(("scale", "ceiling"), analysis.scale.ceiling)
    for guard in analysis.guards:
        for measure in guard.measures:
            where = ("guard", guard.id, measure.name)
            yield where, measure.value
            yield (*where[:2], f"{measure.name}_low"), measure.low
            yield (*where[:2], f"{measure.name}_high"), measure.high


def _estimate(where: tuple[str, ...], estimate: Estimate) -> Iterator[Number]:
    yield where, estimate.value
    yield (*where[:-1], f"{where[-1]}_low"), estimate.low
    yield (*where[:-1], f"{where[-1]}_high"), estimate.high
