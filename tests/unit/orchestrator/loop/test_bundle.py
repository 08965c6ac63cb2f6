"""The bundle of a run that the loop made, numbers and all: nothing in it was computed by the audit."""

import re
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import PreconditionError
from services.orchestrator.audit.checking import check_bundle
from services.orchestrator.audit.comparing import is_number, leaves
from services.orchestrator.audit.files import ZipFiles
from services.orchestrator.audit.recompute import table
from services.orchestrator.loop.tally import USED
from tests.bundles import RunWorld, bundle_of
from tests.fakes.studies import other_set, study_json
from tests.unit.orchestrator.loop.conftest import World
from tests.unit.orchestrator.loop.test_rulers import by_ruler, frozen, measured

QUICK = {"samples": 2, "resamples": 200, "permutations": 200}


async def _checked(world: World, path: Path, **study: object) -> None:
    """Run the study, make its bundle, and hold every leaf of the report against it."""
    data = study_json(principles=12, measurement=QUICK, **study)  # type: ignore[arg-type]
    await world.run(world.context(data))
    _check(world, path, "r-1")


def _check(world: World, path: Path, run_id: str) -> None:
    report = world.report(run_id)
    bundle_of(RunWorld(run_id, world.store, world.artifacts, report, None), path)  # type: ignore[arg-type]
    with path.open("rb") as file:
        outcome = check_bundle(ZipFiles(file))
    assert outcome.ok, table(outcome)
    comparison = outcome.comparison
    assert comparison is not None
    recorded = {place for places in comparison.taken.values() for place in places}
    numbers = {place for place, value in leaves(report.model_dump(mode="json")) if is_number(value)}
    assert sum(section.numbers for section in comparison.sections.values()) == len(numbers - recorded)
    # Of the numbers only these are taken from the record.
    named = re.compile(
        r"timings_s\..*|external_s\..*|cost\..*|swap\.loads\[.*|iterations\[\d+\]\.training\..*|ruler\..*"
    )
    assert {place for place in recorded & numbers if not named.fullmatch(place)} == set()


async def test_check_bundle_of_a_whole_run_every_number_is_computed_again(
    world: World, tmp_path: Path
) -> None:
    await _checked(world, tmp_path / "bundle.zip")


async def test_check_bundle_of_a_run_that_only_measured_every_number_is_computed_again(
    world: World, tmp_path: Path
) -> None:
    await _checked(world, tmp_path / "bundle.zip", measure_only=True)


async def test_check_bundle_of_a_run_whose_weights_hold_the_value_space_every_number_is_computed_again(
    world: World, tmp_path: Path
) -> None:
    await _checked(world, tmp_path / "bundle.zip", values={"evaluator": "judge", "weight": 0.5})
    assert world.report().values is not None


async def test_check_bundle_of_a_run_by_a_ruler_every_number_but_the_rulers_is_computed_again(
    world: World, tmp_path: Path
) -> None:
    ruler = await frozen(world)
    await measured(world, by_ruler(ruler))
    _check(world, tmp_path / "bundle.zip", "r-2")


async def test_check_bundle_of_a_run_with_every_arm_every_number_is_computed_again(
    world: World, tmp_path: Path
) -> None:
    controls = ["uniform", "shuffled", "other"]
    arms = {"training_seeds": 2, "controls": controls, "other_reference_set": other_set()}
    await _checked(world, tmp_path / "bundle.zip", arms=arms)
    assert {*controls, "aligned_other", "tuned-s1"} <= set(world.report().counts)


async def test_check_bundle_of_a_run_whose_values_probe_failed_knows_how_its_weights_came_about(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise PreconditionError("the evaluator is gone")

    monkeypatch.setattr("services.orchestrator.loop.value_space.measure_values", refuse)
    await _checked(world, tmp_path / "bundle.zip", values={"evaluator": "judge", "weight": 0.5})
    assert "is gone" in world.report().analysis.not_run["values"]  # type: ignore[union-attr]


@pytest.mark.parametrize("steps", [1, 2 * 20], ids=["before-training", "after-two-iterations"])
async def test_check_bundle_of_a_run_that_its_budget_ended_every_number_is_computed_again(
    world: World, tmp_path: Path, steps: int
) -> None:
    world.fakes.trainer.steps = 20
    await _checked(world, tmp_path / "bundle.zip", iterations=3, budget={"max_training_steps": steps})
    assert world.report().stop_reason == ("budget_before_training" if steps == 1 else "budget")


@pytest.mark.parametrize(
    ("why", "changes"), [("measure_only", {"measure_only": True}), ("too_few_pairs", {"principles": 2})]
)
async def test_check_bundle_of_a_run_whose_budget_left_out_all_but_the_pairs_is_computed_again(
    world: World, tmp_path: Path, why: str, changes: dict[str, Any]
) -> None:
    world.fakes.generator.counts_tokens = True
    await world.run(world.context(study_json(measurement=QUICK, **changes), "r-0"))
    pairs = world.store.get_value("r-0", USED)["stages"]["uncover"]
    world.recorded.clear()
    budget = {"max_tokens": round(1.2 * (pairs["prompt_tokens"] + pairs["completion_tokens"]))}
    await world.run(world.context(study_json(measurement=QUICK, budget=budget, **changes)))
    _check(world, tmp_path / "bundle.zip", "r-1")
    report = world.report()
    assert (report.stop_reason, set(report.counts)) == (why, {"original", "aligned"})
    assert report.cost is not None
    assert report.cost.budget is not None
