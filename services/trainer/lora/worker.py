"""One of several processes that share a job, and how it answers the process that has started it.

The job's folder is all that they have in common: its spec and checkpoints are read there, its curve,
checkpoints and answers are written there. So workers may come and go, and on several machines the folder is a
shared volume.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import structlog

from services.common.artifacts import ArtifactStore
from services.common.errors import ValignError
from services.common.logs import configure_logging
from services.trainer.compute import Compute
from services.trainer.store import JobFolder, Outcome, write_atomic
from services.trainer.telemetry import from_origin
from services.trainer.types import Progress, TrainedAdapter

if TYPE_CHECKING:
    from services.trainer.lora.world import World

log = structlog.get_logger(__name__)

_ATTEMPT = "attempt"


@dataclass(frozen=True, slots=True)
class Order:
    """What workers are told: the job's folder, the store, how to compute, and which attempt this is."""

    job_dir: str
    artifacts: str
    attempt: str
    log_level: str
    compute: Compute

    def to_text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of ``to_text``."""
        raw = json.loads(text)
        return cls(**{**raw, "compute": Compute(**raw["compute"])})

    @property
    def folder(self) -> JobFolder:
        """The job's files."""
        return JobFolder(Path(self.job_dir))

    @property
    def work(self) -> Path:
        """Folder of what only a running job needs; a cancelled job has none."""
        return self.folder.path / "work"


class SupersededError(RuntimeError):
    """The job was cancelled, or another attempt has begun: this worker must not write any more."""


def begin_attempt(order: Order) -> None:
    """From now on only workers of this attempt write; answers of earlier ones are gone."""
    for answer in order.work.glob("answer-*.json"):
        answer.unlink()
    (order.work / _ATTEMPT).write_text(order.attempt)


def read_answer(order: Order) -> Outcome | None:
    """What the workers have answered, errors first; None if nothing yet."""
    answers = []
    for path in sorted(order.work.glob("answer-*.json")):
        raw = json.loads(path.read_text())
        adapter = TrainedAdapter(**raw["adapter"]) if raw["adapter"] else None
        answers.append(Outcome(adapter, raw["error_code"], raw["error_message"]))
    return next((a for a in answers if a.error_code), answers[0] if answers else None)


def run_worker(order: Order, world: "World") -> None:
    """Train this worker's share; the process group is set up.

    Raises:
        ValignError: of the job; it is the answer too, so that a worker started again has nothing to do.
        SupersededError: the job is no longer this attempt's.
    """
    configure_logging("trainer-worker", order.log_level, "json")
    if read_answer(order) is not None:
        return
    from services.trainer.lora.train import run_share

    answer = order.work / f"answer-{world.rank}.json"
    with from_origin(order.folder), order.folder.progress.open("a") as curve:

        def report(point: Progress) -> None:
            if not world.leads:
                return
            check_attempt(order)
            curve.write(json.dumps(asdict(point)) + "\n")
            curve.flush()

        try:
            adapter = run_share(
                order.folder.read_spec(),
                world,
                order.compute,
                work=order.work,
                checkpoints=order.folder.checkpoints,
                store=ArtifactStore(order.artifacts),
                report=report,
            )
        except ValignError as error:
            log.warning("training.failed", code=error.code, message=error.message, worker=world.rank)
            write_atomic(answer, asdict(Outcome(error_code=error.code, error_message=error.message)))
            raise
        if adapter is not None:
            check_attempt(order)
            write_atomic(answer, asdict(Outcome(adapter=adapter)))


def check_attempt(order: Order) -> None:
    """Raises SupersededError unless the job is still this attempt's."""
    try:
        current = (order.work / _ATTEMPT).read_text()
    except FileNotFoundError:
        current = ""
    if current != order.attempt:
        raise SupersededError(f"attempt {order.attempt} of the job in {order.job_dir} is over")


def with_threads(order: Order, cores: int) -> Order:
    """The order, with the cores shared out where the settings leave the number of threads open."""
    if order.compute.threads:
        return order
    threads = max(1, cores // order.compute.workers)
    return replace(order, compute=replace(order.compute, threads=threads))
