"""The 60/20/20 split, stratified by topic (paper section 3.4)."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MIN_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Split:
    """Pair indices by topic id, ascending, for each of the three parts."""

    train: Mapping[str, tuple[int, ...]]
    validation: Mapping[str, tuple[int, ...]]
    test: Mapping[str, tuple[int, ...]]


def split_pairs(
    indices: Mapping[str, Iterable[int]],
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int = 0,
) -> Split:
    """Split each topic's usable pair indices into train, validation and test.

    Within a topic the order is that of a hash of (seed, topic, index): it depends on nothing else,
    so another topic's pairs never move this one's. A topic with fewer than 3 pairs cannot be
    split: all of it goes to test, since it can be measured but not trained on.
    """
    train, validation, test = {}, {}, {}
    for topic, members in indices.items():
        ordered = sorted(set(members), key=lambda index: _rank(seed, topic, index))
        first, second, _ = part_sizes(len(ordered), fractions)
        train[topic] = tuple(sorted(ordered[:first]))
        validation[topic] = tuple(sorted(ordered[first : first + second]))
        test[topic] = tuple(sorted(ordered[first + second :]))
    return Split(train=train, validation=validation, test=test)


def all_test(indices: Mapping[str, Iterable[int]]) -> Split:
    """Every pair in the test part: the split of a run that only measures."""
    none: dict[str, tuple[int, ...]] = dict.fromkeys(indices, ())
    test = {topic: tuple(sorted(set(members))) for topic, members in indices.items()}
    return Split(train=none, validation=dict(none), test=test)


def part_sizes(count: int, fractions: Sequence[float] = (0.6, 0.2, 0.2)) -> tuple[int, int, int]:
    """Sizes of train, validation and test that add up to ``count``, by largest remainder.

    From 3 pairs on no part is empty: an empty one takes a pair from the largest. Equal remainders
    go to the earlier part. Below 3 everything is test.
    """
    if count < MIN_PAIRS:
        return (0, 0, count)
    exact = [count * fraction for fraction in fractions]
    # Rounded first: 5 * 0.6 is 3.0000000000000004 for a computer and 3 for a person.
    sizes = [int(round(value, 9)) for value in exact]
    by_remainder = sorted(range(3), key=lambda part: (-round(exact[part] - sizes[part], 9), part))
    for part in by_remainder[: count - sum(sizes)]:
        sizes[part] += 1
    while 0 in sizes:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(0)] += 1
    return (sizes[0], sizes[1], sizes[2])


def _rank(seed: int, topic: str, index: int) -> bytes:
    return hashlib.sha256(f"{seed}|split|{topic}|{index}".encode()).digest()
