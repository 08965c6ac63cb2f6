"""Dropout whose mask belongs to the example, and not to where the example is computed.

PyTorch's dropout draws one mask for a whole batch: with other padding, other neighbours or another number of
workers an example would get another mask, and the job another adapter. Here the mask of an example is a
function of (seed of the step, place in the global batch, layer) alone. That also makes it the same when
activations are computed a second time (gradient checkpointing).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Span:
    """Where an example lies: ``length`` tokens of a row from column ``start``; ``place`` is in the batch."""

    row: int
    start: int
    length: int
    place: int


@dataclass(slots=True)
class BatchPlan:
    """Which examples the layers see at present; one for all layers of a model."""

    seed: int = 0
    spans: Sequence[Span] = field(default_factory=tuple)


class ExampleDropout(nn.Module):
    """Drops entries of [rows, columns, features] with probability ``p``, divides the rest by 1 - p."""

    def __init__(self, p: float, layer: int) -> None:
        super().__init__()
        self._keep = 1.0 - p
        self._layer = layer
        self.plan = BatchPlan()
        self._generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Nothing happens outside training. What no example covers, which is padding, becomes 0."""
        if not self.training:
            return x
        if self._generator is None or self._generator.device != x.device:
            self._generator = torch.Generator(x.device)
        mask = torch.zeros_like(x)
        for span in self.plan.spans:
            self._generator.manual_seed(_mask_seed(self.plan.seed, span.place, self._layer))
            part = mask[span.row, span.start : span.start + span.length]
            part.bernoulli_(self._keep, generator=self._generator)
        return x * mask.div_(self._keep)


def _mask_seed(seed: int, place: int, layer: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{place}/{layer}".encode()).digest()[:8], "big") >> 1
