import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain.split import part_sizes, split_pairs


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (100, (60, 20, 20)),
        (12, (7, 3, 2)),  # 7.2, 2.4, 2.4: one left over, to the first of the equal remainders
        (10, (6, 2, 2)),
        (7, (4, 2, 1)),  # 4.2, 1.4, 1.4
        (5, (3, 1, 1)),
        (4, (2, 1, 1)),  # 2.4, 0.8, 0.8
        (3, (1, 1, 1)),  # 1.8, 0.6, 0.6 gives 2, 1, 0: the empty part takes one from the largest
        (2, (0, 0, 2)),
        (1, (0, 0, 1)),
        (0, (0, 0, 0)),
    ],
)
def test_part_sizes_worked_by_hand(count, sizes):
    assert part_sizes(count) == sizes


def test_part_sizes_extreme_fractions_leave_no_part_empty():
    assert part_sizes(5, (0.98, 0.01, 0.01)) == (3, 1, 1)


@given(st.integers(3, 500), st.floats(0.01, 0.97), st.floats(0.01, 0.97))
def test_part_sizes_any_fractions_add_up_and_stay_close(count, train, validation):
    if train + validation > 0.98:
        train, validation = train / 2, validation / 2
    fractions = (train, validation, 1 - train - validation)
    sizes = part_sizes(count, fractions)
    assert sum(sizes) == count
    assert min(sizes) >= 1
    assert all(abs(size - count * part) < 3 for size, part in zip(sizes, fractions, strict=True))


@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.sets(st.integers(0, 200), max_size=40), max_size=5),
    st.integers(0, 2**63 - 1),
)
def test_split_any_pairs_are_partitioned_by_topic(indices, seed):
    split = split_pairs(indices, seed=seed)
    for topic, members in indices.items():
        parts = [split.train[topic], split.validation[topic], split.test[topic]]
        assert sorted(index for part in parts for index in part) == sorted(members)
        assert tuple(len(part) for part in parts) == part_sizes(len(members))


def test_split_same_seed_is_stable_whatever_the_order_and_the_other_topics():
    alone = split_pairs({"a": range(20)}, seed=7)
    among = split_pairs({"z": range(5), "a": reversed(range(20))}, seed=7)
    assert (alone.train["a"], alone.test["a"]) == (among.train["a"], among.test["a"])


def test_split_known_seed_never_changes_between_versions():
    split = split_pairs({"privacy": range(5)}, seed=0)
    assert (split.train, split.validation, split.test) == (
        {"privacy": (1, 3, 4)},
        {"privacy": (2,)},
        {"privacy": (0,)},
    )


def test_split_other_seed_and_other_topic_differ():
    base = split_pairs({"a": range(50)}, seed=1).test["a"]
    assert base != split_pairs({"a": range(50)}, seed=2).test["a"]
    assert base != split_pairs({"b": range(50)}, seed=1).test["b"]


def test_split_too_few_pairs_are_all_test():
    split = split_pairs({"a": [4, 9]})
    assert (split.train["a"], split.validation["a"], split.test["a"]) == ((), (), (4, 9))
