import hashlib

from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain.seeds import sample_seed, training_seed


def test_sample_seed_known_input_never_changes_between_versions():
    # The first 8 bytes of the sha256, without the last bit.
    first = hashlib.sha256(b"0|original|privacy|3|1").hexdigest()[:16]
    assert sample_seed(0, "original", "privacy", 3, 1) == int(first, 16) // 2


def test_sample_seed_every_part_changes_it():
    seeds = {
        sample_seed(0, "a", "t", 0, 0),
        sample_seed(1, "a", "t", 0, 0),
        sample_seed(0, "b", "t", 0, 0),
        sample_seed(0, "a", "u", 0, 0),
        sample_seed(0, "a", "t", 1, 0),
        sample_seed(0, "a", "t", 0, 1),
    }
    assert len(seeds) == 6


@given(st.integers(0, 2**63 - 1), st.text(), st.text(), st.integers(0, 10_000), st.integers(0, 100))
def test_sample_seed_any_input_fits_63_bits(run_seed, arm, topic, index, draw):
    assert 0 <= sample_seed(run_seed, arm, topic, index, draw) < 2**63


def test_training_seed_differs_by_iteration_and_fits_31_bits():
    seeds = {training_seed(0, iteration) for iteration in range(1, 20)}
    assert len(seeds) == 19
    assert all(0 <= seed < 2**31 for seed in seeds)
