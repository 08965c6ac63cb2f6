"""What of a plan does not fit, each with the remedy."""

from collections.abc import Iterator, Sequence

from services.orchestrator.planning.document import BudgetPlan
from services.orchestrator.planning.memory import Need, Serving, Training
from services.orchestrator.planning.rows import Work
from services.orchestrator.planning.shape import ModelShape
from services.orchestrator.planning.tokens import TokenFigures
from services.orchestrator.study import ResolvedStudy

_REMEDIES = {
    "generation": "share it among more GPUs (tensor_parallel_size, pipeline_parallel_size), lower"
    " max_model_len, max_loras or max_lora_rank, or raise gpu_memory_utilization",
    "training": "lower training.batch_size or training.max_length, compute activations again (gradient"
    " checkpointing), divide the weights among more GPUs (sharding fsdp2), or load the base in 4 bits",
}


def room(needs: Sequence[Need]) -> int:
    """Sequences of full length that the engine has room for; as many as it takes where no device says."""
    known = [need.sequences for need in needs if need.sequences is not None]
    return known[0] if known else 0


def misfits(
    resolved: ResolvedStudy,
    works: Sequence[Work],
    figures: TokenFigures,
    serving: Serving,
    training: Training,
    needs: Sequence[Need],
    shape: ModelShape | None,
    budget: Sequence[BudgetPlan],
) -> list[str]:
    """Sentences; empty if nothing is known not to fit."""
    return [
        *_memory(needs),
        *_division(serving, shape),
        *_workers(resolved, training),
        *_lengths(resolved, works, figures, serving),
        *_rank(resolved, serving, training),
        *_limits(budget),
    ]


def _memory(needs: Sequence[Need]) -> Iterator[str]:
    for need in needs:
        if need.fits is False:
            yield (
                f"{need.what} needs {need.needed_gib:.1f} GiB on each of {need.gpus} GPUs and has"
                f" {need.usable_gib:.1f}: {_REMEDIES[need.what]}"
            )


def _division(serving: Serving, shape: ModelShape | None) -> Iterator[str]:
    if shape is not None and shape.heads % serving.gpus:
        yield (
            f"{shape.heads} attention heads cannot be shared by {serving.gpus} GPUs: take a number that"
            " divides them"
        )
    if shape is not None and serving.pipeline_gpus > shape.layers:
        yield (
            f"{shape.layers} layers cannot be shared by a pipeline of {serving.pipeline_gpus}: take a shorter"
            " one"
        )


def _workers(resolved: ResolvedStudy, training: Training) -> Iterator[str]:
    if resolved.study.measure_only:
        return
    idle = training.gpus - training.batch_size
    if idle > 0:
        yield (
            f"{idle} of {training.gpus} GPUs of a training job would have no example: training.batch_size is"
            f" {training.batch_size}, over all of them; take {training.batch_size} GPUs, or raise it"
        )
    if training.sharding == "fsdp2" and training.bytes_a_weight < 1:
        yield (
            "the trainer does not divide a base in 4 bits: take sharding ddp, where each GPU has the whole of"
            " it, or leave the 4 bits out"
        )


def _lengths(
    resolved: ResolvedStudy, works: Sequence[Work], figures: TokenFigures, serving: Serving
) -> Iterator[str]:
    drawn = [work for work in works if work.longest_chars]
    if drawn:
        longest = max(drawn, key=lambda work: _prompt(work, figures) + work.most_tokens)
        tokens = _prompt(longest, figures) + longest.most_tokens
        if tokens > serving.max_model_len:
            yield (
                f"the longest prompt of {longest.step} has about {_prompt(longest, figures)} tokens, with"
                f" {longest.most_tokens} of its completion more than max_model_len {serving.max_model_len}:"
                " raise that, or shorten the prompt set"
            )
    judged = [work for work in works if work.step == "judge_best"]
    limit = resolved.study.training.max_length
    for work in judged:
        prompt = _prompt(work, figures)
        if prompt + work.most_tokens > limit:
            yield (
                f"a training example has about {prompt + work.most_tokens} tokens, more than"
                f" training.max_length {limit}: raise that, or lower generation.max_new_tokens"
            )


def _rank(resolved: ResolvedStudy, serving: Serving, training: Training) -> Iterator[str]:
    if not resolved.study.measure_only and training.rank > serving.max_lora_rank:
        yield (
            f"lora.rank {training.rank} is above the generator's max_lora_rank {serving.max_lora_rank}:"
            " raise VALIGN_GENERATOR_MAX_LORA_RANK, or lower the rank"
        )


def _limits(budget: Sequence[BudgetPlan]) -> Iterator[str]:
    for limit in budget:
        if limit.fits is False:
            yield (
                f"budget.{limit.limit} is {limit.allowed:,.0f}, and about {limit.expected:,.0f} are expected:"
                " the run will end early with its best state so far"
            )


def _prompt(work: Work, figures: TokenFigures) -> int:
    return round(work.longest_chars / figures.chars_per_token + work.longest_turns * figures.tokens_a_turn)
