"""Targets that belong to other inputs: what the control arm "shuffled" is trained on."""

import hashlib
from collections.abc import Sequence

_MOST_SHIFTS = 64


def shuffled(inputs: Sequence[str], targets: Sequence[str], seed: int) -> tuple[int, ...]:
    """For each input the place of another input's target: a permutation without fixed points.

    ``inputs[i]`` names input i, once; ``targets[i]`` is its own target. The inputs are put into a ring in
    the order of a hash of (seed, name), and each takes the target so many places on; of the shifts tried
    it is the first that gives the fewest inputs a target that reads like their own. ValueError for fewer
    than two inputs.
    """
    count = len(inputs)
    if count < 2:
        raise ValueError("one input has no other whose target it could take")
    ring = sorted(range(count), key=lambda place: _rank(seed, inputs[place]))

    def own_texts(shift: int) -> int:
        return sum(targets[place] == targets[ring[(at + shift) % count]] for at, place in enumerate(ring))

    best, fewest = 1, count + 1
    for shift in range(1, min(count, _MOST_SHIFTS + 1)):
        found = own_texts(shift)
        if found < fewest:
            best, fewest = shift, found
        if not found:
            break
    taken = [0] * count
    for at, place in enumerate(ring):
        taken[place] = ring[(at + best) % count]
    return tuple(taken)


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}|shuffled|{name}".encode()).digest()
