"""The loss, with numbers worked out by hand."""

import math

import pytest
import torch

from services.trainer.lora.loss import example_losses, weighted_mean


def logits_of(*probabilities: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(probabilities).log()


def test_example_losses_of_two_examples_are_means_over_their_own_tokens() -> None:
    # Example 0 answers with tokens of probability 1/2 and 1/8: CE = (ln 2 + ln 8) / 2 = 2 ln 2.
    # Example 1 has one token of probability 1/4: CE = 2 ln 2 as well, though it is shorter.
    # Example 2 has tokens of 1/4, 1/4 and 1: CE = 4 ln 2 / 3.
    logits = logits_of(
        (1 / 2, 1 / 4, 1 / 4),
        (1 / 8, 3 / 8, 1 / 2),
        (1 / 2, 1 / 4, 1 / 4),
        (1 / 4, 1 / 4, 1 / 2),
        (1 / 2, 1 / 4, 1 / 4),
        (1 - 2e-12, 1e-12, 1e-12),
    )
    targets = torch.tensor([0, 0, 1, 0, 2, 0])
    owners = torch.tensor([0, 0, 1, 2, 2, 2])
    losses = example_losses(logits, targets, owners, 3)
    assert losses.tolist() == pytest.approx([2 * math.log(2), 2 * math.log(2), 4 * math.log(2) / 3], rel=1e-6)


def test_weighted_mean_of_two_weights_is_the_papers_formula() -> None:
    # (1.0 * 3 + 0.5 * 6) / (1.0 + 0.5) = 6 / 1.5 = 4
    assert weighted_mean(torch.tensor([3.0, 6.0]), torch.tensor([1.0, 0.5])).item() == pytest.approx(4.0)


def test_weighted_mean_of_equal_weights_is_the_plain_mean() -> None:
    assert weighted_mean(torch.tensor([1.0, 2.0, 6.0]), torch.full((3,), 0.2)).item() == pytest.approx(3.0)


def test_weighted_mean_of_a_zero_weight_ignores_its_example() -> None:
    assert weighted_mean(torch.tensor([3.0, 99.0]), torch.tensor([0.7, 0.0])).item() == pytest.approx(3.0)


def test_weighted_mean_of_zero_weights_is_zero_with_zero_gradient() -> None:
    losses = torch.tensor([3.0, 6.0], requires_grad=True)
    loss = weighted_mean(losses, torch.zeros(2))
    loss.backward()
    assert loss.item() == 0.0
    assert losses.grad is not None
    assert losses.grad.tolist() == [0.0, 0.0]


def test_weighted_mean_gradient_is_shared_by_weight() -> None:
    losses = torch.tensor([3.0, 6.0], requires_grad=True)
    weighted_mean(losses, torch.tensor([1.0, 0.25])).backward()
    assert losses.grad is not None
    assert losses.grad.tolist() == pytest.approx([0.8, 0.2])


def test_example_losses_of_bfloat16_logits_are_float32() -> None:
    losses = example_losses(
        torch.zeros(2, 5, dtype=torch.bfloat16), torch.tensor([0, 1]), torch.tensor([0, 0]), 1
    )
    assert losses.dtype == torch.float32
    assert losses.item() == pytest.approx(math.log(5))
