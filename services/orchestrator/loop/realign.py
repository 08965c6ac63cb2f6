"""Stage realign: train, load, measure on the validation split, weigh anew (paper section 3.4)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from services.common.errors import InternalError, PreconditionError, error_for
from services.orchestrator.domain.convergence import relative_improvement, stop_reason
from services.orchestrator.domain.difference import overall_mean, topic_means
from services.orchestrator.domain.prompts import Stage
from services.orchestrator.domain.seeds import training_seed
from services.orchestrator.loop import metrics
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.draws import Settled, Slot, draw_arm
from services.orchestrator.loop.journal import StageProgress
from services.orchestrator.loop.observing import follow_training
from services.orchestrator.loop.pairs import Pair
from services.orchestrator.loop.quantify import PairTable, differences, weigh
from services.orchestrator.loop.swap import load, name_prefix, unload_others
from services.orchestrator.loop.value_space import note_weighing, value_distances
from services.orchestrator.planning.hardware import TRAINED_ON
from services.orchestrator.ports import AdapterRef, TrainingExample, TrainingRequest, TrainingStatus


def arm_of(iteration: int) -> str:
    """The arm of one iteration's adapter under the third prompt."""
    return f"realigned-i{iteration}"


def training_examples(
    ctx: RunContext, pairs: Sequence[Pair], targets: Sequence[str]
) -> tuple[TrainingExample, ...]:
    """P3 around each pair's original as the prompt, and the target at its place as the answer."""
    prompts, reference = ctx.resolved.prompt_set, ctx.resolved.reference_set
    topics = {topic.id: topic for topic in ctx.resolved.topics}
    return tuple(
        TrainingExample(
            prompt=prompts.render_realigned(topics[pair.topic_id], pair.original, reference.id),
            answer=target,
            group=pair.topic_id,
        )
        for pair, target in zip(pairs, targets, strict=True)
    )


def training_request(
    ctx: RunContext,
    plan: Mapping[str, Any],
    examples: tuple[TrainingExample, ...],
    iteration: int,
    weights: Mapping[str, float],
    previous: AdapterRef | None,
    *,
    arm: str = "",
    replicate: int = 0,
) -> TrainingRequest:
    """What one iteration trains; ``arm`` names a control arm, ``replicate`` numbers the training seed."""
    return TrainingRequest(
        base_model=plan["model"],
        base_revision=plan["model_revision"],
        base_fingerprint=plan["model_fingerprint"],
        examples=examples,
        group_weights=dict(weights),
        lora=ctx.study.lora.model_dump(mode="json"),
        training=ctx.study.training.model_dump(mode="json"),
        seed=training_seed(ctx.study.seed, iteration, replicate),
        adapter_name_prefix=name_prefix(ctx.run_id, iteration, arm),
        init_adapter=previous if ctx.study.training.continue_adapter else None,
    )


async def train(ctx: RunContext, request: TrainingRequest, iteration: int, arm: str = "") -> dict[str, Any]:
    """Start or join the job and follow it to its end. Raises the job's own error if it failed."""
    with ctx.clock.external("training"):
        # Kept before the job begins, so that cancelling finds it whenever this process dies.
        await ctx.put_value("training_job", ctx.services.trainer.job_id(request))
        job_id = await _start(ctx, request)
        last: TrainingStatus | None = None
        async for last in ctx.services.trainer.watch(job_id):
            _count(ctx, request, last)
            if ctx.tally.due():
                await ctx.keep_tally()
            _tell(ctx, last, iteration, arm)
    if last is None or last.state not in ("succeeded", "failed", "cancelled"):
        raise InternalError(f"the trainer said nothing of how job {job_id[:8]} ended")
    what = f"iteration {iteration}" + (f" of arm {arm}" if arm else "")
    if last.state == "failed":
        raise error_for(last.error_code, f"training of {what} failed: {last.error_message}")
    if last.state == "cancelled":
        raise PreconditionError(f"the training job of {what} was cancelled in the trainer")
    if last.adapter is None:
        raise InternalError(f"training job {job_id[:8]} succeeded without an adapter")
    gpus = last.workers if last.device == "cuda" else 0
    await ctx.put_value(TRAINED_ON, {"device": last.device, "name": last.device_name, "gpus": gpus})
    return {
        "job_id": job_id,
        "adapter": asdict(last.adapter),
        "steps": last.step,
        "final_loss": last.loss,
        "duration_s": last.duration_s,
    }


async def _start(ctx: RunContext, request: TrainingRequest) -> str:
    """Begin or join the job. A retried run begins a job anew that had failed, once an attempt."""
    key = f"restarted:{ctx.attempt}:{ctx.services.trainer.job_id(request)}"
    if ctx.attempt == 1 or await ctx.get_value(key):
        return await ctx.services.trainer.start(request)
    job_id = await ctx.services.trainer.start(request, restart_ended=True)
    # After the call: a process that dies in between asks again, and joins the job if it runs.
    await ctx.put_value(key, True)
    return job_id


def _count(ctx: RunContext, request: TrainingRequest, status: TrainingStatus) -> None:
    """Count what the job has done until now: it may fail, be cancelled, or outlive this process."""
    whole = len(request.examples) * int(request.training["epochs"])
    done = status.step / status.total_steps if status.total_steps else 0.0
    follow_training(ctx, status, whole if status.state == "succeeded" else round(whole * done))


def _tell(ctx: RunContext, status: TrainingStatus, iteration: int, arm: str) -> None:
    extra = {"arm": arm} if arm else {}
    ctx.journal.emit_throttled(
        "training.progress",
        final=status.state in ("succeeded", "failed") or status.step == status.total_steps,
        iteration=iteration,
        job_id=status.job_id,
        state=status.state,
        step=status.step,
        total_steps=status.total_steps,
        epoch=status.epoch,
        loss=status.loss,
        learning_rate=status.learning_rate,
        tokens_per_s=status.tokens_per_s,
        time_left_s=status.time_left_s,
        **extra,
    )


async def swap_in(ctx: RunContext, adapter: AdapterRef) -> dict[str, Any]:
    """Load the iteration's adapter with its proof; only then unload the run's earlier ones."""
    proof = await load(ctx, adapter)
    with ctx.clock.external("loading"):
        await unload_others(ctx, keep=adapter.name)
    return asdict(proof)


def realigned_slots(ctx: RunContext, table: PairTable, places: Sequence[int], samples: int = 1) -> list[Slot]:
    """P3 around the originals at these places, ``samples`` times each."""
    prompts, reference = ctx.resolved.prompt_set, ctx.resolved.reference_set
    topics = {topic.id: topic for topic in ctx.resolved.topics}
    answers = prompts.shot_answers("realigned", reference.id)
    slots = []
    for pair in (table.pairs[place] for place in places):
        prompt = prompts.render_realigned(topics[pair.topic_id], pair.original, reference.id)
        slots += [Slot(pair.topic_id, pair.index, prompt, answers, sample) for sample in range(samples)]
    return slots


def judged_slots(ctx: RunContext, table: PairTable) -> list[Slot]:
    """What an arm that is judged answers: each validation input once, each test input in every sample."""
    return [
        *realigned_slots(ctx, table, table.places("validation")),
        *realigned_slots(ctx, table, table.places("test"), ctx.study.measurement.samples),
    ]


async def draw_slots(
    ctx: RunContext,
    arm: str,
    slots: Sequence[Slot],
    adapter: AdapterRef | None,
    progress: StageProgress,
    stage: Stage = "realigned",
) -> Settled:
    """Draw the slots by the adapter or (None) the base model, and store the arm's counts."""
    settled = await draw_arm(ctx, arm, slots, progress.add, stage=stage, adapter=adapter)
    progress.tell()
    await ctx.put_value(f"counts:{arm}", settled.counts.as_json())
    return settled


async def measure(
    ctx: RunContext, table: PairTable, places: Sequence[int], settled: Settled
) -> tuple[list[int], Any, Any]:
    """(places that have a text, its rows, its value differences to the aligned texts); may be empty.

    Of each input it is the first sample that counts.
    """
    found = [place for place in places if table.pairs[place].key in settled.principles]
    if not found:
        return [], np.zeros((0, table.aligned.shape[1]), dtype=np.float32), np.zeros(0)
    rows = await ctx.embed([settled.principles[table.pairs[place].key] for place in found])
    return found, rows, differences(rows, table.aligned[found])


async def validate(ctx: RunContext, table: PairTable, iteration: int, adapter: AdapterRef) -> dict[str, Any]:
    """Validation means of one iteration. PreconditionError if a topic has no usable text at all."""
    places = table.places("validation")
    totals = {topic.id: table.size("validation", topic.id) for topic in ctx.resolved.topics}
    progress = StageProgress(ctx.journal, "realign", totals, iteration)
    slots = realigned_slots(ctx, table, places)
    settled = await draw_slots(ctx, arm_of(iteration), slots, adapter, progress)
    found, _, differ = await measure(ctx, table, places, settled)
    means = topic_means(differ, [table.pairs[place].topic_id for place in found])
    silent = [topic_id for topic_id in totals if topic_id not in means]
    if silent:
        raise PreconditionError(
            f"after iteration {iteration} the model gives no usable principle for {', '.join(silent)};"
            f" draws that failed: {settled.counts.failed_by_reason}. Lower the learning rate or the epochs",
            details={"counts": settled.counts.as_json()},
        )
    metrics.show_differences(ctx.study.name, "validation", means)
    ctx.journal.emit(
        "topic.means",
        arm=arm_of(iteration),
        split="validation",
        iteration=iteration,
        means=means,
        mean=overall_mean(means),
    )
    value_means = await value_distances(ctx, settled.principles, "realign")
    return {"means": means, "value_means": value_means, "counts": settled.counts.as_json()}


async def conclude(
    ctx: RunContext,
    iteration: int,
    history: Sequence[Mapping[str, Any]],
    means: Mapping[str, float],
    value_means: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Close an iteration: improvement, next weights, and why to stop (None to go on).

    ``history`` holds the iterations before this one, from 0, each with its ``validation_mean``.
    """
    mean = overall_mean(means)
    series = [float(entry["validation_mean"]) for entry in history] + [mean]
    improvement = relative_improvement(series[-2], series[-1])
    weights = weigh(ctx, means, value_means)
    await note_weighing(ctx, iteration, means, value_means, weights)
    stop = ctx.study.stop
    reason = stop_reason(series, stop.max_iterations, stop.min_relative_improvement)
    ctx.journal.emit(
        "iteration.ended",
        iteration=iteration,
        validation_mean=mean,
        validation_means=dict(means),
        relative_improvement=improvement,
        weights=weights,
        stop_reason=reason,
    )
    return {
        "validation_mean": mean,
        "relative_improvement": improvement,
        "next_weights": weights,
        "stop_reason": reason,
    }
