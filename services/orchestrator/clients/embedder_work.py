"""One request while replicas work on it: what is to do, what is there, and whose rows they are."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.errors import InternalError, PreconditionError
from services.common.pb.embedder.v1 import embedder_pb2 as pb
from services.orchestrator.ports import Embeddings

MOST_TEXTS = 1024
"""Texts in one call: two of the embedder's windows."""

FEWEST_TEXTS = 64
"""Where a request is split for the sake of several replicas: two of the encoder's batches."""


@dataclass(slots=True)
class Job:
    """Texts ``start`` to ``stop`` of the request, of which the first ``done`` have their rows."""

    start: int
    stop: int
    done: int = 0

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Seen:
    """An encoder and the replica that showed it."""

    target: str
    fingerprint: str


def require_same(name: str, first: Seen, other: Seen) -> None:
    """PreconditionError if two replicas have not the same encoder; it names both."""
    if first.fingerprint == other.fingerprint:
        return
    raise PreconditionError(
        f"replicas of the {name} serve different encoders: {first.target} has fingerprint"
        f" {first.fingerprint[:12]}…, {other.target} has {other.fingerprint[:12]}…; rows of two encoders are"
        " never mixed. Start all of them with the same model and precision, then repeat this",
        details={
            "replicas": {first.target: first.fingerprint, f"{other.target} (then)": other.fingerprint}
            if first.target == other.target
            else {first.target: first.fingerprint, other.target: other.fingerprint}
        },
    )


class Work:
    """The texts of one request; rows come in any order of jobs, and lie in the order of the texts."""

    def __init__(self, name: str, texts: Sequence[str]) -> None:
        self.texts = texts
        self._name = name
        self._pending: deque[Job] = deque([Job(0, len(texts))])
        self._rows: NDArray[np.float32] | None = None
        self._truncated: list[int] = []
        self._first: Seen | None = None
        self._named = True

    @property
    def pending(self) -> int:
        """Texts that nobody works on."""
        return sum(len(job) for job in self._pending)

    def next(self, replicas: int) -> Job:
        """Texts for one call, in order; the fewer the less is left, so that replicas end together.

        Guided self-scheduling (Polychronopoulos and Kuck 1987), with a quarter of each replica's share.
        """
        share = -(-self.pending // (4 * replicas)) if replicas > 1 else MOST_TEXTS
        size = min(MOST_TEXTS, max(FEWEST_TEXTS, share))
        job = self._pending.popleft()
        if len(job) > size:
            self._pending.appendleft(Job(job.start + size, job.stop))
            job = Job(job.start, job.start + size)
        return job

    def take_back(self, job: Job) -> int:
        """What a job has not done is to be done by another; the number of those texts."""
        left = Job(job.start + job.done, job.stop)
        if len(left):
            self._pending.appendleft(left)
        return len(left)

    def put(self, job: Job, reply: pb.EmbedResponse, seen: Seen) -> None:
        """Keep the rows of one message.

        Raises:
            InternalError: it is not the part that was due.
            PreconditionError: another encoder made these than made the rows before.
        """
        self._first = self._first or seen
        require_same(self._name, self._first, seen)
        self._named = self._named and bool(reply.fingerprint)
        rows = _rows(self._name, reply, job)
        if self._rows is None:
            self._rows = np.empty((len(self.texts), rows.shape[1]), dtype=np.float32)
        at = job.start + job.done
        self._rows[at : at + len(rows)] = rows
        self._truncated += [job.start + index for index in reply.truncated]
        job.done += len(rows)

    def result(self) -> Embeddings:
        """All rows. Their encoder is named if every message named it."""
        if self._rows is None or self._first is None:
            raise InternalError(f"the {self._name} returned no row for {len(self.texts)} texts")
        fingerprint = self._first.fingerprint if self._named else ""
        return Embeddings(self._rows, tuple(sorted(self._truncated)), fingerprint)


def _rows(name: str, reply: pb.EmbedResponse, job: Job) -> NDArray[np.float32]:
    if reply.offset != job.done:
        raise InternalError(f"the {name} sent row {reply.offset} where row {job.done} was due")
    if len(reply.rows) != reply.count * reply.dimension * 4:
        raise InternalError(
            f"the {name} sent {len(reply.rows)} bytes for {reply.count} rows of {reply.dimension} float32"
        )
    if job.done + reply.count > len(job):
        raise InternalError(f"the {name} sent {job.done + reply.count} rows for {len(job)} texts")
    return np.frombuffer(reply.rows, dtype="<f4").reshape(reply.count, reply.dimension).astype(np.float32)
