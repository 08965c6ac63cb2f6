import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain.pairing import shuffled


@given(st.integers(2, 200), st.integers(0, 2**63 - 1))
def test_shuffled_any_inputs_is_a_permutation_without_fixed_points(count, seed):
    inputs = [f"t/{place}" for place in range(count)]
    taken = shuffled(inputs, inputs, seed)
    assert sorted(taken) == list(range(count))
    assert all(place != other for place, other in enumerate(taken))
    assert taken == shuffled(inputs, inputs, seed)


def test_shuffled_other_seed_other_permutation():
    inputs = [str(place) for place in range(50)]
    assert shuffled(inputs, inputs, 0) != shuffled(inputs, inputs, 1)


def test_shuffled_equal_texts_are_not_given_to_each_other_where_that_is_possible():
    inputs = [str(place) for place in range(12)]
    targets = ["the same", "the same"] + [f"target {place}" for place in range(10)]
    for seed in range(50):
        taken = shuffled(inputs, targets, seed)
        assert all(targets[other] != targets[place] for place, other in enumerate(taken))


def test_shuffled_one_input_is_refused():
    with pytest.raises(ValueError, match="no other"):
        shuffled(["a"], ["x"], 0)
