"""Counts of weights against models that are published with them, and configs that cannot be read."""

import pytest

from services.common.errors import InvalidInputError
from services.orchestrator.planning.shape import SHAPES, named_shape, shape_of

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
CONFIG = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize(
    ("name", "weights"),
    [("135m", 134_515_008), ("1b", 1_235_814_400), ("8b", 8_030_261_248), ("70b", 70_553_706_496)],
)
def test_weights_of_a_named_shape_are_those_of_the_published_model(name: str, weights: int) -> None:
    assert SHAPES[name].weights == weights


def test_shape_of_config_equals_the_named_one() -> None:
    found = shape_of(CONFIG)
    assert found.weights == SHAPES["135m"].weights
    assert found.head_dim == 64
    # By hand: rank 16 on q and o (576 + 576), k and v (576 + 192), 30 layers.
    assert found.lora_weights(16, ATTENTION) == 30 * 16 * (2 * 1152 + 2 * 768)


def test_shape_of_experts_counts_all_and_multiplies_with_few() -> None:
    found = shape_of({**CONFIG, "num_local_experts": 8, "num_experts_per_tok": 2})
    assert found.weights > 5 * found.active_weights / 2
    assert (found.experts, found.active_experts) == (8, 2)


def test_shape_of_nested_text_config_is_read() -> None:
    assert shape_of({"text_config": CONFIG, "tie_word_embeddings": True}).layers == 30


@pytest.mark.parametrize(("key", "value"), [("hidden_size", None), ("vocab_size", "x"), ("vocab_size", -1)])
def test_shape_of_wrong_config_names_the_key(key: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=key):
        shape_of({**CONFIG, key: value})


def test_named_shape_unknown_lists_those_there_are() -> None:
    with pytest.raises(InvalidInputError, match="8b"):
        named_shape("9b")


def test_lora_weights_unknown_module_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="lm_head"):
        SHAPES["1b"].lora_weights(8, ("lm_head",))
