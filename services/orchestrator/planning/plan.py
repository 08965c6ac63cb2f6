"""A plan: counts, tokens, seconds and memory of one study, and what of it does not fit. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.orchestrator.planning.devices import Device, device_of
from services.orchestrator.planning.document import (
    Amounts,
    BudgetPlan,
    MemoryPlan,
    Plan,
    PlanRequest,
    SecondsBody,
    StagePlan,
)
from services.orchestrator.planning.fitting import misfits, room
from services.orchestrator.planning.memory import Need, Serving, Training, generation_memory, training_memory
from services.orchestrator.planning.pace import Pace, choose_pace
from services.orchestrator.planning.past import Past
from services.orchestrator.planning.rows import Work, summed
from services.orchestrator.planning.shape import ModelShape, named_shape, shape_of
from services.orchestrator.planning.speed import (
    GENERATION_EFFICIENCY,
    TRAINING_EFFICIENCY,
    Seconds,
    Speeds,
    data_sheet_speeds,
    seconds_of,
)
from services.orchestrator.planning.tokens import Quantities, TokenFigures, at_most, expected, together
from services.orchestrator.planning.work import Assumed, Given, count_work
from services.orchestrator.study import ResolvedStudy

_BITS = {4: 0.5625, 16: 2.0, 32: 4.0}
"""Bytes a weight; four bits with one float16 scale for every 32 weights."""

_GUESSED = ("completion_tokens_per_s", "data sheet")


@dataclass(frozen=True, slots=True)
class Served:
    """What the generator that serves says of itself; zeros, and no device, where it is away."""

    max_model_len: int = 0
    max_lora_rank: int = 0
    device: str = ""


def figures_of(resolved: ResolvedStudy, past: Past, completion_tokens: float | None = None) -> TokenFigures:
    """How texts of this study become tokens, with what past runs of the model took."""
    most = resolved.study.generation.max_new_tokens
    known = completion_tokens if completion_tokens is not None else past.completion_tokens
    return TokenFigures(
        completion_tokens=None if known is None else min(known, most), draws_per_slot=past.draws_per_slot
    )


def work_of(resolved: ResolvedStudy, given: Given, figures: TokenFigures) -> tuple[Work, ...]:
    """Every step's work, with principles as long as completions are taken to be."""
    most = resolved.study.generation.max_new_tokens
    each = most if figures.completion_tokens is None else figures.completion_tokens
    return count_work(resolved, Assumed(round(each * figures.chars_per_token)), given)


def make_plan(
    request: PlanRequest,
    resolved: ResolvedStudy,
    given: Given,
    past: Past = Past(),  # noqa: B008 - frozen
    served: Served = Served(),
    window: int = 0,
) -> Plan:
    """The plan. InvalidInputError: a shape, config or device that is not known.

    ``window``: most items of a call that one of several engines is given at once; 0 is no limit.
    """
    figures = figures_of(resolved, past, request.completion_tokens)
    works = work_of(resolved, given, figures)
    likely = together(expected(work, figures) for work in works)
    shape, device = _shape(request), device_of(request.device, request.device_memory_gib)
    serving, training = _serving(request, resolved, served), _training(request, resolved, works, figures)
    needs = _needs(shape, device, serving, training, likely)
    sheet = Speeds()
    if shape is not None and device is not None:
        held = _held(request, room(needs), window)
        sheet = data_sheet_speeds(shape, device, serving, training, likely, held, request.replicas)
    pace = choose_pace(request, past, device, serving, training, served.device, sheet)
    speeds = pace.speeds
    seconds = seconds_of(likely, speeds)
    gpu_s = None if device is None else round(_gpu_seconds(seconds, serving, request), 1)
    budget = tuple(_budget(resolved, likely, seconds, gpu_s))
    problems = misfits(resolved, works, figures, serving, training, needs, shape, budget)
    lengths = [_length(request, past, figures), _draws(past, figures)]
    assumed = _assumptions(figures, lengths, shape, device, pace, _unsaid(request, served, serving))
    if any((source.what, source.source) == _GUESSED for source in pace.sources):
        assumed += _filling(request, room(needs), window)
    return Plan(
        study=resolved.study.name,
        model=shape.name if shape else "",
        device=device.name if device else "",
        fits=not problems,
        problems=tuple(problems),
        expected=Amounts.of(likely),
        at_most=Amounts.of(together(at_most(work, figures) for work in works)),
        seconds=SecondsBody.of(seconds),
        gpu_s=gpu_s,
        stages=tuple(_stages(works, figures, speeds)),
        memory=tuple(_memory(need) for need in needs),
        budget=budget,
        speeds=pace.sources,
        past_runs=past.runs,
        assumptions=tuple(assumed),
    )


def _shape(request: PlanRequest) -> ModelShape | None:
    if request.config is not None:
        return shape_of(request.config, parameters=request.parameters)
    if not request.shape:
        return None
    found = named_shape(request.shape)
    return replace(found, parameters=request.parameters) if request.parameters else found


def _serving(request: PlanRequest, resolved: ResolvedStudy, served: Served) -> Serving:
    return Serving(
        gpus=request.gpus,
        pipeline_gpus=request.pipeline_gpus,
        copies=request.copies,
        gpu_memory_utilization=request.gpu_memory_utilization,
        max_model_len=request.max_model_len or served.max_model_len or Serving().max_model_len,
        max_num_seqs=request.max_num_seqs,
        max_loras=request.max_loras,
        max_lora_rank=request.max_lora_rank or served.max_lora_rank or Serving().max_lora_rank,
        lora_targets=resolved.study.lora.target_modules,
    )


def _training(
    request: PlanRequest, resolved: ResolvedStudy, works: Sequence[Work], figures: TokenFigures
) -> Training:
    study = resolved.study
    steps = [work for work in works if work.trained_examples]
    wide = 4.0 if study.training.dtype == "float32" else 2.0
    answer = round(study.generation.max_new_tokens)
    tokens = study.training.max_length
    if steps:
        drawn = next(work for work in works if work.step == "judge_best")
        prompt = drawn.longest_chars / figures.chars_per_token + drawn.longest_turns * figures.tokens_a_turn
        tokens = min(tokens, round(prompt + answer + figures.tokens_a_turn))
    return Training(
        gpus=request.training_gpus,
        batch_size=study.training.batch_size,
        tokens=tokens,
        answer_tokens=min(answer, tokens),
        rank=study.lora.rank,
        targets=study.lora.target_modules,
        bytes_a_weight=wide if request.training_bits is None else _BITS[request.training_bits],
        bytes_an_activation=wide,
        sharding="fsdp2" if request.sharding in ("full", "fsdp2") else "ddp",
        checkpointing=request.checkpointing,
    )


def _held(request: PlanRequest, fits: int, window: int) -> int:
    """Sequences that one engine has at once, in all its copies: an engine alone is given all there are."""
    return min(fits, window) if window and request.replicas > 1 else fits


def _filling(request: PlanRequest, fits: int, window: int) -> list[str]:
    """What must be set for the engines to be as full as they are taken to be."""
    most = min(fits, request.copies * request.max_num_seqs)
    held = _held(request, most, window)
    if held < most:
        return [
            f"An engine could compute {most} sequences at once and is given {held} of a call:"
            " VALIGN_ORCHESTRATOR_GENERATOR_WINDOW. Set it to MAX_NUM_SEQS times the copies in an engine."
        ]
    if request.copies > 1:
        return [
            f"An engine is given {held} sequences at once: its VALIGN_GENERATOR_MAX_IN_FLIGHT is taken to"
            " be no less."
        ]
    return []


def _needs(
    shape: ModelShape | None,
    device: Device | None,
    serving: Serving,
    training: Training,
    likely: Quantities,
) -> list[Need]:
    if shape is None:
        return []
    memory = device.memory_gib if device else None
    found = [generation_memory(shape, serving, memory)]
    if likely.training_steps:
        found.append(training_memory(shape, training, memory))
    return found


def _gpu_seconds(seconds: Seconds, serving: Serving, request: PlanRequest) -> float:
    generating = (seconds.generation or 0.0) + (seconds.scoring or 0.0)
    # The embedder has one GPU, if any.
    return (
        generating * serving.all_gpus * request.replicas
        + (seconds.training or 0.0) * request.training_gpus
        + (seconds.embedding or 0.0)
    )


def _stages(works: Sequence[Work], figures: TokenFigures, speeds: Speeds) -> list[StagePlan]:
    found = []
    for stage in dict.fromkeys(work.stage for work in works):
        mine = summed((work for work in works if work.stage == stage), stage)
        # Draws and tokens differ between the steps of a stage, so that the steps are added up.
        likely = together(expected(work, figures) for work in works if work.stage == stage)
        most = together(at_most(work, figures) for work in works if work.stage == stage)
        found.append(
            StagePlan(
                stage=mine.stage,
                expected=Amounts.of(likely),
                at_most=Amounts.of(most),
                seconds=SecondsBody.of(seconds_of(likely, speeds)),
            )
        )
    return found


def _unsaid(request: PlanRequest, served: Served, serving: Serving) -> list[str]:
    """Limits of the engine that neither the request nor a generator tells."""
    names = ("max_model_len", "max_lora_rank")
    return [
        f"{name} is taken to be {getattr(serving, name)}"
        for name in names
        if not getattr(request, name) and not getattr(served, name)
    ]


def _length(request: PlanRequest, past: Past, figures: TokenFigures) -> str:
    """How long a completion is taken to be, and who says so: the request before past runs."""
    asked = request.completion_tokens
    known = past.completion_tokens if asked is None else asked
    if known is None or figures.completion_tokens is None:
        return "Every completion is as long as the study allows: no past run of this model tells more."
    told = "the request" if asked is not None else _runs(past)
    if known > figures.completion_tokens:
        told += f": {known:.0f}, of which the study allows no more"
    return f"A completion has {figures.completion_tokens:.0f} tokens ({told})."


def _draws(past: Past, figures: TokenFigures) -> str:
    told = _runs(past) if past.slots else "no past run of this model tells more"
    return f"A slot takes {figures.draws_per_slot:.2f} draws ({told})."


def _runs(past: Past) -> str:
    return f"{past.runs} past run{'s' * (past.runs > 1)}"


def _memory(need: Need) -> MemoryPlan:
    return MemoryPlan(
        what="generation" if need.what == "generation" else "training",
        gpus=need.gpus,
        parts={name: round(value, 3) for name, value in need.parts.items()},
        needed_gib=round(need.needed_gib, 2),
        usable_gib=None if need.usable_gib is None else round(need.usable_gib, 2),
        sequences=need.sequences,
        fits=need.fits,
    )


def _budget(
    resolved: ResolvedStudy, likely: Quantities, seconds: Seconds, gpu_s: float | None
) -> list[BudgetPlan]:
    budget = resolved.study.budget
    wall = seconds.known if seconds.complete else None
    needed: dict[str, float | None] = {
        "max_tokens": likely.tokens,
        "max_training_steps": likely.training_steps,
        "max_gpu_s": gpu_s if seconds.complete else None,
        "max_wall_s": wall,
    }
    found = []
    for name, value in needed.items():
        allowed = getattr(budget, name)
        if allowed is not None:
            fits = None if value is None else value <= allowed
            found.append(BudgetPlan(limit=name, allowed=allowed, expected=value, fits=fits))
    return found


def _assumptions(
    figures: TokenFigures,
    lengths: Sequence[str],
    shape: ModelShape | None,
    device: Device | None,
    pace: Pace,
    unsaid: Sequence[str],
) -> list[str]:
    found = [
        "All iterations are used, and every topic gives as many pairs as were asked for.",
        f"A prompt has a token for every {figures.chars_per_token:g} characters, and"
        f" {figures.tokens_a_turn:g} more a turn.",
    ]
    found += lengths
    if shape is None:
        found.append("Memory is not estimated: name a shape, or give the model's config.json.")
    elif device is None:
        found.append("No device was named, so that nothing is said to fit or not to fit.")
    if unsaid:
        found.append(f"No generator says otherwise, so that {' and '.join(unsaid)}.")
    found += pace.notes
    if any(source.source == "data sheet" for source in pace.sources):
        found.append(
            f"Speeds from a data sheet take {GENERATION_EFFICIENCY:.0%} of it for generation and"
            f" {TRAINING_EFFICIENCY:.0%} for training; they were never measured."
        )
    return found
