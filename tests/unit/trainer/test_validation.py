"""What a request must be."""

import math
from dataclasses import replace
from typing import Any

import pytest

from services.common.errors import InvalidInputError
from services.trainer.types import Example, LoraSpec, Message, TrainingSpec
from services.trainer.validation import check_job_id, check_spec
from tests.unit.trainer.specs import make_spec

LORA = make_spec().lora


def test_check_spec_of_a_good_spec_passes() -> None:
    check_spec(make_spec())


@pytest.mark.parametrize("job_id", ["a", "0123abcd", "run-1.i2_x", "a" * 128])
def test_check_job_id_of_a_safe_name_returns_it(job_id: str) -> None:
    assert check_job_id(job_id) == job_id


@pytest.mark.parametrize(
    "job_id", ["", "..", "../x", "a/b", ".hidden", "-x", "a b", "a\n", "a\x00", "人", "a" * 129]
)
def test_check_job_id_of_an_unsafe_name_is_refused(job_id: str) -> None:
    with pytest.raises(InvalidInputError, match="no safe name"):
        check_job_id(job_id)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"base_model": ""}, "base_model is empty"),
        ({"adapter_name_prefix": "../x"}, "adapter_name_prefix"),
        ({"lora": replace(LORA, rank=0)}, "lora.rank is 0"),
        ({"lora": replace(LORA, alpha=math.inf)}, "lora.alpha is inf"),
        ({"lora": replace(LORA, dropout=1.0)}, "lora.dropout"),
        ({"lora": replace(LORA, target_modules=())}, "target_modules is empty"),
        ({"lora": replace(LORA, target_modules=(".*(q|k)",))}, "no module name"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"adam_beta1": 1.0}, "adam_beta1"),
        ({"adam_beta2": -0.1}, "adam_beta2"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"lr_schedule": "polynomial"}, "lr_schedule 'polynomial'"),
        ({"max_grad_norm": math.inf}, "max_grad_norm"),
        ({"max_length": 0}, "max_length"),
        ({"dtype": "float16"}, "dtype 'float16'"),
        ({"canaries": 0}, "canaries is 0"),
        ({"canaries": 257}, "canaries is 257"),
        ({"checkpoint_every_steps": 0}, "checkpoint_every_steps"),
        ({"examples": ()}, "either examples or examples_uri"),
        ({"examples_uri": "file:///x", "examples_sha256": "0" * 64}, "either examples or examples_uri"),
        ({"examples": (), "examples_uri": "file:///x"}, "examples_sha256"),
        ({"init_adapter_uri": "file:///x", "init_adapter_sha256": "abc"}, "init_adapter_sha256"),
        ({"base_fingerprint": "XYZ"}, "base_fingerprint"),
        ({"group_weights": {"a": 1.0}}, "example 1 is of group 'b', which has no weight"),
        ({"group_weights": {"a": 1.5, "b": 0.0}}, r"group_weights\['a'\] is 1.5"),
        ({"group_weights": {"a": math.nan, "b": 0.0}}, "is nan"),
        ({"examples": (Example((), "x", "a"),)}, "example 0 has no messages"),
        ({"examples": (Example((Message("tool", "x"),), "x", "a"),)}, "role 'tool'"),
        ({"examples": (Example((Message("user", "x"),), "  ", "a"),)}, "example 0 has an empty answer"),
    ],
)
def test_check_spec_of_a_bad_value_names_it(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        check_spec(make_spec(**changes))


def test_check_spec_of_several_bad_values_lists_all() -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_spec(make_spec(epochs=0, batch_size=0))
    assert caught.value.details["problems"] == ["epochs is 0", "batch_size is 0"]


def test_training_spec_json_round_trip_keeps_the_digest() -> None:
    spec = make_spec(lora=LoraSpec(4, 8.0, 0.0, ("q_proj",)))
    again = TrainingSpec.from_json(spec.to_json())
    assert again == spec
    assert again.sha256 == spec.sha256
    assert replace(spec, seed=2).sha256 != spec.sha256
