"""The order of a run's steps. Between steps nothing is decided that is not recorded in one.

prepare, uncover (originals, aligned), quantify, analyse, then per iteration train, load,
validate, conclude; judge (base, best, constant); controls, probes, verdict (see ``proving``); report. A run
that only measures leaves out what lies between analyse and controls.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from services.orchestrator.budget import Reached
from services.orchestrator.domain.convergence import best_iteration
from services.orchestrator.domain.difference import overall_mean
from services.orchestrator.domain.split import MIN_PAIRS
from services.orchestrator.loop import judge, proving, realign, registering, reporting, uncover
from services.orchestrator.loop.budgeting import Purse
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.prepare import prepare
from services.orchestrator.loop.quantify import Tables, analyse, quantify
from services.orchestrator.loop.steps import Record, Steps
from services.orchestrator.ports import AdapterRef


def _always(value: Any) -> bool:
    return True


async def realign_model(ctx: RunContext, record: Record) -> dict[str, Any]:
    """Run all steps; returns the report step's result. Raises ValignError if a step failed."""
    steps = Steps(ctx, record)
    facts: dict[str, Any] = {"iterations": []}
    facts["plan"] = await steps.run("prepare", "prepare", lambda: prepare(ctx), opens=True, closes=_always)
    warming = asyncio.create_task(asyncio.to_thread(reporting.warm_up))
    facts["originals"] = await steps.run(
        "uncover_originals", "uncover", lambda: uncover.draw_originals(ctx), opens=True
    )
    purse = Purse(ctx, steps)
    await purse.require("aligned", "uncover", ["uncover_aligned"], "the reference texts")
    facts["aligned"] = await steps.run(
        "uncover_aligned", "uncover", lambda: uncover.draw_aligned(ctx), closes=_always
    )
    facts["quantified"] = await steps.run(
        "quantify", "quantify", lambda: quantify(ctx), opens=True, closes=_always
    )
    short = None if ctx.study.measure_only else await _short_of(purse, "quantify", 1)
    facts["analysed"] = await steps.run(
        "analyse",
        "analyse",
        lambda: analyse(ctx, facts["quantified"]["means"], only_measure=short is not None),
        opens=True,
        closes=_always,
    )
    tables = Tables(ctx, facts)
    if facts["analysed"]["measured_only"]:
        facts["stop_reason"] = _why_only_measured(ctx, facts["analysed"])
    else:
        await _iterate(ctx, steps, facts, tables, purse)
        await _judge(ctx, steps, facts, tables)
    await proving.run_controls(ctx, steps, facts, tables, purse)
    await proving.run_probes_stage(ctx, steps, facts)
    await proving.run_verdict(ctx, steps, facts)

    async def report() -> dict[str, Any]:
        await warming
        return await reporting.write_report(ctx, facts, await tables.get(), steps.ledger)

    result: dict[str, Any] = await steps.run("report", "report", report, opens=True, closes=_always)
    return result


async def _short_of(purse: Purse, stage: str, number: int) -> Reached | None:
    """None if this iteration may still be begun."""
    steps = [f"train_{number}", f"validate_{number}"]
    left_out = "all training" if number == 1 else f"iteration {number} and those after it"
    return await purse.allows(f"train_{number}", stage, steps, left_out)


def _why_only_measured(ctx: RunContext, analysed: Mapping[str, Any]) -> str:
    if ctx.study.measure_only:
        return "measure_only"
    few = any(len(members) < MIN_PAIRS for members in analysed["split"]["test"].values())
    return "too_few_pairs" if few else "budget_before_training"


async def _iterate(
    ctx: RunContext, steps: Steps, facts: dict[str, Any], tables: Tables, purse: Purse
) -> None:
    history: list[dict[str, Any]] = facts["iterations"]
    history.append(await steps.run("measure_before", "analyse", lambda: _before(ctx, tables)))
    weights: Mapping[str, float] = facts["analysed"]["weights"]
    stop: str | None = None
    while stop is None:
        weights, stop = await _iteration(ctx, steps, facts, tables, weights)
        number = len(history)
        if stop is None and await _short_of(purse, "realign", number) is not None:
            stop = "budget"
    facts["stop_reason"] = stop
    facts["best_iteration"] = best_iteration([entry["validation_mean"] for entry in history])


async def _iteration(
    ctx: RunContext, steps: Steps, facts: dict[str, Any], tables: Tables, weights: Mapping[str, float]
) -> tuple[Mapping[str, float], str | None]:
    """Train with these weights, swap in, measure; returns the next weights and why to stop, if to stop."""
    history: list[dict[str, Any]] = facts["iterations"]
    number = len(history)
    previous = history[-1].get("adapter")

    async def train() -> dict[str, Any]:
        init = AdapterRef(**previous) if previous else None
        table = await tables.get()
        pairs = [table.pairs[place] for place in table.places("train")]
        examples = realign.training_examples(ctx, pairs, [pair.aligned for pair in pairs])
        request = realign.training_request(ctx, facts["plan"], examples, number, weights, init)
        result = await realign.train(ctx, request, number)
        await registering.trained(ctx, facts["plan"], result["adapter"], number)
        return result

    trained = await steps.run(f"train_{number}", "realign", train, opens=True, iteration=number)
    adapter = AdapterRef(**trained["adapter"])
    proof = await steps.run(f"load_{number}", "realign", lambda: realign.swap_in(ctx, adapter))

    async def validate() -> dict[str, Any]:
        return await realign.validate(ctx, await tables.get(), number, adapter)

    measured = await steps.run(f"validate_{number}", "realign", validate)
    ended = await steps.run(
        f"conclude_{number}",
        "realign",
        lambda: realign.conclude(ctx, number, history, measured["means"], measured["value_means"]),
        closes=lambda value: value["stop_reason"] is not None,
    )
    history.append(
        {
            "iteration": number,
            "weights": dict(weights),
            "validation_means": measured["means"],
            "validation_mean": ended["validation_mean"],
            "relative_improvement": ended["relative_improvement"],
            "adapter": trained["adapter"],
            "training": {key: trained[key] for key in ("steps", "final_loss", "duration_s")},
            "proof": proof,
            "counts": measured["counts"],
        }
    )
    return ended["next_weights"], ended["stop_reason"]


async def _before(ctx: RunContext, tables: Tables) -> dict[str, Any]:
    """Iteration 0: the validation pairs' difference before any training."""
    table = await tables.get()
    means = table.means(table.places("validation"))
    ctx.journal.emit("topic.means", arm="original", split="validation", iteration=0, means=means)
    return {
        "iteration": 0,
        "weights": {},
        "validation_means": means,
        "validation_mean": overall_mean(means),
    }


async def _judge(ctx: RunContext, steps: Steps, facts: dict[str, Any], tables: Tables) -> None:
    number = facts["best_iteration"]
    adapter = AdapterRef(**facts["iterations"][number]["adapter"])

    async def base() -> dict[str, Any]:
        return await judge.judge_base(ctx, await tables.get())

    async def best() -> dict[str, Any]:
        return await judge.judge_best(ctx, await tables.get(), number, adapter)

    async def constant() -> dict[str, Any]:
        return await judge.judge_constant(ctx, await tables.get())

    facts["base"] = await steps.run("judge_base", "judge", base, opens=True)
    facts["best"] = await steps.run("judge_best", "judge", best)
    facts["constant"] = await steps.run("judge_constant", "judge", constant, closes=_always)
