"""Stage report: everything that the steps recorded, as one Report, and its two files."""

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from services.common.artifacts import Artifact, sha256_bytes
from services.orchestrator.analysis.results import Analysis, RulerResult
from services.orchestrator.budget import STOPPED
from services.orchestrator.domain.difference import most_moved, overall_mean, reduction
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.loop.appraise import read_analysis, read_values
from services.orchestrator.loop.clock import Ledger
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.planned import PLANNED
from services.orchestrator.loop.quantify import PairTable
from services.orchestrator.loop.realign import arm_of
from services.orchestrator.loop.shown import shown_model
from services.orchestrator.report.html import render_html
from services.orchestrator.report.model_card import model_card
from services.orchestrator.report.projection import Vector, project
from services.orchestrator.report.schema import (
    Adapter,
    BudgetEnd,
    Cost,
    Counts,
    DataVersion,
    EvidenceFile,
    Iteration,
    MovedPrinciple,
    Overall,
    PointKind,
    Projection,
    Provenance,
    Report,
    Swap,
    SwapLoad,
    Topic,
    TrainingSummary,
)
from services.orchestrator.report_files import note_report_files
from services.orchestrator.study import ResolvedStudy

Facts = Mapping[str, Any]
"""Recorded results by step: plan, quantified, analysed, iterations, judged…; see ``workflow``."""


_SLOW_IMPORTS = (
    "sklearn.manifold",
    "matplotlib.figure",
    "matplotlib.lines",
    "matplotlib.backends.backend_svg",
)


def warm_up() -> None:
    """Import what the report draws with, while the run waits for other services: it takes seconds."""
    for name in _SLOW_IMPORTS:
        importlib.import_module(name)


async def write_report(ctx: RunContext, facts: Facts, table: PairTable, ledger: Ledger) -> dict[str, Any]:
    """Assemble, write report.json, report.html and the model card, and note their places in the run's row."""
    report = await assemble(ctx, facts, table, await read_analysis(ctx, facts["verdict"]))
    report = report.model_copy(update=_times(ctx, ledger))
    page = await asyncio.to_thread(render_html, report)
    # Rendering takes time too: the numbers in report.json have it, those on the page do not.
    report = report.model_copy(update=_times(ctx, ledger))
    folder = f"runs/{ctx.run_id}"
    stored = await _keep(ctx, f"{folder}/report", "json", report.to_json().encode("utf-8"))
    html = await _keep(ctx, f"{folder}/report", "html", page.encode("utf-8"))
    await ctx.stored(note_report_files, ctx.store, ctx.run_id, stored, html)
    if report.adapter is not None:
        card = await asyncio.to_thread(model_card, report)
        await asyncio.to_thread(ctx.artifacts.put_bytes, f"{folder}/model-card.md", card.encode("utf-8"))
    await ctx.stored(ctx.store.update_run, ctx.run_id, report_uri=stored.uri, report_html_uri=html.uri)
    return {
        "report_uri": stored.uri,
        "report_html_uri": html.uri,
        "overall": report.overall.model_dump(mode="json"),
        "best_iteration": report.best_iteration,
        "stop_reason": report.stop_reason,
        "budget": report.cost.budget.model_dump(mode="json") if report.cost and report.cost.budget else None,
        "adapter": report.adapter.model_dump(mode="json") if report.adapter else None,
        "decision": facts["verdict"]["decision"],
        # A verdict that an earlier version has recorded has none.
        "reasons": facts["verdict"].get("reasons", []),
    }


async def _keep(ctx: RunContext, name: str, kind: str, data: bytes) -> Artifact:
    # Under its hash: what the run's row names stays while a repeated step writes another (its times differ).
    key = f"{name}-{sha256_bytes(data)[:16]}.{kind}"
    return await asyncio.to_thread(ctx.artifacts.put_bytes, key, data)


async def assemble(ctx: RunContext, facts: Facts, table: PairTable, analysis: Analysis | None) -> Report:
    """The report, without timings."""
    plan, best = facts["plan"], facts.get("best")
    trained = [entry for entry in facts["iterations"] if entry["iteration"] > 0]
    chosen = next((entry for entry in trained if entry["iteration"] == facts.get("best_iteration")), None)
    topics = tuple(_topic(ctx, facts, table, topic) for topic in ctx.resolved.topics)
    realigned = await ctx.get_arrays(best["arrays"]) if best else None
    sets = ctx.resolved
    return Report(
        run_id=ctx.run_id,
        name=ctx.study.name,
        created_at=datetime.now(UTC),
        base_model=shown_model(plan["model"]),
        reference_set=sets.reference_set.id,
        encoder=shown_model(plan["encoder"]),
        provenance=Provenance(
            model_fingerprint=plan["model_fingerprint"],
            encoder_fingerprint=plan["encoder_fingerprint"],
            prompt_set=DataVersion(
                id=sets.prompt_set.id, version=sets.prompt_set.version, sha256=plan["prompt_set_sha256"]
            ),
            reference_set=DataVersion(
                id=sets.reference_set.id,
                version=sets.reference_set.version,
                sha256=plan["reference_set_sha256"],
            ),
            identity=plan["identity"],
            seeds={"run": ctx.study.seed},
            versions=plan["versions"],
        ),
        warnings=_warnings(sets, facts),
        analysis=analysis,
        values=await read_values(ctx, facts["verdict"]),
        ruler=RulerResult(**facts["quantified"]["ruler"]) if facts["quantified"]["ruler"] else None,
        evidence=EvidenceFile(**facts["verdict"]["evidence"]) if facts["verdict"]["evidence"] else None,
        governance=_governance(sets.reference_set),
        study=sets.as_json(),
        topics=topics,
        overall=_overall(topics),
        constant_sentence=facts["constant"]["sentence"] if best else None,
        iterations=tuple(_iteration(entry) for entry in facts["iterations"]),
        best_iteration=chosen["iteration"] if chosen else None,
        stop_reason=facts["stop_reason"],
        adapter=Adapter(**chosen["adapter"]) if chosen else None,
        counts=_counts(facts),
        cost=await _cost(ctx),
        projection=await asyncio.to_thread(_projection, table, best, realigned),
        moved=_moved(table, best, realigned),
        swap=Swap(loads=tuple(_swap_load(entry) for entry in trained)) if trained else None,
    )


def _warnings(sets: ResolvedStudy, facts: Facts) -> tuple[str, ...]:
    """What a reader must know first."""
    found = [sets.reference_set.overdue_review(datetime.now(UTC).date()), facts["verdict"]["why_not"]]
    if "unproven" in facts:
        found.append(f"Beside the pairs nothing was drawn, and no probe was run: {facts['unproven']}.")
    return tuple(warning for warning in found if warning)


def _governance(reference: ReferenceSet) -> dict[str, Any]:
    """Who stands behind the reference set (see ``domain/reference``)."""
    names = ("title", "version", "steward", "responsible", "source", "review_date")
    return {
        **{name: getattr(reference, name) for name in names},
        "stakeholders_consulted": list(reference.stakeholders_consulted),
        "changes": list(reference.changes),
    }


def _times(ctx: RunContext, ledger: Ledger) -> dict[str, Any]:
    now = Ledger()
    now.stages_s, now.external_s = dict(ledger.stages_s), dict(ledger.external_s)
    now.add("report", ctx.clock.elapsed_s(), ctx.clock.external_s())
    return {"timings_s": now.timings_s(), "external_s": now.external_s, "usage_s": ledger.usage_s()}


async def _cost(ctx: RunContext) -> Cost:
    planned = (await ctx.get_value(PLANNED) or {}).get("stages", {})
    stopped = await ctx.get_value(STOPPED)
    used = ctx.tally.as_json()["stages"]
    return Cost(
        used=used,
        planned=planned,
        total_used=_sums(used),
        total_planned=_sums(planned),
        budget=BudgetEnd(**stopped) if stopped else None,
    )


def _sums(stages: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in stages.values():
        for name, value in part.items():
            total[name] = round(total.get(name, 0.0) + value, 6)
    return total


def _topic(ctx: RunContext, facts: Facts, table: PairTable, topic: Any) -> Topic:
    analysed, best = facts["analysed"], facts.get("best")
    initial = facts["quantified"]["means"][topic.id]
    if best is None:
        sizes, before, base_p3, after, constant = (0, 0, 0), initial, None, None, None
    else:
        sizes = (
            table.size("train", topic.id),
            table.size("validation", topic.id),
            table.size("test", topic.id),
        )
        before = table.means(table.places("test"))[topic.id]
        base_p3 = facts["base"]["test_means"].get(topic.id)
        after = best["means"].get(topic.id)
        constant = facts["constant"]["means"][topic.id]
    return Topic(
        id=topic.id,
        title=topic.title,
        n_train=sizes[0],
        n_validation=sizes[1],
        n_test=sizes[2],
        rank=analysed["ranks"][topic.id],
        initial_mean=initial,
        initial_weight=analysed["weights"][topic.id],
        before=before,
        base_p3=base_p3,
        after=after,
        reduction=reduction(before, after) if after is not None else None,
        constant=constant,
    )


def _overall(topics: Sequence[Topic]) -> Overall:
    before = overall_mean({topic.id: topic.before for topic in topics})
    after = _mean(topics, "after")
    return Overall(
        before=before,
        base_p3=_mean(topics, "base_p3"),
        after=after,
        reduction=reduction(before, after) if after is not None else None,
        constant=_mean(topics, "constant"),
    )


def _mean(topics: Sequence[Topic], name: str) -> float | None:
    """Mean of the topics' values; None where a topic has none, since it would speak of other topics."""
    values = {topic.id: getattr(topic, name) for topic in topics}
    return None if None in values.values() else overall_mean(values)


def _iteration(entry: Mapping[str, Any]) -> Iteration:
    training = entry.get("training")
    return Iteration(
        iteration=entry["iteration"],
        weights=entry["weights"],
        validation_means=entry["validation_means"],
        validation_mean=entry["validation_mean"],
        relative_improvement=entry.get("relative_improvement"),
        adapter=Adapter(**entry["adapter"]) if entry.get("adapter") else None,
        training=TrainingSummary(**training) if training else None,
        counts=Counts(**entry["counts"]) if entry.get("counts") else None,
    )


def _swap_load(entry: Mapping[str, Any]) -> SwapLoad:
    return SwapLoad(iteration=entry["iteration"], adapter=entry["adapter"]["name"], **entry["proof"])


def _counts(facts: Facts) -> dict[str, Counts]:
    found = {"original": facts["originals"], "aligned": facts["aligned"]}
    if facts.get("base"):
        found["base_p3"] = facts["base"]["counts"]
    for entry in facts["iterations"]:
        if entry["iteration"] > 0:
            found[arm_of(entry["iteration"])] = entry["counts"]
    if facts.get("best"):
        found[arm_of(facts["best_iteration"])] = facts["best"]["counts"]
    for arm, result in facts["drawn"].items():
        if result["counts"] is not None:
            found[arm] = _together(found[arm], result["counts"]) if arm in found else result["counts"]
    return {arm: Counts(**counts) for arm, counts in found.items()}


def _together(first: Facts, further: Facts) -> dict[str, Any]:
    """Counts of one arm that was drawn in two steps: other slots, so that each counts once."""
    reasons = dict(first["failed_by_reason"])
    for reason, count in further["failed_by_reason"].items():
        reasons[reason] = reasons.get(reason, 0) + count
    sums = {name: first[name] + further[name] for name in ("requested", "usable", "redrawn")}
    return {**first, **sums, "failed_by_reason": reasons}


def _projection(table: PairTable, best: Facts | None, realigned: Mapping[str, Any] | None) -> Projection:
    """Topic means over the test pairs; over all pairs in a run that only measured."""
    places = table.places("test") if best else list(range(len(table.pairs)))
    means: dict[str, dict[PointKind, Vector]] = {}

    def add(kind: PointKind, members: Sequence[int], rows: Vector) -> None:
        for topic_id in dict.fromkeys(table.pairs[place].topic_id for place in members):
            mine = [
                row
                for place, row in zip(members, rows, strict=True)
                if table.pairs[place].topic_id == topic_id
            ]
            means.setdefault(topic_id, {})[kind] = np.mean(mine, axis=0)

    add("original", places, table.original[places])
    add("reference", places, table.aligned[places])
    if best and realigned:
        add("realigned", best["places"], realigned["rows"])
    return Projection(points=tuple(project(means)))


def _moved(
    table: PairTable, best: Facts | None, realigned: Mapping[str, Any] | None
) -> tuple[MovedPrinciple, ...]:
    if best is None or realigned is None:
        return ()
    places, after = best["places"], realigned["differences"]
    before = table.differences[places]
    return tuple(
        MovedPrinciple(
            topic=table.pairs[places[number]].topic_id,
            original=table.pairs[places[number]].original,
            aligned=table.pairs[places[number]].aligned,
            realigned=best["texts"][number],
            before=float(before[number]),
            after=float(after[number]),
        )
        for number in most_moved(before, after)
    )
