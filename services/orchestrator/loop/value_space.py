"""A run's texts in value space: asking the evaluator, once a text, and the distance in the topic weights."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog

from services.common.artifacts import sha256_bytes
from services.common.errors import PreconditionError, ValignError
from services.orchestrator.analysis.evidence import Arm, Key, Output
from services.orchestrator.analysis.values.dimensions import (
    ANSWERS,
    VALUES,
    distances,
    soft_scores,
    target_vector,
)
from services.orchestrator.analysis.values.head import Head, head_text, unpack_head
from services.orchestrator.analysis.values.record import JudgeRecord, unpack_judge
from services.orchestrator.analysis.values.results import ValueAgreement, Weighing
from services.orchestrator.analysis.values.space import measured_arms, probabilities, spoken_values
from services.orchestrator.assets import read_asset
from services.orchestrator.domain.difference import topic_means
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.journal import StageProgress
from services.orchestrator.ports import EncoderInfo, GeneratorInfo
from services.orchestrator.values_judge import (
    Answers,
    Reply,
    dialogue_question,
    judge_prior,
    judge_replies,
    load_values,
    questions_sha256,
)

log = structlog.get_logger(__name__)

_TEXTS_A_CALL = 50


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Who answers, and on which values: the head of a head, or None for the judge."""

    kind: str
    id: str
    sha256: str
    agreement: tuple[ValueAgreement, ...] | None
    head: Head | None
    prior: Mapping[str, list[float]]

    @property
    def spoken(self) -> tuple[str, ...]:
        """Values that it may speak of."""
        return spoken_values(self.agreement)

    def probe(self, ctx: RunContext) -> dict[str, Any]:
        """The part of the probe that says who answered."""
        return {
            "evaluator": self.kind,
            "id": self.id,
            "sha256": self.sha256,
            "calibrate": ctx.study.values.calibrate,
            "questions_sha256": questions_sha256() if self.head is None else "",
            "prior": dict(self.prior),
            "agreement": None
            if self.agreement is None
            else [item.model_dump(mode="json") for item in self.agreement],
        }


async def check_evaluator(ctx: RunContext, model: GeneratorInfo, encoder: EncoderInfo) -> None:
    """PreconditionError before anything is drawn if the study's evaluator does not fit what is served."""
    settings = ctx.study.values
    if settings.evaluator == "head":
        await _head(ctx, str(settings.head), encoder)
    elif settings.evaluator == "judge" and settings.agreement is not None:
        await _record(ctx, settings.agreement, model)


async def probe_values(
    ctx: RunContext, arms: Sequence[Arm], outputs: Sequence[Output], keys: Collection[Key]
) -> tuple[dict[str, Any] | None, str]:
    """What ``measure_values`` gives, and why it could not be had ("" if it could, or was not asked for)."""
    try:
        return await measure_values(ctx, arms, outputs, keys), ""
    except ValignError as error:
        log.warning("probe.failed", run_id=ctx.run_id, probe="values", code=error.code.value)
        ctx.journal.emit("probe.failed", probe="values", code=error.code.value, message=error.message)
        return None, f"{error.message} ({error.code})"


async def measure_values(
    ctx: RunContext, arms: Sequence[Arm], outputs: Sequence[Output], keys: Collection[Key]
) -> dict[str, Any] | None:
    """The raw scores for ``Evidence.probes["values"]``; None if the study asks for none.

    Base (first and third prompt), aligned and tuned texts (first training seed) of sample 0 on the inputs
    ``keys``. The judge answers 30 questions a text; a text is asked about once a run, also after a restart.
    Raises PreconditionError if the evaluator cannot answer here.
    """
    if ctx.study.values.evaluator == "none":
        return None
    evaluator = await load_evaluator(ctx)
    names = [arm.name for arm in measured_arms(arms)]
    inputs = set(keys)
    wanted = [
        output for output in outputs if output.arm in names and output.sample == 0 and output.key in inputs
    ]
    wanted.sort(key=lambda output: (names.index(output.arm), output.topic_id, output.index))
    answers = await _answers(ctx, evaluator, [(one.topic_id, one.text) for one in wanted], "probes")
    return {
        **evaluator.probe(ctx),
        "outputs": [
            {
                "arm": one.arm,
                "topic": one.topic_id,
                "index": one.index,
                "sample": one.sample,
                "answers": given,
            }
            for one, given in zip(wanted, answers, strict=True)
        ],
        "weighings": await recorded_weighings(ctx),
    }


async def recorded_weighings(ctx: RunContext) -> list[dict[str, Any]]:
    """What ``note_weighing`` kept, by iteration."""
    kept = [await ctx.get_value(f"values:weighing:{number}") for number in range(_iterations(ctx))]
    return [entry for entry in kept if entry is not None]


async def value_distances(ctx: RunContext, texts: Mapping[Key, str], stage: str) -> dict[str, float] | None:
    """Mean distance to the target by topic; None unless the study gives it a share of the topic weights.

    PreconditionError if the evaluator may speak of no value, or has no answer for a whole topic.
    """
    settings = ctx.study.values
    if not settings.weight:
        return None
    evaluator = await load_evaluator(ctx)
    if not evaluator.spoken:
        raise PreconditionError(
            "values.weight is above 0, but the evaluator may speak of none of the ten values: each has too"
            " few labels. Train it on more labels, or set values.weight to 0"
        )
    keys = sorted(texts)
    answers = await _answers(ctx, evaluator, [(key[0], texts[key]) for key in keys], stage)
    target = target_vector(settings.target)
    probe = evaluator.probe(ctx)
    goal = np.array([target[name] for name in evaluator.spoken])
    found: list[tuple[str, float]] = []
    for key, given in zip(keys, answers, strict=True):
        rows = probabilities(probe, given)
        if all(name in rows for name in evaluator.spoken):
            scores = np.array([float(soft_scores(rows[name])) for name in evaluator.spoken])
            found.append((key[0], float(distances(scores[None, :], goal)[0])))
    means = topic_means([distance for _, distance in found], [topic for topic, _ in found])
    if silent := sorted({key[0] for key in keys} - means.keys()):
        raise PreconditionError(f"the evaluator of values has no complete answer for {', '.join(silent)}")
    return {topic.id: means[topic.id] for topic in ctx.resolved.topics if topic.id in means}


async def note_weighing(
    ctx: RunContext,
    iteration: int,
    means: Mapping[str, float],
    value_means: Mapping[str, float] | None,
    weights: Mapping[str, float],
) -> None:
    """Keep how the weights came about, for the report, and tell it; nothing without a value distance."""
    if value_means is None:
        return
    weighing = Weighing(
        iteration=iteration,
        differences=dict(means),
        distances=dict(value_means),
        share=ctx.study.values.weight,
        weights=dict(weights),
    ).model_dump(mode="json")
    await ctx.put_value(f"values:weighing:{iteration}", weighing)
    ctx.journal.emit("values.weighed", **weighing)


async def load_evaluator(ctx: RunContext) -> Evaluator:
    """The study's evaluator, checked against what is served."""
    settings = ctx.study.values
    if settings.evaluator == "head":
        head = await _head(ctx, str(settings.head), await ctx.services.embedder.describe())
        return Evaluator("head", str(settings.head), str(settings.head), head.agreement, head, {})
    model = await ctx.services.generator.describe()
    await ctx.require_unchanged("generator", model.fingerprint)
    record = await _record(ctx, settings.agreement, model) if settings.agreement else None
    agreement = None if record is None else record.agreement
    prior: dict[str, list[float]] = {}
    if settings.calibrate:
        prior = await ctx.get_value("values:prior") or {}
        if not prior:
            with ctx.clock.external("generation"):
                prior = await judge_prior(ctx.services.generator)
            ctx.tally.add(scores=len(load_values().content_free) * len(VALUES) * len(ANSWERS))
            await ctx.put_value("values:prior", prior)
    return Evaluator("judge", model.model, model.fingerprint, agreement, None, prior)


def head_for(data: bytes, sha256: str, encoder: EncoderInfo) -> Head:
    """A head's bytes as a head that fits the encoder. PreconditionError if it does not, or is damaged."""
    try:
        head = unpack_head(data)
    except ValueError as error:
        raise PreconditionError(f"the asset {sha256[:12]}… cannot be used: {error}") from error
    if head.encoder_fingerprint != encoder.fingerprint:
        raise PreconditionError(
            f"the values head {sha256[:12]}… was trained on embeddings of {head.encoder!r}"
            f" ({head.encoder_fingerprint[:12]}…), but the embedder serves {encoder.model!r}"
            f" ({encoder.fingerprint[:12]}…); train a head on this encoder, or start the embedder with that"
        )
    return head


def judge_record_for(data: bytes, sha256: str, model: GeneratorInfo, calibrate: bool) -> JudgeRecord:
    """A judge's measured agreement that holds for this model and these questions; else PreconditionError."""
    try:
        record = unpack_judge(data)
    except ValueError as error:
        raise PreconditionError(f"the asset {sha256[:12]}… cannot be used: {error}") from error
    for what, measured, here in (
        ("model", record.model_fingerprint, model.fingerprint),
        ("questions", record.questions_sha256, questions_sha256()),
        ("calibration", str(record.calibrated), str(calibrate)),
    ):
        if measured != here:
            raise PreconditionError(
                f"the agreement {sha256[:12]}… was measured with another {what} ({measured[:12]}, here"
                f" {here[:12]}); measure it anew with `valign values evaluate FILE --judge`"
            )
    return record


async def _head(ctx: RunContext, sha256: str, encoder: EncoderInfo) -> Head:
    return head_for(await asyncio.to_thread(read_asset, ctx.artifacts, sha256), sha256, encoder)


async def _record(ctx: RunContext, sha256: str, model: GeneratorInfo) -> JudgeRecord:
    data = await asyncio.to_thread(read_asset, ctx.artifacts, sha256)
    return judge_record_for(data, sha256, model, ctx.study.values.calibrate)


async def _answers(
    ctx: RunContext, evaluator: Evaluator, texts: Sequence[tuple[str, str]], stage: str
) -> list[Answers]:
    """Answers for (topic id, text), in order; what was answered before in this run is not asked again."""
    titles = {topic.id: topic.title for topic in ctx.resolved.topics}
    by_topic: dict[str, dict[str, str]] = {}
    for topic, text in texts:
        by_topic.setdefault(topic, {})[sha256_bytes(text.encode())] = text
    progress = StageProgress(ctx.journal, stage, {topic: len(named) for topic, named in by_topic.items()})
    known: dict[str, dict[str, Answers]] = {}
    for topic, named in by_topic.items():
        cached = known[topic] = await ctx.get_value(f"values:answers:{topic}") or {}
        missing = [digest for digest in named if digest not in cached]
        progress.add(topic, len(named) - len(missing))
        for start in range(0, len(missing), _TEXTS_A_CALL):
            part = missing[start : start + _TEXTS_A_CALL]
            replies = [Reply(digest, dialogue_question(titles[topic]), named[digest]) for digest in part]
            cached.update(await _ask(ctx, evaluator, replies))
            await ctx.put_value(f"values:answers:{topic}", cached)
            progress.add(topic, len(part))
    progress.tell()
    return [known[topic][sha256_bytes(text.encode())] for topic, text in texts]


async def _ask(ctx: RunContext, evaluator: Evaluator, replies: Sequence[Reply]) -> dict[str, Answers]:
    head = evaluator.head
    if head is None:
        with ctx.clock.external("generation"), ctx.tally.timed("scoring_s"):
            found_answers = await judge_replies(ctx.services.generator, replies, evaluator.spoken)
        ctx.tally.add(scores=len(replies) * len(evaluator.spoken) * len(ANSWERS))
        return found_answers
    rows = await ctx.embed([head_text(head.text, reply.question, reply.reply) for reply in replies])
    found = head.probabilities(rows)
    return {
        reply.key: {value: [float(number) for number in found[value][place]] for value in found}
        for place, reply in enumerate(replies)
    }


def _iterations(ctx: RunContext) -> int:
    return ctx.study.stop.max_iterations + 1
