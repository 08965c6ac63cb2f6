"""Fills batches from all callers.

Each call has a lane. A batch begins with the lane whose turn it is and is filled up from the
others in turn, so that a caller with one text never waits behind all of a caller with 100,000.
Within a lane, the texts of one submission are taken longest first: texts of a similar length
share a batch, and little is spent on padding.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from types import TracebackType

import numpy as np
import structlog

from services.common import usage
from services.common.errors import NotReadyError, OverloadedError
from services.embedder.metrics import (
    BATCH_TEXTS,
    CPU_SECONDS,
    ENCODE_SECONDS,
    FAILURES,
    GPU_SECONDS,
    QUEUED,
    TEXTS,
    TRUNCATED,
)
from services.embedder.types import Encoded, Encoder

log = structlog.get_logger(__name__)


class _Submission:
    """Texts that were handed in together, and the rows that are there already."""

    __slots__ = ("account", "future", "missing", "order", "rows", "taken", "texts", "truncated")

    def __init__(self, texts: Sequence[str], dimension: int, account: usage.Usage) -> None:
        self.account = account
        self.texts = texts
        self.order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
        self.taken = 0
        self.missing = len(texts)
        self.rows = np.empty((len(texts), dimension), dtype=np.float32)
        self.truncated = np.zeros(len(texts), dtype=np.bool_)
        self.future: asyncio.Future[Encoded] = asyncio.get_running_loop().create_future()


class Lane:
    """One call's place in the queue. Use as a context manager: leaving drops what has not been encoded."""

    def __init__(self, batcher: "Batcher") -> None:
        self._batcher = batcher
        self._submissions: deque[_Submission] = deque()
        self._account = usage.account()
        self.waiting = 0

    def submit(self, texts: Sequence[str]) -> "asyncio.Future[Encoded]":
        """Queue at least one text; the future has their rows in the same order, or the encoder's error."""
        submission = _Submission(texts, self._batcher.encoder.info.dimension, self._account)
        self._submissions.append(submission)
        self.waiting += len(texts)
        self._batcher._added(self, len(texts))
        return submission.future

    def take(self, limit: int) -> list[tuple[_Submission, int]]:
        """Remove and return up to ``limit`` texts, as submission and index in it."""
        taken: list[tuple[_Submission, int]] = []
        while self._submissions and len(taken) < limit:
            submission = self._submissions[0]
            indices = submission.order[submission.taken : submission.taken + limit - len(taken)]
            submission.taken += len(indices)
            taken += [(submission, index) for index in indices]
            if submission.taken == len(submission.texts):
                self._submissions.popleft()
        self.waiting -= len(taken)
        return taken

    def __enter__(self) -> "Lane":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._batcher._dropped(self, self.waiting)
        self.waiting = 0
        self._submissions.clear()


class Batcher:
    """Runs the encoder in ``executor``'s one thread on batches from all lanes.

    Args:
        encoder: called from that thread alone.
        batch_size: most texts in one call of the encoder.
        max_wait_s: longest time that an idle encoder waits for a batch to fill.
        max_queued_texts: no new lane opens while this many texts wait.
    """

    def __init__(
        self,
        encoder: Encoder,
        executor: Executor,
        *,
        batch_size: int,
        max_wait_s: float,
        max_queued_texts: int,
    ) -> None:
        self.encoder = encoder
        self._executor = executor
        self._batch_size = batch_size
        self._max_wait_s = max_wait_s
        self._max_queued_texts = max_queued_texts
        self._lanes: deque[Lane] = deque()  # those with waiting texts, next turn first
        self._queued = 0
        self._arrival = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        """Texts that wait."""
        return self._queued

    def start(self) -> None:
        """Begin to encode; call it in the running loop."""
        self._task = asyncio.create_task(self._run(), name="embedder.batcher")

    async def stop(self) -> None:
        """Encode no more. Calls should have drained before; what still waits fails with NotReadyError."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for lane in self._lanes:
            _fail(lane.take(lane.waiting), NotReadyError("the embedder is stopping"))
        self._lanes.clear()

    def open(self) -> Lane:
        """A lane for one call.

        A call that was let in is never refused later, only slowed: it holds a bounded number of texts.

        Raises:
            OverloadedError: too many texts wait already.
        """
        if self._queued >= self._max_queued_texts:
            raise OverloadedError(
                f"{self._queued} texts wait for the encoder; the limit is {self._max_queued_texts}."
                " Try again later",
                details={"queued_texts": self._queued},
            )
        return Lane(self)

    def _added(self, lane: Lane, count: int) -> None:
        if lane not in self._lanes:
            self._lanes.append(lane)
        self._count(count)
        self._arrival.set()

    def _dropped(self, lane: Lane, count: int) -> None:
        if lane in self._lanes:
            self._lanes.remove(lane)
        self._count(-count)

    def _count(self, change: int) -> None:
        self._queued += change
        QUEUED.set(self._queued)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wait_for_texts()
            batch = self._next_batch()
            if not batch:
                continue
            texts = [submission.texts[index] for submission, index in batch]
            started, cpu_started = time.perf_counter(), time.process_time()
            try:
                encoded = await loop.run_in_executor(self._executor, self.encoder.encode, texts)
            except asyncio.CancelledError:
                _fail(batch, NotReadyError("the embedder is stopping"))
                raise
            except Exception as error:
                log.exception("encoder.failed", texts=len(texts))
                FAILURES.inc()
                _fail(batch, error)
                continue
            seconds = time.perf_counter() - started
            ENCODE_SECONDS.observe(seconds)
            gpu_s = 0.0 if self.encoder.info.device == "cpu" else seconds
            _charge(batch, time.process_time() - cpu_started, gpu_s)
            BATCH_TEXTS.observe(len(texts))
            TEXTS.inc(len(texts))
            TRUNCATED.inc(int(encoded.truncated.sum()))
            _deliver(batch, encoded)

    async def _wait_for_texts(self) -> None:
        """Return when there is a full batch, or some text has waited for ``max_wait_s``."""
        while not self._queued:
            self._arrival.clear()
            await self._arrival.wait()
        deadline = time.monotonic() + self._max_wait_s
        while self._queued < self._batch_size and (left_s := deadline - time.monotonic()) > 0:
            self._arrival.clear()
            try:
                await asyncio.wait_for(self._arrival.wait(), left_s)
            except TimeoutError:
                return

    def _next_batch(self) -> list[tuple[_Submission, int]]:
        batch: list[tuple[_Submission, int]] = []
        while self._lanes and len(batch) < self._batch_size:
            lane = self._lanes.popleft()
            batch += lane.take(self._batch_size - len(batch))
            if lane.waiting:
                self._lanes.append(lane)
        self._count(-len(batch))
        return batch


def _charge(batch: list[tuple[_Submission, int]], cpu_s: float, gpu_s: float) -> None:
    CPU_SECONDS.inc(cpu_s)
    GPU_SECONDS.inc(gpu_s)
    for submission, _ in batch:
        submission.account.add(cpu_s / len(batch), gpu_s / len(batch))


def _deliver(batch: list[tuple[_Submission, int]], encoded: Encoded) -> None:
    for position, (submission, index) in enumerate(batch):
        submission.rows[index] = encoded.rows[position]
        submission.truncated[index] = encoded.truncated[position]
        submission.missing -= 1
        if not submission.missing and not submission.future.done():
            submission.future.set_result(Encoded(submission.rows, submission.truncated))


def _fail(batch: list[tuple[_Submission, int]], error: Exception) -> None:
    for submission, _ in batch:
        if not submission.future.done():
            submission.future.set_exception(error)
            # A caller that is gone reads no result; asyncio would complain about that.
            submission.future.exception()
