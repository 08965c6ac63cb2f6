"""A study as parameters, a run as tags."""

from datetime import UTC, datetime

import pytest

from services.orchestrator.records import RunRecord, RunStatus
from services.orchestrator.tracking import study_map
from tests.fakes.studies import other_set, study_json

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def run(**changes: object) -> RunRecord:
    fields: dict[str, object] = {
        "run_id": "r-1",
        "name": "test",
        "status": RunStatus.RUNNING,
        "stage": "realign",
    }
    fields |= {"identity": "", "study": study_json(model="/models/tiny"), "create_time": NOW}
    return RunRecord(**{**fields, **changes})  # type: ignore[arg-type]


def test_parameters_name_every_setting_and_no_text_of_a_set() -> None:
    study = study_json(arms={"training_seeds": 1, "controls": ["other"], "other_reference_set": other_set()})
    found = study_map.parameters(study)
    assert found["seed"] == "7"
    assert found["stop.max_iterations"] == "2"
    assert found["lora.target_modules"] == "q_proj, k_proj, v_proj, o_proj"
    assert found["topics"] == "privacy, fairness"
    assert (found["reference_set.id"], found["reference_set.version"]) == ("test-set", "1.0")
    assert found["prompt_set.id"] == "test-prompts"
    assert found["arms.controls"] == "other"
    assert found["arms.other_reference_set.id"] == "other-set"
    assert not [name for name, text in found.items() if "You shall tell" in text or "P1 {topic}" in text]
    assert "endpoint" not in found


def test_parameters_of_packaged_sets_are_their_ids() -> None:
    study = {"reference_set": "ten-commandments", "topics": "ai-for-social-good", "prompt_set": "instruct"}
    found = study_map.parameters(study)
    assert found == {
        "reference_set.id": "ten-commandments",
        "topics": "ai-for-social-good",
        "prompt_set.id": "instruct",
    }


def test_parameters_of_a_long_word_are_cut() -> None:
    found = study_map.parameters(study_json(description="w" * 20_000))
    assert len(found["description"]) == 6000


def test_tags_find_the_run_and_name_its_model() -> None:
    found = study_map.tags(run(attempt=2, created_by="key:ana"))
    assert found["valign.run_id"] == "r-1"
    assert found["valign.base_model"] == "tiny"
    assert found["valign.reference_set"] == "test-set"
    assert found["valign.attempt"] == "2"
    assert found["valign.created_by"] == "key:ana"


def test_tags_of_a_later_attempt_take_the_error_away() -> None:
    assert study_map.tags(run())["valign.error_message"] == ""


@pytest.mark.parametrize("status", list(RunStatus))
def test_status_of_every_run_is_one_of_mlflows(status: RunStatus) -> None:
    assert study_map.MLFLOW_STATUS[status] in {"SCHEDULED", "RUNNING", "FINISHED", "FAILED", "KILLED"}
