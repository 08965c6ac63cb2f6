"""The loss: topic-weighted token cross-entropy (paper, section on value alignment)."""

import torch
from torch import Tensor
from torch.nn import functional


def example_losses(logits: Tensor, targets: Tensor, owners: Tensor, examples: int) -> Tensor:
    """CE_i: mean cross-entropy over the answer tokens of each example, in nats a token.

    Args:
        logits: [tokens, vocabulary], only of positions that predict an answer token.
        targets: [tokens], the token ids that follow.
        owners: [tokens], which example (0..examples-1) each token belongs to.
        examples: number of examples in the batch.

    Returns:
        [examples], float32.
    """
    token_losses = functional.cross_entropy(logits.float(), targets, reduction="none")
    sums = torch.zeros(examples, device=logits.device).index_add(0, owners, token_losses)
    counts = torch.bincount(owners, minlength=examples)
    return sums / counts


def weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """sum_i w_i * CE_i / sum_i w_i, a scalar.

    A batch whose weights are all 0 has loss 0 (and gradients of 0), not 0/0. Examples of
    weight 0 add exactly nothing.
    """
    return part_of_weighted_mean(losses, weights, weights.sum())


def part_of_weighted_mean(losses: Tensor, weights: Tensor, total_weight: Tensor) -> Tensor:
    """What some examples of a global batch add to its weighted mean, a scalar.

    ``total_weight`` is the sum over the whole global batch, so that the parts of all workers add up to
    ``weighted_mean`` of that batch, however it is divided. A mean over each worker's own weights would not:
    a worker with light topics would count as much as one with heavy ones.
    """
    if total_weight == 0:
        return (losses * 0.0).sum()
    return (losses * weights).sum() / total_weight
