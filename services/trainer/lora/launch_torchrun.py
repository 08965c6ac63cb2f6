"""Several workers on this machine, by torchrun's own agent, which runs in this process.

If one is lost, the agent ends the others, and another agent starts all of them again, at the last checkpoint:
an agent that starts them again by itself may let them meet at the old addresses (gloo, torch 2.13).
"""

import os

import structlog
import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from services.common.process import die_with_parent
from services.trainer.lora.worker import Order, read_answer, run_worker, with_threads
from services.trainer.lora.world import World, leave_group

log = structlog.get_logger(__name__)

_SHUTDOWN_S = 5


def launch(order: Order) -> None:
    """Run the workers to their end.

    Raises:
        ChildFailedError: they were lost ``max_restarts`` times and once more.
    """
    compute = order.compute
    text = with_threads(order, os.cpu_count() or 1).to_text()
    for restarts in range(compute.max_restarts + 1):
        try:
            elastic_launch(_config(order, restarts), _work)(text, os.getpid())
        except ChildFailedError:
            # An answer is the job's own error: it would only come again.
            if read_answer(order) is not None or restarts == compute.max_restarts:
                raise
            log.warning("training.workers_lost", job=order.job_dir, restarts=restarts, exc_info=True)
        else:
            return


def _config(order: Order, restarts: int) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=order.compute.workers,
        run_id=f"{order.attempt}-{restarts}",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        shutdown_timeout=_SHUTDOWN_S,
    )


def _work(text: str, parent: int) -> None:
    """A worker's whole life; torchrun's agent has said in its environment who it is."""
    die_with_parent(parent)
    order = Order.from_text(text)
    compute = order.compute
    cuda = compute.device == "cuda" or (compute.device == "auto" and torch.cuda.is_available())
    device = "cpu"
    if cuda:
        device = f"cuda:{dist.get_node_local_rank()}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        run_worker(order, World(dist.get_rank(), dist.get_world_size(), device, compute.sharding))
    finally:
        leave_group()
