"""The pairs of a run: an original principle and its aligned counterpart, by (topic, index)."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.common.errors import PreconditionError
from services.orchestrator.domain.principles import Outcome
from services.orchestrator.domain.split import MIN_PAIRS
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.draws import ArmCounts, Key, Place, Settled


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair; ``index`` is that of the original's slot."""

    topic_id: str
    index: int
    original: str
    aligned: str

    @property
    def key(self) -> Key:
        return self.topic_id, self.index


async def keep_principles(ctx: RunContext, arm: str, settled: Settled) -> None:
    """Store which principle each slot of an arm keeps, and the arm's counts."""
    kept: dict[str, dict[str, str]] = {topic.id: {} for topic in ctx.resolved.topics}
    draws: dict[str, dict[str, int]] = {topic.id: {} for topic in ctx.resolved.topics}
    for (topic_id, index), principle in sorted(settled.principles.items()):
        kept[topic_id][str(index)] = principle
        draws[topic_id][str(index)] = settled.draws[topic_id, index, 0]
    await ctx.put_value(f"principles:{arm}", kept)
    await ctx.put_value(f"draws:{arm}", draws)
    await ctx.put_value(f"counts:{arm}", settled.counts.as_json())


async def kept_principles(ctx: RunContext, arm: str) -> dict[Key, str]:
    """What ``keep_principles`` stored, in the study's order of topics and then by index."""
    kept = await ctx.get_value(f"principles:{arm}") or {}
    return {
        (topic.id, int(index)): principle
        for topic in ctx.resolved.topics
        for index, principle in sorted(kept.get(topic.id, {}).items(), key=lambda item: int(item[0]))
    }


async def kept_texts(ctx: RunContext, arm: str) -> dict[Place, str]:
    """The text that each slot of an arm keeps, by (topic id, index, sample): its first usable draw.

    For arms whose texts need not differ from each other; of the originals ``kept_principles`` knows which.
    """
    most = ctx.study.generation.max_draws
    texts: dict[Place, str] = {}
    # By topic, index and draw: the first of a slot comes first.
    for record in await ctx.stored(ctx.store.completions, ctx.run_id, arm):
        if record.outcome == Outcome.OK:
            place = (record.topic_id, record.index, record.draw // most)
            texts.setdefault(place, record.principle)
    return texts


async def load_pairs(ctx: RunContext) -> list[Pair]:
    """Slots that have both texts, in the study's order of topics and then by index."""
    originals = await kept_principles(ctx, "original")
    aligned = await kept_principles(ctx, "aligned")
    return [
        Pair(topic_id, index, text, aligned[topic_id, index])
        for (topic_id, index), text in originals.items()
        if (topic_id, index) in aligned
    ]


def require_enough(
    ctx: RunContext, usable: Mapping[str, int], by_topic: Mapping[str, ArmCounts], what: str
) -> None:
    """PreconditionError, with counts, if a topic has too few usable texts to go on with."""
    least = MIN_PAIRS if ctx.study.principles_per_topic >= MIN_PAIRS else 1
    short = [topic.id for topic in ctx.resolved.topics if usable.get(topic.id, 0) < least]
    if not short:
        return
    asked = ctx.study.principles_per_topic
    parts = []
    for topic_id in short:
        counts = by_topic.get(topic_id, ArmCounts())
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.failed_by_reason.items()))
        parts.append(f"{topic_id}: {usable.get(topic_id, 0)} of {asked} ({reasons or 'none was drawn'})")
    raise PreconditionError(
        f"too few usable {what} for {len(short)} of {len(ctx.resolved.topics)} topics, at least {least} each"
        f" are needed: {'; '.join(parts)}. Read the run's completions, then try another prompt set or model,"
        " or raise generation.max_draws",
        details={"counts": {topic_id: counts.as_json() for topic_id, counts in by_topic.items()}},
    )
