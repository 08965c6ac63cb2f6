"""What a plan counts against what a whole run over the fakes asks for."""

import pytest

from services.orchestrator.loop.tally import USED
from services.orchestrator.planning.hardware import GENERATED_ON, TRAINED_ON
from services.orchestrator.planning.tokens import TokenFigures, at_most, expected, together
from services.orchestrator.planning.work import Assumed, Given, count_work
from services.orchestrator.study import Study, resolve
from tests.fakes.studies import other_set, study_json

COUNTED = ("completions", "scores", "training_steps", "trained_examples")
FULL = {
    "arms": {
        "training_seeds": 2,
        "controls": ["uniform", "shuffled", "other"],
        "other_reference_set": other_set(),
    },
    "values": {"evaluator": "judge"},
    "measurement": {"samples": 2, "reference_samples": 3, "resamples": 200, "permutations": 200},
}


def planned(study, given: Given | None = None):
    """Planned quantities by stage, and the most of each."""
    works = count_work(resolve(Study.model_validate(study)), Assumed(100), given or Given())
    figures = TokenFigures()
    stages = dict.fromkeys(work.stage for work in works)
    return {
        stage: (
            together(expected(work, figures) for work in works if work.stage == stage),
            together(at_most(work, figures) for work in works if work.stage == stage),
        )
        for stage in stages
    }


async def ran(world, study):
    """Run the study; what it used by stage. The fake trainer's steps are made to be the real one's."""
    await world.run(world.context(study))
    world.report()
    return world.store.get_value("r-1", USED)["stages"]


@pytest.mark.parametrize(
    ("topics", "principles", "iterations", "changes"),
    [
        (None, 10, 2, {}),
        (None, 7, 1, FULL),
        (None, 13, 3, FULL),
        (None, 10, 1, {"measure_only": True}),
        (None, 2, 1, {}),
        (None, 10, 1, {"guards": {"polarity": False, "general_prompts": None}}),
        (None, 5, 2, {"arms": {"training_seeds": 3, "controls": []}}),
    ],
    ids=["plain", "all-arms", "all-arms-uneven", "measure-only", "too-few", "no-guards", "seeds"],
)
async def test_planned_counts_every_first_draw_is_usable_equal_what_the_run_asked(
    world, topics, principles, iterations, changes
) -> None:
    study = study_json(principles=principles, iterations=iterations, **changes)
    plan, used = planned(study), await ran(world, study)
    for stage in ("uncover", "realign", "judge", "controls"):
        found = used.get(stage, {})
        assert plan[stage][0].completions if stage in plan else True
        for name in ("completions", "trained_examples"):
            expected_count = getattr(plan[stage][0], name) if stage in plan else 0
            assert found.get(name, 0) == expected_count, (stage, name)
    # Texts that are judged are not known beforehand: equal ones and those without an opposite ask less.
    for name in ("completions", "scores"):
        most = getattr(plan["probes"][0], name) if "probes" in plan else 0
        assert used.get("probes", {}).get(name, 0) <= most, name
    for stage in ("quantify", "realign", "judge", "controls", "verdict"):
        most = plan[stage][0].embeddings if stage in plan else 0
        assert used.get(stage, {}).get("embeddings", 0) <= most, (stage, "embeddings")


async def test_run_keeps_what_it_ran_on_for_the_next_plan(world) -> None:
    world.fakes.generator.device = world.fakes.trainer.device = ("cuda", "NVIDIA L4", 2)
    await ran(world, study_json(principles=10, iterations=1))
    kept = {"device": "cuda", "name": "NVIDIA L4", "gpus": 2}
    assert world.store.get_value("r-1", GENERATED_ON) == kept
    assert world.store.get_value("r-1", TRAINED_ON) == kept
