"""Stage controls: further draws of the reference, the base model in context, and the trained arms.

Nothing in here may fail a run that has its result: an arm that cannot be trained, or that gives no usable
text, is told as not run. A service that is away, or that serves another model, still ends the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from services.common.errors import ErrorCode, PreconditionError, ValignError
from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.domain.difference import topic_means
from services.orchestrator.domain.pairing import shuffled
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.domain.weights import topic_weights
from services.orchestrator.loop import registering
from services.orchestrator.loop.arms import ALIGNED_OTHER, BASE_REFERENCE, Control, controls
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.draws import Settled, Slot
from services.orchestrator.loop.journal import StageProgress
from services.orchestrator.loop.judge import BASE_P3
from services.orchestrator.loop.pairs import Pair, kept_texts
from services.orchestrator.loop.quantify import PairTable, differences
from services.orchestrator.loop.realign import draw_slots, realigned_slots, train, training_examples
from services.orchestrator.loop.realign import training_request as request_for
from services.orchestrator.loop.swap import load, release
from services.orchestrator.ports import AdapterRef
from services.orchestrator.study import ResolvedStudy

STAGE = "controls"
# A training that ends like this ends like this again; anything else is worth waiting for.
_TOLD = frozenset({ErrorCode.PRECONDITION, ErrorCode.INTERNAL, ErrorCode.INVALID_INPUT})


class ControlProgress:
    """The stage's draws, over all its steps; a step begins where those before it ended."""

    def __init__(self, ctx: RunContext, table: PairTable, *, trained: bool) -> None:
        test = {topic.id: table.size("test", topic.id) for topic in ctx.resolved.topics}
        train_part = {topic.id: table.size("train", topic.id) for topic in ctx.resolved.topics}
        samples = ctx.study.measurement.samples
        self._steps: list[tuple[str, dict[str, int]]] = []
        if ctx.ruler is None:
            extra = ctx.study.measurement.reference_samples - 1
            self._add(ArmKind.ALIGNED.value, {topic: size * extra for topic, size in test.items()})
        names = [BASE_REFERENCE] if trained else [BASE_P3, BASE_REFERENCE]
        names += [control.name for control in controls(ctx)] if trained else []
        for name in names:
            self._add(name, {topic: size * samples for topic, size in test.items()})
        if trained and ctx.resolved.other_reference_set is not None:
            both = {topic: size + train_part[topic] for topic, size in test.items()}
            self._steps.insert(2 if ctx.ruler is None else 1, (ALIGNED_OTHER, both))
        self._journal = ctx.journal

    def _add(self, arm: str, sizes: dict[str, int]) -> None:
        self._steps.append((arm, sizes))

    def of(self, arm: str) -> StageProgress:
        """Progress of one arm's draws, with those of the arms before it done."""
        names = [name for name, _ in self._steps]
        done = _sums([sizes for _, sizes in self._steps[: names.index(arm)]])
        totals = _sums([sizes for _, sizes in self._steps])
        return StageProgress(self._journal, STAGE, totals, done=done)


def _sums(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for sizes in parts:
        for topic, size in sizes.items():
            totals[topic] = totals.get(topic, 0) + size
    return totals


def test_pairs(table: PairTable) -> list[Pair]:
    """The pairs of the test inputs."""
    return [table.pairs[place] for place in table.places("test")]


def aligned_slots(
    resolved: ResolvedStudy, reference: ReferenceSet, pairs: Sequence[Pair], samples: range
) -> list[Slot]:
    """P2 around the pairs' originals, for a reference set."""
    prompts, topics = resolved.prompt_set, {topic.id: topic for topic in resolved.topics}
    answers = prompts.shot_answers("aligned", reference.id)
    slots = []
    for pair in pairs:
        principles = reference.principles_for(pair.topic_id)
        prompt = prompts.render_aligned(topics[pair.topic_id], pair.original, reference.id, principles)
        slots += [Slot(pair.topic_id, pair.index, prompt, answers, sample) for sample in samples]
    return slots


async def draw_references(ctx: RunContext, table: PairTable, progress: ControlProgress) -> dict[str, Any]:
    """Samples 1 and up of the reference texts of the test inputs: what two draws of one text differ by."""
    samples = range(1, ctx.study.measurement.reference_samples)
    if ctx.ruler is not None or not samples:
        return {"counts": None}
    arm = ArmKind.ALIGNED.value
    slots = aligned_slots(ctx.resolved, ctx.resolved.reference_set, test_pairs(table), samples)
    settled = await draw_slots(ctx, arm, slots, None, progress.of(arm), "aligned")
    return {"counts": settled.counts.as_json()}


async def draw_base(ctx: RunContext, table: PairTable, progress: ControlProgress) -> dict[str, Any]:
    """The base model under the third prompt, in a run that only measures."""
    slots = realigned_slots(ctx, table, table.places("test"), ctx.study.measurement.samples)
    settled = await draw_slots(ctx, BASE_P3, slots, None, progress.of(BASE_P3))
    return {"counts": settled.counts.as_json()}


async def draw_in_context(ctx: RunContext, table: PairTable, progress: ControlProgress) -> dict[str, Any]:
    """The base model under the third prompt with the reference principles before it."""
    prompts, reference = ctx.resolved.prompt_set, ctx.resolved.reference_set
    topics = {topic.id: topic for topic in ctx.resolved.topics}
    answers = prompts.shot_answers("realigned", reference.id)
    slots = []
    for pair in test_pairs(table):
        principles = reference.principles_for(pair.topic_id)
        prompt = prompts.render_reference(topics[pair.topic_id], pair.original, reference.id, principles)
        samples = range(ctx.study.measurement.samples)
        slots += [Slot(pair.topic_id, pair.index, prompt, answers, sample) for sample in samples]
    settled = await draw_slots(ctx, BASE_REFERENCE, slots, None, progress.of(BASE_REFERENCE))
    return {"counts": settled.counts.as_json()}


async def draw_other(
    ctx: RunContext, table: PairTable, other: ReferenceSet, progress: ControlProgress
) -> dict[str, Any]:
    """The other set's reference texts for the train and test inputs, and the topic weights they give."""
    places = table.places("train", "test")
    pairs = [table.pairs[place] for place in places]
    slots = aligned_slots(ctx.resolved, other, pairs, range(1))
    settled = await draw_slots(ctx, ALIGNED_OTHER, slots, None, progress.of(ALIGNED_OTHER), "aligned")
    counts = settled.counts.as_json()
    found = [place for place in places if table.pairs[place].key in settled.principles]
    means: dict[str, float] = {}
    if found:
        rows = await ctx.embed([settled.principles[table.pairs[place].key] for place in found])
        differ = differences(table.original[found], rows)
        means = topic_means(differ, [table.pairs[place].topic_id for place in found])
    trained = {table.pairs[place].topic_id for place in table.places("train")} & {
        pair.topic_id for pair in pairs if pair.key in settled.principles
    }
    silent = sorted({topic.id for topic in ctx.resolved.topics} - trained)
    if silent or set(means) != trained:
        reason = f"the model writes no usable reference text of {other.id} for {', '.join(silent)}"
        return {"counts": counts, "failed": reason}
    ctx.journal.emit("topic.means", arm=ALIGNED_OTHER, split="train and test", means=means)
    settings = ctx.study.weights
    weights = topic_weights(means, settings.normalization, settings.floor)
    return {"counts": counts, "means": means, "weights": weights}


async def train_control(
    ctx: RunContext,
    plan: Mapping[str, Any],
    table: PairTable,
    control: Control,
    iteration: int,
    weights: Mapping[str, float],
    previous: AdapterRef | None,
) -> dict[str, Any]:
    """One iteration of a control arm; ``{"failed": why}`` if the trainer cannot train it."""
    try:
        pairs, targets = await _targets(ctx, table, control)
        examples = training_examples(ctx, pairs, targets)
        used = {pair.topic_id for pair in pairs}
        request = request_for(
            ctx,
            plan,
            examples,
            iteration,
            {topic: weight for topic, weight in weights.items() if topic in used},
            previous,
            arm=control.name,
            replicate=control.replicate,
        )
        result = await train(ctx, request, iteration, control.name)
        await registering.trained(ctx, plan, result["adapter"], iteration, control.name)
        return result
    except ValignError as error:
        if error.code not in _TOLD:
            raise
        return {"failed": error.message}


async def _targets(ctx: RunContext, table: PairTable, control: Control) -> tuple[list[Pair], list[str]]:
    pairs = [table.pairs[place] for place in table.places("train")]
    own = [pair.aligned for pair in pairs]
    match control.kind:
        case ArmKind.SHUFFLED:
            if len(pairs) < 2:
                raise PreconditionError("one train pair cannot be shuffled; raise principles_per_topic")
            taken = shuffled([f"{pair.topic_id}|{pair.index}" for pair in pairs], own, ctx.study.seed)
            return pairs, [own[place] for place in taken]
        case ArmKind.OTHER:
            texts = await kept_texts(ctx, ALIGNED_OTHER)
            found = [pair for pair in pairs if (*pair.key, 0) in texts]
            return found, [texts[(*pair.key, 0)] for pair in found]
        case _:
            return pairs, own


async def measure_control(
    ctx: RunContext, table: PairTable, control: Control, adapter: AdapterRef, progress: ControlProgress
) -> dict[str, Any]:
    """Load the arm's adapter with its proof, draw the test inputs, and unload it again."""
    try:
        proof = await load(ctx, adapter)
    except PreconditionError as error:
        return {"failed": error.message}
    slots = realigned_slots(ctx, table, table.places("test"), ctx.study.measurement.samples)
    settled: Settled = await draw_slots(ctx, control.name, slots, adapter, progress.of(control.name))
    await release(ctx, adapter)
    result: dict[str, Any] = {"counts": settled.counts.as_json(), "proof": asdict(proof)}
    if not settled.samples:
        result["failed"] = f"it gives no usable text; draws that failed: {settled.counts.failed_by_reason}"
    return result
