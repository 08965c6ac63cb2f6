"""A small campaign of kills, with real training: what ``make chaos`` does at length."""

from pathlib import Path

import pytest

from tests.chaos.campaign.campaign import Campaign, Limits
from tests.chaos.campaign.plan import Plan
from tests.chaos.campaign.system import VICTIMS, System
from tests.tiny_models import make_tiny_model

pytestmark = pytest.mark.chaos

STAGES = ("uncover", "train")


def test_campaign_each_process_killed_in_two_stages_changes_nothing(tmp_path: Path) -> None:
    system = System(tmp_path, real_model=make_tiny_model("llama", tmp_path / "model"))
    try:
        system.start()
        campaign = Campaign(
            system,
            Plan(VICTIMS, STAGES, repeats=1, seed=1),
            seeds=(7,),
            limits=Limits(campaign_s=120, pause_s=0.5),
            iterations=1,
            arms={"training_seeds": 1, "controls": []},
            guards={"general_prompts": None},
            training={"learning_rate": 1e-3, "dtype": "float32", "checkpoint_every_steps": 2},
        )
        outcome = campaign.run()
    finally:
        system.stop()
    assert outcome.violations() == [], outcome.table()
    assert len(outcome.kills) == len(VICTIMS) * len(STAGES)
