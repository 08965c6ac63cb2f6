"""The arms that a run trains beside its own: which ones, by what name, and what they are for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.loop.context import RunContext
from services.orchestrator.study import ResolvedStudy

BASE_REFERENCE = ArmKind.BASE_REFERENCE.value
ALIGNED_OTHER = ArmKind.ALIGNED_OTHER.value
NO_OTHER_SET = (
    "no set was named, and the packaged one has no principle for some of the study's topics; name one as"
    " arms.other_reference_set"
)


@dataclass(frozen=True, slots=True)
class Control:
    """An arm that is trained: the best checkpoint's recipe with one thing changed.

    ``replicate`` is the number of its training seed; the controls share the run's own, 0.
    """

    name: str
    kind: ArmKind
    replicate: int = 0


def controls(ctx: RunContext) -> tuple[Control, ...]:
    """The run's training arms, in the order in which they are trained."""
    return controls_of(ctx.resolved)


def controls_of(resolved: ResolvedStudy) -> tuple[Control, ...]:
    """The study's training arms, in the order in which they are trained."""
    study = resolved.study.arms
    again = [Control(f"tuned-s{seed}", ArmKind.TUNED, seed) for seed in range(1, study.training_seeds)]
    others = [
        Control(name, ArmKind(name))
        for name in dict.fromkeys(study.controls)
        if name != "other" or resolved.other_reference_set is not None
    ]
    return (*again, *others)


def left_out(ctx: RunContext) -> dict[str, str]:
    """Arms that the study asks for and that cannot be, with the reason."""
    wanted = "other" in ctx.study.arms.controls and not ctx.study.measure_only
    return {"other": NO_OTHER_SET} if wanted and ctx.resolved.other_reference_set is None else {}


def weights_of(
    control: Control, recorded: Mapping[str, float], other: Mapping[str, Any] | None
) -> dict[str, float]:
    """The topic weights that an iteration of this arm trains with.

    ``recorded``: those of the same iteration of the run. Uniform weighs every topic 1. The other set has
    the weights of its own means at every iteration: it is measured once, since only the run's own arm is
    validated.
    """
    if control.kind is ArmKind.UNIFORM:
        return dict.fromkeys(recorded, 1.0)
    if control.kind is ArmKind.OTHER and other is not None:
        return dict(other["weights"])
    return dict(recorded)
