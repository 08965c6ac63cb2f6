"""A study by a ruler: originals, reference texts and their rows are the ruler's, the same for every model.

They are stored as the run's own kept draws, so that every later stage finds them where it looks. What the
model itself says under the first prompt is drawn too (arm "own") and measured against the ruler's texts,
topic by topic and each with each: it has no pairs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from services.common.artifacts import ArtifactStore
from services.common.errors import NotFoundError, PreconditionError
from services.orchestrator.analysis.results import RulerResult, RulerTopicResult
from services.orchestrator.assets import read_asset
from services.orchestrator.domain.principles import Outcome
from services.orchestrator.domain.text import normalise
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.draws import ArmCounts, Key, Settled, Slot, draw_arm
from services.orchestrator.loop.journal import StageProgress
from services.orchestrator.loop.pairs import keep_principles, kept_principles, require_enough
from services.orchestrator.ports import CompletionRecord, EncoderInfo
from services.orchestrator.ruler import Ruler, unpack
from services.orchestrator.study import prompt_set_digest, reference_set_digest

OWN = "own"
FROM_RULER = "ruler"
"""``finish_reason`` of a text that no model was asked for in this run."""


def load_ruler(artifacts: ArtifactStore, sha256: str | None) -> Ruler | None:
    """The ruler that a study names. NotFoundError, with the remedy, if it is not here."""
    if sha256 is None:
        return None
    try:
        return unpack(read_asset(artifacts, sha256))
    except NotFoundError as error:
        raise NotFoundError(
            f"the ruler {sha256[:12]}… is not here; `valign rulers list` shows those that are, and"
            " `valign rulers freeze RUN --name NAME` makes one"
        ) from error


def check_ruler(ctx: RunContext, encoder: EncoderInfo) -> None:
    """PreconditionError with every reason why the study cannot be measured by its ruler."""
    if ctx.ruler is None:
        return
    reasons = mismatches(ctx.ruler, ctx, encoder)
    if reasons:
        raise PreconditionError(
            f"the study cannot be measured by ruler {ctx.ruler.facts.name!r}: {'; '.join(reasons)}",
            details={"reasons": reasons},
        )


def mismatches(ruler: Ruler, ctx: RunContext, encoder: EncoderInfo) -> list[str]:
    """What differs between the ruler and the study or the encoder that is served, with the remedy."""
    facts, resolved, found = ruler.facts, ctx.resolved, []
    if encoder.fingerprint != facts.encoder_fingerprint:
        found.append(
            f"its rows are from encoder {facts.encoder} (fingerprint {facts.encoder_fingerprint[:12]}…), but"
            f" the embedder serves {encoder.model} ({encoder.fingerprint[:12]}…): start the embedder with the"
            " ruler's encoder"
        )
    if prompt_set_digest(resolved.prompt_set) != facts.prompt_set_sha256:
        found.append(
            f"its texts were drawn with prompt set {facts.prompt_set_id} (sha256"
            f" {facts.prompt_set_sha256[:12]}…), and the study's {resolved.prompt_set.id} is another: use the"
            " ruler's"
        )
    if reference_set_digest(resolved.reference_set) != facts.reference_set_sha256:
        found.append(
            f"it was made for reference set {facts.reference_set_id} (sha256"
            f" {facts.reference_set_sha256[:12]}…), and the study's {resolved.reference_set.id} is another:"
            " use the ruler's, or freeze a ruler for this set"
        )
    mine = {topic.id: (topic.title, topic.description) for topic in resolved.topics}
    theirs = {topic.id: (topic.title, topic.description) for topic in facts.topics}
    if mine != theirs:
        odd = sorted(set(mine) ^ set(theirs)) or [name for name in mine if mine[name] != theirs[name]]
        found.append(f"its topics are not the study's (they differ in {', '.join(odd)}): use the ruler's")
    return found


async def place_originals(ctx: RunContext, ruler: Ruler) -> dict[str, Any]:
    """Store the ruler's originals as this run's."""
    texts = {item.key: (item.original,) for item in ruler.facts.inputs}
    return await _place(ctx, "original", texts)


async def place_aligned(ctx: RunContext, ruler: Ruler) -> dict[str, Any]:
    """Store the ruler's reference texts as this run's: sample s at draw s * max_draws."""
    placed = await _place(ctx, "aligned", {item.key: item.aligned for item in ruler.facts.inputs})
    copied = sum(normalise(item.aligned[0]) == normalise(item.original) for item in ruler.facts.inputs)
    return {**placed, "copied_original": copied}


async def draw_own(ctx: RunContext) -> dict[str, Any]:
    """The model's own principles under the first prompt, ``principles_per_topic`` of each topic."""
    prompts, reference = ctx.resolved.prompt_set, ctx.resolved.reference_set
    answers = prompts.shot_answers("original", reference.id)
    asked = ctx.study.principles_per_topic
    slots = [
        Slot(topic.id, index, prompts.render_original(topic, reference.id, index), answers)
        for topic in ctx.resolved.topics
        for index in range(asked)
    ]
    progress = StageProgress(ctx.journal, "uncover", {topic.id: asked for topic in ctx.resolved.topics})
    settled = await draw_arm(ctx, OWN, slots, progress.add, stage="original", unlike_each_other=True)
    progress.tell()
    await keep_principles(ctx, OWN, settled)
    usable = {topic_id: counts.usable for topic_id, counts in settled.by_topic.items()}
    require_enough(ctx, usable, settled.by_topic, "own principles")
    return settled.counts.as_json()


async def measure_own(ctx: RunContext) -> dict[str, Any] | None:
    """Own principles against the ruler's targets, as ``RulerResult`` in JSON; None without a ruler."""
    if ctx.ruler is None:
        return None
    ruler, own = ctx.ruler, await kept_principles(ctx, OWN)
    texts = {topic.id: [own[key] for key in own if key[0] == topic.id] for topic in ctx.resolved.topics}
    rows = await ctx.embed([text for members in texts.values() for text in members])
    topics, start = [], 0
    for topic_id, members in texts.items():
        topics.append(
            RulerTopicResult(
                topic=topic_id,
                own=ruler.own_difference(topic_id, rows[start : start + len(members)]),
                benchmark=ruler.benchmark_difference(topic_id),
                texts=len(members),
            )
        )
        start += len(members)
    counts = await ctx.get_value(f"counts:{OWN}")
    result = RulerResult(
        sha256=ctx.study.ruler or ruler.sha256,
        name=ruler.facts.name,
        model=ruler.facts.model,
        model_fingerprint=ruler.facts.model_fingerprint,
        run_id=ruler.facts.run_id,
        own=_mean([topic.own for topic in topics]),
        benchmark=_mean([topic.benchmark for topic in topics]),
        topics=tuple(topics),
        requested=counts["requested"],
        failed_by_reason=counts["failed_by_reason"],
    )
    ctx.journal.emit("topic.means", arm=OWN, split="all", means={topic.topic: topic.own for topic in topics})
    found = result.model_dump(mode="json")
    await ctx.put_value("ruler", found)
    return found


async def _place(ctx: RunContext, arm: str, texts: Mapping[Key, tuple[str, ...]]) -> dict[str, Any]:
    most = ctx.study.generation.max_draws
    samples = {(*key, number): text for key, found in texts.items() for number, text in enumerate(found)}
    records = [
        CompletionRecord(
            arm,
            topic_id,
            index,
            sample * most,
            text,
            text,
            Outcome.OK,
            FROM_RULER,
            0,
            adapter="",
            adapter_sha256="",
        )
        for (topic_id, index, sample), text in samples.items()
    ]
    await ctx.stored(ctx.store.add_completions, ctx.run_id, records)
    by_topic: dict[str, ArmCounts] = {}
    for topic_id, _, _ in samples:
        counts = by_topic.setdefault(topic_id, ArmCounts())
        counts.requested += 1
        counts.usable += 1
    settled = Settled(
        samples=samples,
        draws={place: place[2] * most for place in samples},
        open=frozenset(),
        counts=ArmCounts(requested=len(samples), usable=len(samples)),
        by_topic=by_topic,
    )
    await keep_principles(ctx, arm, settled)
    return settled.counts.as_json()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
