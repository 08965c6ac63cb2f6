"""Learning rates, with numbers worked out by hand."""

import pytest

from services.trainer.lora.schedule import learning_rate


@pytest.mark.parametrize(
    ("name", "step", "warmup", "expected"),
    [
        # cos(0) = 1, cos(pi/4) = .7071, cos(pi/2) = 0, cos(3 pi/4) = -.7071
        ("cosine", 0, 0, 1e-5),
        ("cosine", 2, 0, 0.853553e-5),
        ("cosine", 4, 0, 0.5e-5),
        ("cosine", 6, 0, 0.146447e-5),
        # Two of eight steps rise from 0; the other six fall: step 5 is half way.
        ("cosine", 0, 2, 0.0),
        ("cosine", 1, 2, 0.5e-5),
        ("cosine", 2, 2, 1e-5),
        ("cosine", 5, 2, 0.5e-5),
        ("linear", 0, 0, 1e-5),
        ("linear", 6, 0, 0.25e-5),
        ("constant", 7, 0, 1e-5),
        ("constant", 1, 4, 0.25e-5),
    ],
)
def test_learning_rate_of_eight_steps_is_as_by_hand(
    name: str, step: int, warmup: int, expected: float
) -> None:
    rate = learning_rate(name, step, peak=1e-5, total_steps=8, warmup_steps=warmup)
    assert rate == pytest.approx(expected, rel=1e-5, abs=1e-15)


def test_learning_rate_of_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="polynomial"):
        learning_rate("polynomial", 0, peak=1.0, total_steps=1, warmup_steps=0)


def test_learning_rate_agrees_with_transformers() -> None:
    import torch
    from transformers import get_cosine_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=3, num_training_steps=11)
    for step in range(11):
        ours = learning_rate("cosine", step, peak=3e-4, total_steps=11, warmup_steps=3)
        assert ours == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
