"""Rows of a batch: one example each, or several behind one another. No torch here.

Packed examples must not see each other. Each begins at position 0 again, and transformers makes a
block-diagonal attention mask of that (``find_packed_sequence_indices`` of its masking_utils);
``model.check_packing`` asks the model itself whether it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.trainer.lora.dataset import EncodedExample


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch as a rectangle of tokens.

    Args:
        token_ids: rows of equal width; what no example covers is 0.
        positions: the place of each token in its example; None where every row is one example from its begin.
        starts: of each example, in the order of the batch: its row and its first column.
    """

    token_ids: list[list[int]]
    positions: list[list[int]] | None
    starts: list[tuple[int, int]]


def one_a_row(examples: Sequence[EncodedExample]) -> Rows:
    """Padded on the right: with causal attention no token of an example sees the padding."""
    width = max(len(e.token_ids) for e in examples)
    # Any id will do as padding: nothing attends to it and nothing is predicted from it.
    ids = [[*e.token_ids, *([0] * (width - len(e.token_ids)))] for e in examples]
    return Rows(ids, None, [(row, 0) for row in range(len(examples))])


def packed(examples: Sequence[EncodedExample], max_tokens: int) -> Rows:
    """First fit, longest first: rows of ``max_tokens`` at most, or of the longest example's length."""
    room = max(max_tokens, *(len(e.token_ids) for e in examples))
    starts: list[tuple[int, int]] = [(0, 0)] * len(examples)
    filled: list[int] = []
    for index in sorted(range(len(examples)), key=lambda i: -len(examples[i].token_ids)):
        length = len(examples[index].token_ids)
        row = next((r for r, used in enumerate(filled) if used + length <= room), len(filled))
        if row == len(filled):
            filled.append(0)
        starts[index] = (row, filled[row])
        filled[row] += length
    width = max(filled)
    ids = [[0] * width for _ in filled]
    # Padding is a sequence of its own.
    positions = [[*range(used), *range(width - used)] for used in filled]
    for (row, start), example in zip(starts, examples, strict=True):
        length = len(example.token_ids)
        ids[row][start : start + length] = example.token_ids
        positions[row][start : start + length] = range(length)
    return Rows(ids, positions, starts)
