"""One loss for any number of workers: numbers by hand, then two processes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from services.trainer.lora.loss import part_of_weighted_mean, weighted_mean
from services.trainer.lora.world import World, leave_group
from tests.fakes.servers import free_port

ROOT = Path(__file__).resolve().parents[4]

# Five examples of unbalanced topics: one heavy topic, two light ones.
LOSSES = (3.0, 6.0, 1.0, 2.0, 8.0)
WEIGHTS = (1.0, 0.25, 0.25, 0.0, 0.5)
# (1*3 + 0.25*6 + 0.25*1 + 0*2 + 0.5*8) / (1 + 0.25 + 0.25 + 0 + 0.5) = 8.75 / 2 = 4.375
BY_HAND = 4.375
# d loss / d CE_i = w_i / 2
GRADIENT_BY_HAND = (0.5, 0.125, 0.125, 0.0, 0.25)


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 7])
def test_parts_of_the_weighted_mean_of_unbalanced_topics_add_up_to_the_hand_made_loss(workers: int) -> None:
    losses = torch.tensor(LOSSES, requires_grad=True)
    weights = torch.tensor(WEIGHTS)
    parts = []
    for rank in range(workers):
        mine = World(rank, workers).share(LOSSES)
        parts.append(part_of_weighted_mean(losses[mine], weights[mine], weights.sum()))
    total = torch.stack(parts).sum()
    total.backward()
    assert total.item() == pytest.approx(BY_HAND)
    assert losses.grad is not None
    assert losses.grad.tolist() == pytest.approx(GRADIENT_BY_HAND)


def test_mean_of_each_workers_own_means_is_another_loss() -> None:
    # Worker 0 has places 0, 2, 4: (3 + 0.25 + 4) / 1.75 = 4.142857; worker 1 has 1, 3: 1.5 / 0.25 = 6.
    # Their mean is 5.0714, not 4.375: this is what dividing by each worker's own weights would give.
    losses, weights = torch.tensor(LOSSES), torch.tensor(WEIGHTS)
    means = [
        weighted_mean(losses[mine], weights[mine]).item()
        for mine in (World(rank, 2).share(LOSSES) for rank in (0, 1))
    ]
    assert means == pytest.approx([7.25 / 1.75, 6.0])
    assert sum(means) / 2 != pytest.approx(BY_HAND, abs=0.5)


def test_parts_of_a_batch_without_weight_are_zero() -> None:
    losses = torch.tensor([3.0, 6.0])
    assert part_of_weighted_mean(losses, torch.zeros(2), torch.tensor(0.0)).item() == 0.0


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_shares_of_a_batch_are_all_of_it_once(size: int) -> None:
    places = [place for rank in range(size) for place in World(rank, size).share("abcde")]
    assert sorted(places) == [0, 1, 2, 3, 4]


def _weight_after_one_backward(rank: int, size: int, port: int) -> None:
    """A model of one number, whose example i has the loss LOSSES[i] * x; DDP averages the gradients."""
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    try:
        world = World(rank, size)
        model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(model.weight)
        network = DistributedDataParallel(model)
        mine = world.share(LOSSES)
        losses = network(torch.tensor(LOSSES)[mine].unsqueeze(1)).squeeze(1)
        weights = torch.tensor(WEIGHTS)
        part = part_of_weighted_mean(losses, weights[mine], weights.sum())
        (part * size).backward()
        assert world.total(part.item()) == pytest.approx(BY_HAND)
        # d/dx of sum w_i LOSSES_i x / sum w_i is the loss itself at x = 1.
        assert model.weight.grad is not None
        assert model.weight.grad.item() == pytest.approx(BY_HAND)
        assert world.told_by_leader(10 + rank) == 10
    finally:
        leave_group()


@pytest.mark.slow
def test_two_processes_have_the_hand_made_loss_and_gradient() -> None:
    program = (
        f"import faulthandler, sys; faulthandler.dump_traceback_later(90, exit=True); from {__name__} import "
    )
    program += "_weight_after_one_backward as work; work(int(sys.argv[1]), 2, int(sys.argv[2]))"
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(rank), port],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
