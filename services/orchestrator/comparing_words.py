"""Which runs may be compared, and what a reader of the comparison must know, in words."""

from collections.abc import Callable, Sequence

from services.orchestrator.report.schema import Report

_GENERATION = ("temperature", "top_p", "max_new_tokens")


def ruler_of(report: Report) -> str | None:
    """Content hash of the ruler that the run was measured by; None without one."""
    found = report.study.get("ruler")
    return str(found) if found else None


def refusals(reports: Sequence[Report]) -> list[str]:
    """Every reason why these runs cannot be compared; empty if they can."""
    found = [
        f"run {one.run_id} has no analysis with intervals (report schema {one.schema_version}): run its study"
        " again"
        for one in reports
        if one.analysis is None
    ]
    found += _differ(
        reports,
        lambda one: one.provenance.encoder_fingerprint,
        lambda one: f"{one.encoder} ({one.provenance.encoder_fingerprint[:12]}…)",
        "they were embedded by different encoders, and distances of different encoders are not on one scale",
    )
    found += _differ(
        reports,
        lambda one: one.provenance.prompt_set.sha256,
        lambda one: f"{one.provenance.prompt_set.id} ({one.provenance.prompt_set.sha256[:12]}…)",
        "they were asked with different prompt sets, and the prompt alone moves the number",
    )
    found += _differ(
        reports,
        lambda one: ruler_of(one) or "",
        lambda one: f"ruler {(ruler_of(one) or '')[:12]}…" if ruler_of(one) else "no ruler",
        "they were measured by different rulers, or one by a ruler and another by its own reference",
    )
    if len(reports) > 1 and not _common_topics(reports):
        found.append("they have no topic in common")
    return found


def warnings(reports: Sequence[Report]) -> list[str]:
    """What has to be known before a number of the comparison is read."""
    said = []
    models = {one.provenance.model_fingerprint for one in reports}
    sets = {one.provenance.reference_set.sha256 for one in reports}
    if len(sets) > 1:
        said.append(
            "The runs are measured against different reference sets, which are different yardsticks: a"
            " value difference to one set does not compare with one to another. Compare the scaled values"
            " (0 at chance pairing, 1 at an independent draw of the reference); raw ones only within a set."
        )
    if len(models) > 1 and not ruler_of(reports[0]):
        said.append(
            "Each model was measured by the reference texts that it wrote itself: a model that writes poor"
            " references comes out close to them. Freeze one run as a ruler (valign rulers freeze RUN"
            " --name NAME) and measure the others by it."
        )
    if len(models) == 1 and len(sets) == 1:
        said.append("The runs have one model and one reference set: they differ in settings or seed alone.")
    said += _settings(reports)
    if ruler_of(reports[0]):
        said.append(
            "The original principles and their reference texts are the ruler's, the same in every run: they"
            " say nothing of a model. What a model does shows in the other arms and in its own principles."
        )
    said += [
        f"Run {one.run_id} could not control everything; its report lists"
        f" {len(one.analysis.uncontrolled)} points."
        for one in reports
        if one.analysis and one.analysis.uncontrolled
    ]
    if len({tuple(topic.id for topic in one.topics) for one in reports}) > 1:
        said.append(
            "The runs have different topics: overall values are means over each run's own, and only the"
            " common topics are listed one by one."
        )
    return said


def _settings(reports: Sequence[Report]) -> list[str]:
    said = []
    for name in _GENERATION:
        values = {str(one.study.get("generation", {}).get(name)) for one in reports}
        if len(values) > 1:
            said.append(f"generation.{name} differs between the runs: {', '.join(sorted(values))}.")
    return said


def _common_topics(reports: Sequence[Report]) -> set[str]:
    return set.intersection(*({topic.id for topic in one.topics} for one in reports))


def _differ(
    reports: Sequence[Report],
    value: Callable[[Report], str],
    shown: Callable[[Report], str],
    why: str,
) -> list[str]:
    if len({value(one) for one in reports}) < 2:
        return []
    listed = "; ".join(f"run {one.run_id}: {shown(one)}" for one in reports)
    return [f"{why} ({listed})"]
