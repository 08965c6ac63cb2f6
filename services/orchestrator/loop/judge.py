"""Stage judge: the best checkpoint once on the test split, and the arms it is held against."""

from typing import Any

from services.orchestrator.domain.difference import constant_differences, medoid, topic_means
from services.orchestrator.loop import metrics
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.journal import StageProgress
from services.orchestrator.loop.quantify import PairTable
from services.orchestrator.loop.realign import arm_of, draw_slots, judged_slots, measure
from services.orchestrator.loop.swap import load
from services.orchestrator.ports import AdapterRef

BASE_P3 = "base_p3"


async def judge_base(ctx: RunContext, table: PairTable) -> dict[str, Any]:
    """The untuned model under the third prompt, on validation and test: what the prompt alone does."""
    places = table.places("validation", "test")
    slots = judged_slots(ctx, table)
    settled = await draw_slots(ctx, BASE_P3, slots, None, _progress(ctx, table, ran=0))
    found, _, differ = await measure(ctx, table, places, settled)
    by_place = dict(zip(found, differ, strict=True))
    result: dict[str, Any] = {"counts": settled.counts.as_json()}
    for part in ("validation", "test"):
        members = [place for place in table.places(part) if place in by_place]
        means = topic_means(
            [by_place[place] for place in members], [table.pairs[place].topic_id for place in members]
        )
        ctx.journal.emit("topic.means", arm=BASE_P3, split=part, means=means)
        result[f"{part}_means"] = means
    metrics.show_differences(ctx.study.name, BASE_P3, result["test_means"])
    return result


async def judge_best(
    ctx: RunContext, table: PairTable, iteration: int, adapter: AdapterRef
) -> dict[str, Any]:
    """The best checkpoint on the test split, and the texts, differences and rows behind its means.

    The means are the paper's figure, of the first sample; the others are for the analysis.
    """
    await load(ctx, adapter)
    arm = arm_of(iteration)
    # The validation slots are drawn already; with them the counts are those of the whole arm.
    slots = judged_slots(ctx, table)
    settled = await draw_slots(ctx, arm, slots, adapter, _progress(ctx, table, ran=1))
    found, rows, differ = await measure(ctx, table, table.places("test"), settled)
    means = topic_means(differ, [table.pairs[place].topic_id for place in found])
    before = table.means(table.places("test"))
    ctx.journal.emit("topic.means", arm="original", split="test", means=before)
    ctx.journal.emit("topic.means", arm=arm, split="test", means=means)
    metrics.show_differences(ctx.study.name, "before", before)
    metrics.show_differences(ctx.study.name, "after", means)
    return {
        "means": means,
        "counts": settled.counts.as_json(),
        "places": found,
        "texts": [settled.principles[table.pairs[place].key] for place in found],
        "arrays": await ctx.put_arrays("realigned", {"rows": rows, "differences": differ}),
    }


async def judge_constant(ctx: RunContext, table: PairTable) -> dict[str, Any]:
    """What one sentence would score that is always the same: the train split's central aligned text."""
    train, test = table.places("train"), table.places("test")
    chosen = train[medoid(table.aligned[train])]
    differ = constant_differences(table.aligned[chosen], table.aligned[test])
    means = topic_means(differ, [table.pairs[place].topic_id for place in test])
    ctx.journal.emit("topic.means", arm="constant", split="test", means=means)
    return {"sentence": table.pairs[chosen].aligned, "means": means}


def _progress(ctx: RunContext, table: PairTable, ran: int) -> StageProgress:
    """Two arms over validation and test; ``ran`` of them are done already."""
    samples = ctx.study.measurement.samples
    each = {
        topic.id: table.size("validation", topic.id) + samples * table.size("test", topic.id)
        for topic in ctx.resolved.topics
    }
    totals = {topic_id: 2 * size for topic_id, size in each.items()}
    done = {topic_id: ran * size for topic_id, size in each.items()}
    return StageProgress(ctx.journal, "judge", totals, done=done)
