"""The stages behind the result: controls (arms to hold it against), probes, and the verdict.

They run after the best checkpoint is chosen and judged, and in runs that only measure.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from services.orchestrator.analysis.evidence import ArmKind
from services.orchestrator.budget import Reached
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.loop import controls, registering
from services.orchestrator.loop.appraise import appraise, read_analysis
from services.orchestrator.loop.arms import ALIGNED_OTHER, BASE_REFERENCE, Control, weights_of
from services.orchestrator.loop.arms import controls as controls_of
from services.orchestrator.loop.budgeting import Purse
from services.orchestrator.loop.collect import collect, tuned_adapters
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.judge import BASE_P3
from services.orchestrator.loop.probes import BASE, run_probes
from services.orchestrator.loop.quantify import Tables
from services.orchestrator.loop.steps import Steps
from services.orchestrator.loop.swap import load, unload_others
from services.orchestrator.loop.value_space import probe_values
from services.orchestrator.ports import AdapterRef

VALUES = "values"
# What a run that only measures draws beside its pairs.
_MEASURED_WITH = ("draw_base", "draw_references", "draw_base_reference")


def _always(value: Any) -> bool:
    return True


async def run_controls(
    ctx: RunContext, steps: Steps, facts: dict[str, Any], tables: Tables, purse: Purse
) -> None:
    """Adds to the facts: "drawn" (counts by arm), "other_set" and "trained" (results by arm); and "unproven",
    why nothing could be drawn beside the pairs, where the budget of a run without a checkpoint says so."""
    trained = bool(facts.get("best_iteration"))
    progress: controls.ControlProgress | None = None

    async def told() -> controls.ControlProgress:
        nonlocal progress
        progress = progress or controls.ControlProgress(ctx, await tables.get(), trained=trained)
        return progress

    async def references() -> dict[str, Any]:
        return await controls.draw_references(ctx, await tables.get(), await told())

    async def base() -> dict[str, Any]:
        return await controls.draw_base(ctx, await tables.get(), await told())

    async def in_context() -> dict[str, Any]:
        return await controls.draw_in_context(ctx, await tables.get(), await told())

    async def other(reference: ReferenceSet) -> dict[str, Any]:
        return await controls.draw_other(ctx, await tables.get(), reference, await told())

    drawn: dict[str, Any] = {}
    facts["drawn"], facts["trained"] = drawn, {}
    if not trained:
        short = await purse.allows(
            "measure", "controls", _MEASURED_WITH, "what is drawn beside the pairs", only_measured=True
        )
        if short is not None:
            facts["unproven"] = _unpaid(short)
            return
    drawn[ArmKind.ALIGNED.value] = await steps.run("draw_references", "controls", references, opens=True)
    if not trained:
        drawn[BASE_P3] = await steps.run("draw_base", "controls", base)
    drawn[BASE_REFERENCE] = await steps.run("draw_base_reference", "controls", in_context)
    arms = controls_of(ctx) if trained else ()
    reference = ctx.resolved.other_reference_set
    if arms and reference is not None:
        short = await purse.allows(
            "draw_other_set", "controls", ["draw_other_set"], "the reference texts of the other set"
        )
        if short is None:
            result = await steps.run("draw_other_set", "controls", lambda: other(reference))
            facts["other_set"] = drawn[ALIGNED_OTHER] = result
        else:
            facts["other_set"] = {"failed": _unpaid(short)}
    for arm in arms:
        result = await _control(ctx, steps, facts, tables, arm, told, purse)
        facts["trained"][arm.name] = {"kind": arm.kind.value, **result}
        if "counts" in result:
            drawn[arm.name] = result

    async def close() -> dict[str, str]:
        found = facts["trained"].items()
        return {name: result["failed"] for name, result in found if "failed" in result}

    await steps.run("close_controls", "controls", close, closes=_always)


async def _control(
    ctx: RunContext,
    steps: Steps,
    facts: Mapping[str, Any],
    tables: Tables,
    arm: Control,
    told: Any,
    purse: Purse,
) -> dict[str, Any]:
    """Train as often as the best checkpoint was, then measure. ``failed`` says why an arm is missing."""
    # There is no arm of the other set without the set.
    other = facts.get("other_set", {})
    if arm.kind is ArmKind.OTHER and "failed" in other:
        return {"failed": other["failed"]}
    needed = [f"train_{arm.name}_{number}" for number in range(1, facts["best_iteration"] + 1)]
    short = await purse.allows(arm.name, "controls", [*needed, f"measure_{arm.name}"], f"the arm {arm.name}")
    if short is not None:
        return {"failed": _unpaid(short)}
    previous: AdapterRef | None = None
    result: dict[str, Any] = {}
    for number in range(1, facts["best_iteration"] + 1):
        weights = weights_of(arm, facts["iterations"][number]["weights"], other)

        async def train(
            number: int = number, weights: Mapping[str, float] = weights, start: AdapterRef | None = previous
        ) -> dict[str, Any]:
            table = await tables.get()
            return await controls.train_control(ctx, facts["plan"], table, arm, number, weights, start)

        result = await steps.run(f"train_{arm.name}_{number}", "controls", train)
        if "failed" in result:
            return {"failed": result["failed"]}
        previous = AdapterRef(**result["adapter"])
    adapter = AdapterRef(**result["adapter"])

    async def measure() -> dict[str, Any]:
        return await controls.measure_control(ctx, await tables.get(), arm, adapter, await told())

    measured = await steps.run(f"measure_{arm.name}", "controls", measure)
    return {"adapter": result["adapter"], **measured}


def _unpaid(short: Reached) -> str:
    return f"the budget does not allow it: {short.sentence()}"


async def run_probes_stage(ctx: RunContext, steps: Steps, facts: dict[str, Any]) -> None:
    """Adds "probes": where the probes' material lies, and why some were not run."""

    async def probes() -> dict[str, Any]:
        if "unproven" in facts:
            names = ("utility", "polarity", "tasks", VALUES)
            return {**await _kept({}), "not_run": dict.fromkeys(names, facts["unproven"])}
        bare = await collect(ctx, facts)
        tuned = [(name, AdapterRef(**adapter)) for name, adapter in tuned_adapters(facts)]
        test = bare.keys("test")
        found, not_run = await run_probes(ctx, [(BASE, None), *tuned], bare.arms, bare.outputs, test)
        values, why_not = await probe_values(ctx, bare.arms, bare.outputs, test)
        if values is not None:
            found = {**found, VALUES: values}
        if why_not:
            not_run = {**not_run, VALUES: why_not}
        if tuned:
            # The arms took turns in the engine's slots: what the run ends with is its best adapter.
            await load(ctx, tuned[0][1])
            with ctx.clock.external("loading"):
                await unload_others(ctx, keep=tuned[0][1].name)
        return {**await _kept(found), "not_run": not_run}

    async def _kept(found: Mapping[str, Any]) -> dict[str, str]:
        data = json.dumps(found, ensure_ascii=False, allow_nan=False, sort_keys=True).encode("utf-8")
        place = await asyncio.to_thread(ctx.artifacts.put_bytes, f"runs/{ctx.run_id}/probes.json", data)
        return {"uri": place.uri, "sha256": place.sha256}

    facts["probes"] = await steps.run("probes", "probes", probes, opens=True, closes=_always)


async def run_verdict(ctx: RunContext, steps: Steps, facts: dict[str, Any]) -> None:
    """Adds "verdict": where evidence and analysis lie, and the decision."""

    async def verdict() -> dict[str, Any]:
        place = facts["probes"]
        data = await asyncio.to_thread(ctx.artifacts.get_bytes, place["uri"], place["sha256"])
        result = await appraise(ctx, facts, json.loads(data), place["not_run"])
        await registering.decided(ctx, facts, await read_analysis(ctx, result))
        return result

    facts["verdict"] = await steps.run("verdict", "verdict", verdict, opens=True, closes=_always)
