"""Several workers on a Ray cluster, by Ray Train's TorchTrainer.

If one is lost, Ray Train ends the others and starts as many as there is room for, from ``min_workers`` to
``workers``; they go on at the last checkpoint in the job's folder. Ray's own checkpoints are not used: ours
are the same for one process and for many.
"""

import socket
from collections.abc import Mapping
from typing import Any

import ray
import torch.distributed as dist
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from services.common.errors import NotReadyError, PreconditionError
from services.trainer.compute import Compute
from services.trainer.lora.worker import Order, run_worker
from services.trainer.lora.world import World

_REACH_S = 20.0
_OBJECT_STORE_BYTES = 100 * 1024 * 1024


def launch(order: Order) -> None:
    """Run the workers to their end. A cluster that was started for the job is stopped after it.

    Raises:
        NotReadyError: no Ray cluster answers.
        PreconditionError: the cluster of the job's own will never have room for its fewest workers.
        TrainingFailedError: workers were lost ``max_restarts`` times and once more.
    """
    compute = order.compute
    _connect(compute)
    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        cuda = compute.device == "cuda" or (compute.device == "auto" and resources.get("GPU", 0) > 0)
        if not compute.ray_address:
            check_room(compute.min_workers, resources, "GPU" if cuda else "CPU")
        elastic = compute.min_workers < compute.workers
        workers: Any = (compute.min_workers, compute.workers) if elastic else compute.workers
        trainer = TorchTrainer(
            _work,
            train_loop_config={"order": order.to_text()},
            torch_config=TorchConfig(backend="nccl" if cuda else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=cuda,
            ),
            run_config=RunConfig(
                name=order.attempt,
                storage_path=str(order.work / "ray"),
                failure_config=FailureConfig(max_failures=compute.max_restarts),
            ),
        )
        trainer.fit()
    finally:
        ray.shutdown()


def check_room(fewest: int, resources: Mapping[str, float], unit: str) -> None:
    """PreconditionError if a cluster of this machine alone has less than a CPU, or GPU, a worker.

    No machine will join it, and Ray Train would wait for one without an end.
    """
    room = int(resources.get(unit, 0))
    if fewest > room:
        raise PreconditionError(
            f"the job needs {fewest} workers at the fewest (VALIGN_TRAINER_MIN_WORKERS), each a {unit}, and"
            f" the Ray cluster of this machine has {room}; lower it, or name a larger cluster in"
            " VALIGN_TRAINER_RAY_ADDRESS"
        )


def _connect(compute: Compute) -> None:
    try:
        if compute.ray_address:
            _reach(compute.ray_address)
            ray.init(address=compute.ray_address, configure_logging=False)
        else:
            # Nothing goes through the object store but the order.
            ray.init(
                address="local",
                num_cpus=compute.workers + 1 if compute.device == "cpu" else None,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                configure_logging=False,
            )
    except (OSError, ValueError, RuntimeError) as error:
        where = f"at {compute.ray_address}" if compute.ray_address else "on this machine could be started"
        raise NotReadyError(
            f"no Ray cluster {where}: {str(error)[:300]}; see VALIGN_TRAINER_RAY_ADDRESS"
        ) from error


def _reach(address: str) -> None:
    """Raises OSError if nobody listens there: Ray's own client goes on asking for many minutes."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()


def _work(config: dict[str, str]) -> None:
    """A worker's whole life; Ray Train has set up the process group."""
    order = Order.from_text(config["order"])
    size = dist.get_world_size() if dist.is_initialized() else 1
    rank = dist.get_rank() if size > 1 else 0
    run_worker(order, World(rank, size, str(get_device()), order.compute.sharding))
