"""Stage uncover: P1 originals, then their aligned counterparts by P2 (paper section 3.2)."""

from collections import Counter
from typing import Any

from services.orchestrator.domain.text import normalise
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.draws import Slot, draw_arm
from services.orchestrator.loop.journal import StageProgress
from services.orchestrator.loop.pairs import keep_principles, kept_principles, load_pairs, require_enough
from services.orchestrator.loop.rulers import draw_own, place_aligned, place_originals

ORIGINAL, ALIGNED = "original", "aligned"


def _progress(ctx: RunContext) -> StageProgress:
    """Both arms count: each topic has twice its principles to draw."""
    asked = ctx.study.principles_per_topic
    return StageProgress(ctx.journal, "uncover", {topic.id: 2 * asked for topic in ctx.resolved.topics})


async def draw_originals(ctx: RunContext) -> dict[str, Any]:
    """Draw P1, or take the ruler's. PreconditionError, with counts, if a topic has too few usable ones."""
    if ctx.ruler is not None:
        return await place_originals(ctx, ctx.ruler)
    prompts, reference = ctx.resolved.prompt_set, ctx.resolved.reference_set
    answers = prompts.shot_answers("original", reference.id)
    slots = [
        Slot(topic.id, index, prompts.render_original(topic, reference.id, index), answers)
        for topic in ctx.resolved.topics
        for index in range(ctx.study.principles_per_topic)
    ]
    progress = _progress(ctx)
    settled = await draw_arm(ctx, ORIGINAL, slots, progress.add, stage="original", unlike_each_other=True)
    progress.tell()
    await keep_principles(ctx, ORIGINAL, settled)
    usable = {topic_id: counts.usable for topic_id, counts in settled.by_topic.items()}
    require_enough(ctx, usable, settled.by_topic, "original principles")
    return settled.counts.as_json()


async def draw_aligned(ctx: RunContext) -> dict[str, Any]:
    """Draw P2 around each original, or take the ruler's. A copy of the original is allowed, and counted.

    By a ruler the model's own principles are drawn here too: its texts need no drawing.
    """
    if ctx.ruler is not None:
        placed = await place_aligned(ctx, ctx.ruler)
        await draw_own(ctx)
        return placed
    prompts, reference = ctx.resolved.prompt_set, ctx.resolved.reference_set
    answers = prompts.shot_answers("aligned", reference.id)
    topics = {topic.id: topic for topic in ctx.resolved.topics}
    originals = await kept_principles(ctx, ORIGINAL)
    slots = [
        Slot(
            topic_id,
            index,
            prompts.render_aligned(
                topics[topic_id], original, reference.id, reference.principles_for(topic_id)
            ),
            answers,
        )
        for (topic_id, index), original in originals.items()
    ]
    progress = _progress(ctx)
    for topic_id in topics:
        # The originals are done, and those that failed will have no counterpart.
        missing = ctx.study.principles_per_topic - sum(key[0] == topic_id for key in originals)
        progress.add(topic_id, ctx.study.principles_per_topic + missing)
    settled = await draw_arm(ctx, ALIGNED, slots, progress.add, stage="aligned")
    progress.tell()
    await keep_principles(ctx, ALIGNED, settled)
    usable = Counter(pair.topic_id for pair in await load_pairs(ctx))
    require_enough(ctx, usable, settled.by_topic, "pairs")
    copied = sum(
        normalise(settled.principles[key]) == normalise(originals[key]) for key in settled.principles
    )
    return {**settled.counts.as_json(), "copied_original": copied}
