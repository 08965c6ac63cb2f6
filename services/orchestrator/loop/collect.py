"""A run's evidence, from what its steps stored: the arms, their texts, the split and the facts."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.orchestrator.analysis.evidence import Arm, ArmKind, Evidence, Output
from services.orchestrator.loop.arms import ALIGNED_OTHER, BASE_REFERENCE, controls, left_out
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.endpoint import uncontrolled
from services.orchestrator.loop.judge import BASE_P3
from services.orchestrator.loop.pairs import Pair, kept_texts, load_pairs
from services.orchestrator.loop.realign import arm_of

Facts = Mapping[str, Any]
_SILENT = "no usable text: the model answered with nothing that is a principle"


async def collect(ctx: RunContext, facts: Facts) -> Evidence:
    """The evidence without vectors and probes. Arms without any text are told in ``facts["not_run"]``."""
    not_run = {**left_out(ctx), **_failures(facts)}
    arms: list[Arm] = []
    outputs: list[Output] = []
    pairs = await load_pairs(ctx)
    for arm in _arms(ctx, facts):
        found = await _outputs(ctx, arm, pairs)
        if found:
            arms.append(arm)
            outputs += found
        else:
            not_run.setdefault(arm.name, _SILENT)
    return Evidence(
        study=ctx.resolved.as_json(),
        topic_ids=tuple(topic.id for topic in ctx.resolved.topics),
        split={
            part: {topic: tuple(members) for topic, members in topics.items()}
            for part, topics in facts["analysed"]["split"].items()
        },
        arms=tuple(arms),
        outputs=tuple(outputs),
        vectors={},
        facts={
            "iterations": facts["iterations"],
            "best_iteration": facts.get("best_iteration"),
            "stop_reason": facts["stop_reason"],
            "uncontrolled": await uncontrolled(ctx),
            "not_run": not_run,
        },
    )


def tuned_adapters(facts: Facts) -> list[tuple[str, dict[str, str]]]:
    """(arm, adapter) of the best checkpoint and of its recipe under other training seeds, as recorded."""
    best = facts.get("best_iteration")
    if best is None:
        return []
    found = [(arm_of(best), facts["iterations"][best]["adapter"])]
    for name, result in facts.get("trained", {}).items():
        if result["kind"] == ArmKind.TUNED.value and "failed" not in result:
            found.append((name, result["adapter"]))
    return found


def _failures(facts: Facts) -> dict[str, str]:
    """Why arms of the stage controls are missing."""
    failed = {
        name: result["failed"] for name, result in facts.get("trained", {}).items() if "failed" in result
    }
    other = facts.get("other_set") or {}
    if "failed" in other:
        failed[ALIGNED_OTHER] = other["failed"]
        failed.setdefault("other", other["failed"])
    if "unproven" in facts:
        failed |= dict.fromkeys((BASE_P3, BASE_REFERENCE), facts["unproven"])
    return failed


def _arms(ctx: RunContext, facts: Facts) -> list[Arm]:
    """Every arm that was drawn, in the order in which people read them."""
    own, other = ctx.resolved.reference_set.id, ctx.resolved.other_reference_set
    arms = [
        Arm("original", ArmKind.ORIGINAL),
        Arm("aligned", ArmKind.ALIGNED, reference_set=own),
        Arm(BASE_P3, ArmKind.BASE_P3),
        Arm(BASE_REFERENCE, ArmKind.BASE_REFERENCE, reference_set=own),
    ]
    best = facts.get("best_iteration")
    for entry in facts["iterations"]:
        number, adapter = entry["iteration"], entry.get("adapter")
        if adapter is not None:
            kind = ArmKind.TUNED if number == best else ArmKind.CHECKPOINT
            arms.append(_trained(arm_of(number), kind, 0, own, adapter))
    results = facts.get("trained", {})
    for control in controls(ctx) if best is not None else ():
        result = results.get(control.name, {})
        if "adapter" in result:
            towards = other.id if control.kind is ArmKind.OTHER and other is not None else own
            arms.append(_trained(control.name, control.kind, control.replicate, towards, result["adapter"]))
    if best is not None and other is not None:
        arms.append(Arm(ALIGNED_OTHER, ArmKind.ALIGNED_OTHER, reference_set=other.id))
    return arms


def _trained(name: str, kind: ArmKind, seed: int, towards: str, adapter: Mapping[str, str]) -> Arm:
    return Arm(name, kind, seed, towards, adapter["name"], adapter["sha256"])


async def _outputs(ctx: RunContext, arm: Arm, pairs: Sequence[Pair]) -> list[Output]:
    """Kept texts of one arm, of inputs that have both texts of their pair."""
    if arm.kind is ArmKind.ORIGINAL:
        return [Output(arm.name, pair.topic_id, pair.index, 0, pair.original) for pair in pairs]
    paired = {pair.key for pair in pairs}
    return [
        Output(arm.name, topic_id, index, sample, text)
        for (topic_id, index, sample), text in (await kept_texts(ctx, arm.name)).items()
        if (topic_id, index) in paired
    ]
