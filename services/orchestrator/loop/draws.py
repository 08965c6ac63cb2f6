"""Drawing one arm's completions: store each as it arrives, ask only for what is missing, redraw.

A *slot* is one sample of one (topic, index) of an arm. A draw that is no usable principle is followed by
the slot's next draw, with a seed of its own, up to the study's ``max_draws``: sample s has the draws from
``s * max_draws`` on. Which draw a slot keeps follows from the stored completions alone, whatever the order
in which they arrived. Seeds come from the stage and not the arm, so that arms share their random numbers.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from services.common.errors import NotFoundError, PreconditionError
from services.orchestrator.domain.principles import (
    NearDuplicates,
    Outcome,
    near_duplicate_rate,
    parse_principle,
)
from services.orchestrator.domain.prompts import Prompt, Stage
from services.orchestrator.domain.seeds import sample_seed
from services.orchestrator.loop import metrics
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.endpoint import keep_observations
from services.orchestrator.loop.swap import load
from services.orchestrator.loop.writer import CompletionWriter
from services.orchestrator.ports import (
    AdapterRef,
    Completion,
    CompletionRecord,
    GenerationItem,
    Sampling,
)

Key = tuple[str, int]
"""(topic id, index) of an input."""

Place = tuple[str, int, int]
"""(topic id, index, sample) of a slot."""

_MOST_RELOADS = 5


@dataclass(frozen=True, slots=True)
class Slot:
    """What to ask for one sample of an input: the prompt, and answers that do not count."""

    topic_id: str
    index: int
    prompt: Prompt
    shot_answers: tuple[str, ...] = ()
    sample: int = 0

    @property
    def place(self) -> Place:
        return self.topic_id, self.index, self.sample


@dataclass(slots=True)
class ArmCounts:
    """What became of the slots of one arm, or of one topic of it. Draws count once each."""

    requested: int = 0
    usable: int = 0
    redrawn: int = 0
    failed_by_reason: dict[str, int] = field(default_factory=dict)
    near_duplicate_rate: float | None = None

    def as_json(self) -> dict[str, object]:
        """For a step's result and the report."""
        return {
            "requested": self.requested,
            "usable": self.usable,
            "redrawn": self.redrawn,
            "failed_by_reason": dict(self.failed_by_reason),
            "near_duplicate_rate": self.near_duplicate_rate,
        }


@dataclass(frozen=True, slots=True)
class Settled:
    """Principles by slot, their draw, the slots that want another draw, and the counts."""

    samples: Mapping[Place, str]
    draws: Mapping[Place, int]
    open: frozenset[Place]
    counts: ArmCounts
    by_topic: Mapping[str, ArmCounts]

    @property
    def principles(self) -> dict[Key, str]:
        """The first sample of each input that has one."""
        return {(topic, index): text for (topic, index, sample), text in self.samples.items() if sample == 0}


async def draw_arm(
    ctx: RunContext,
    arm: str,
    slots: Iterable[Slot],
    settled: Callable[[str], None],
    *,
    stage: Stage = "realigned",
    adapter: AdapterRef | None = None,
    unlike_each_other: bool = False,
) -> Settled:
    """Draw until every slot has a principle or has used up its draws; all slots go out in one batch.

    ``stage`` is the prompt's, from which the seeds come. ``settled`` is told the topic id of each slot once
    it has a principle. ``unlike_each_other`` redraws near duplicates within a topic; a slot whose every
    draw repeats another keeps its last draw.
    """
    wanted = {slot.place: slot for slot in _as_sent(ctx, slots)}
    done: set[Place] = set()

    def tell(place: Place) -> None:
        if place not in done:
            done.add(place)
            settled(place[0])

    while True:
        records = await ctx.stored(ctx.store.completions, ctx.run_id, arm)
        state = await asyncio.to_thread(settle, ctx, records, wanted, unlike_each_other)
        for place in wanted.keys() - state.open:
            tell(place)
        if not state.open:
            return state
        most = ctx.study.generation.max_draws
        drawn = _draws_by_place(records, wanted, most)
        missing = [
            (slot, slot.sample * most + len(drawn.get(place, ())))
            for place, slot in wanted.items()
            if place in state.open
        ]
        await _draw(ctx, arm, stage, missing, adapter, tell)


def _as_sent(ctx: RunContext, slots: Iterable[Slot]) -> list[Slot]:
    """An endpoint is sent no begun answer (``loop.endpoint``), so none is put in front of its texts."""
    if ctx.study.endpoint is None:
        return list(slots)
    return [replace(slot, prompt=replace(slot.prompt, prefill="")) for slot in slots]


def settle(
    ctx: RunContext,
    records: Iterable[CompletionRecord],
    wanted: Mapping[Place, Slot],
    unlike_each_other: bool,
) -> Settled:
    """Decide from the stored completions, in order of draw and then of index."""
    generation = ctx.study.generation
    most = generation.max_draws
    redraw = unlike_each_other and generation.duplicates == "redraw"
    drawn = _draws_by_place(records, wanted, most)
    seen = {place[0]: NearDuplicates(generation.near_duplicate_similarity) for place in wanted}
    kept: dict[Place, CompletionRecord] = {}
    in_order = sorted(wanted)
    for draw in range(most):
        for place in in_order:
            record = drawn.get(place, {}).get(draw)
            if place in kept or record is None or record.outcome != Outcome.OK:
                continue
            if redraw and seen[place[0]].matches(record.principle):
                continue
            kept[place] = record
            if redraw:
                seen[place[0]].add(record.principle)
    still_open: set[Place] = set()
    for place in sorted(wanted.keys() - kept.keys()):
        records_of = drawn.get(place, {})
        if len(records_of) < most:
            still_open.add(place)
            continue
        usable = [record for _, record in sorted(records_of.items()) if record.outcome == Outcome.OK]
        if usable:
            kept[place] = usable[-1]
    return _settled(wanted, drawn, kept, still_open, generation.near_duplicate_similarity, unlike_each_other)


def _settled(
    wanted: Mapping[Place, Slot],
    drawn: Mapping[Place, Mapping[int, CompletionRecord]],
    kept: Mapping[Place, CompletionRecord],
    still_open: set[Place],
    similarity: float,
    unlike_each_other: bool,
) -> Settled:
    by_topic = {place[0]: ArmCounts() for place in sorted(wanted)}
    for place in wanted:
        counts = by_topic[place[0]]
        counts.requested += 1
        counts.usable += place in kept
        counts.redrawn += max(0, len(drawn.get(place, {})) - 1)
        for record in drawn.get(place, {}).values():
            if place in kept and record.draw == kept[place].draw:
                continue
            reason = "near_duplicate" if record.outcome == Outcome.OK else record.outcome
            counts.failed_by_reason[reason] = counts.failed_by_reason.get(reason, 0) + 1
    total = ArmCounts()
    for topic_id, counts in by_topic.items():
        total.requested += counts.requested
        total.usable += counts.usable
        total.redrawn += counts.redrawn
        for reason, count in counts.failed_by_reason.items():
            total.failed_by_reason[reason] = total.failed_by_reason.get(reason, 0) + count
        if unlike_each_other and counts.usable:
            texts = [kept[place].principle for place in sorted(kept) if place[0] == topic_id]
            counts.near_duplicate_rate = near_duplicate_rate(texts, similarity)
    if unlike_each_other and total.usable:
        left = sum((counts.near_duplicate_rate or 0.0) * counts.usable for counts in by_topic.values())
        total.near_duplicate_rate = left / total.usable
    return Settled(
        samples={place: record.principle for place, record in kept.items()},
        draws={place: record.draw for place, record in kept.items()},
        open=frozenset(still_open),
        counts=total,
        by_topic=by_topic,
    )


def _draws_by_place(
    records: Iterable[CompletionRecord], wanted: Mapping[Place, Slot], most: int
) -> dict[Place, dict[int, CompletionRecord]]:
    """Stored draws of each slot, counted from 0 within its sample."""
    drawn: dict[Place, dict[int, CompletionRecord]] = {}
    for record in records:
        sample, draw = divmod(record.draw, most)
        place = (record.topic_id, record.index, sample)
        if place in wanted:
            drawn.setdefault(place, {})[draw] = record
    return drawn


async def _draw(
    ctx: RunContext,
    arm: str,
    stage: Stage,
    missing: list[tuple[Slot, int]],
    adapter: AdapterRef | None,
    tell: Callable[[Place], None],
) -> None:
    """One draw of each slot. A generator that lost the adapter gets it again, and goes on."""
    with ctx.clock.external("generation"):
        await ctx.require_unchanged("generator", (await ctx.services.generator.describe()).fingerprint)
    items = {_name(slot, draw): (slot, draw) for slot, draw in missing}
    reloads = 0
    while items:
        before = len(items)
        try:
            await _stream(ctx, arm, stage, items, adapter, tell)
        except NotFoundError:
            reloads = reloads + 1 if len(items) == before else 1
            if adapter is None or reloads > _MOST_RELOADS:
                raise
            await load(ctx, adapter)
    await keep_observations(ctx)


async def _stream(
    ctx: RunContext,
    arm: str,
    stage: Stage,
    items: dict[str, tuple[Slot, int]],
    adapter: AdapterRef | None,
    tell: Callable[[Place], None],
) -> None:
    generation = ctx.study.generation
    asked = [
        GenerationItem(
            key=name,
            prompt=slot.prompt,
            sampling=Sampling(
                temperature=generation.temperature,
                top_p=generation.top_p,
                max_tokens=generation.max_new_tokens,
                seed=sample_seed(ctx.study.seed, stage, slot.topic_id, slot.index, draw),
            ),
        )
        for name, (slot, draw) in items.items()
    ]
    lost: NotFoundError | None = None
    with ctx.clock.external("generation"), ctx.tally.timed("generation_s"):
        async with (
            CompletionWriter(ctx, arm) as writer,
            aclosing(ctx.services.generator.generate(asked, adapter.name if adapter else "")) as stream,
        ):
            async for completion in stream:
                if completion.error_code == "NOT_FOUND" and adapter is not None:
                    lost = NotFoundError(completion.error_message)
                    continue
                slot, draw = items.pop(completion.key)
                ctx.tally.add(
                    completions=1,
                    prompt_tokens=completion.prompt_tokens,
                    completion_tokens=completion.completion_tokens,
                )
                record = _record(arm, slot, draw, completion, adapter)
                writer.put(record)
                if record.outcome == Outcome.OK:
                    tell(slot.place)
    if lost is not None:
        raise lost


def _record(
    arm: str, slot: Slot, draw: int, completion: Completion, adapter: AdapterRef | None
) -> CompletionRecord:
    if completion.error_code:
        principle, outcome = "", completion.error_code.lower()
    else:
        expected = adapter.sha256 if adapter else ""
        if completion.adapter_sha256 != expected:
            raise PreconditionError(
                f"a completion of arm {arm} came from adapter {completion.adapter or '(base)'} with sha256"
                f" {completion.adapter_sha256 or '(none)'}; expected {expected or '(none)'}"
            )
        parsed = parse_principle(
            completion.text,
            finish_reason=completion.finish_reason,
            prefill=slot.prompt.prefill,
            shot_answers=slot.shot_answers,
        )
        principle, outcome = parsed.principle, parsed.outcome.value
    metrics.DRAWS.labels(outcome).inc()
    return CompletionRecord(
        arm=arm,
        topic_id=slot.topic_id,
        index=slot.index,
        draw=draw,
        text=completion.text or completion.error_message,
        principle=principle,
        outcome=outcome,
        finish_reason=completion.finish_reason,
        completion_tokens=completion.completion_tokens,
        adapter=completion.adapter,
        adapter_sha256=completion.adapter_sha256,
    )


def _name(slot: Slot, draw: int) -> str:
    return f"{slot.topic_id}/{slot.index}/{draw}"
