"""The embedder port over gRPC: one embedder, or several replicas of it.

Batches of a request go to the healthy replica with the fewest texts in hand. What a replica that dies has not
done goes to another; rows that it has sent stay. Every row of a request comes from one encoder.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import grpc
import numpy as np

from services.common.errors import InternalError, NotReadyError, ValignError
from services.common.pb.embedder.v1 import embedder_pb2 as pb
from services.common.rpc.client import translated
from services.orchestrator.clients.embedder_pool import EmbedderPool, Replica
from services.orchestrator.clients.embedder_work import Job, Seen, Work, require_same
from services.orchestrator.clients.parts import in_parts
from services.orchestrator.clients.patience import OnWaiting, Patience, Waiter, can_pass, no_one_told
from services.orchestrator.ports import Embeddings, EncoderInfo

SERVICE = "embedder"
_MAX_STREAM_S = 3600.0
# Calls of one request that one replica has at once: it encodes the one while the other travels.
_CALLS_A_REPLICA = 2
# After this a request looks whether a replica that was away is back.
_LOOK_AGAIN_S = 1.0
# What the others get to say who they are, once one has.
_GRACE_S = 2.0


class GrpcEmbedder:
    """Calls wait for an embedder that is away; a stream that breaks goes on behind its last row."""

    def __init__(
        self,
        replicas: grpc.aio.Channel | EmbedderPool,
        patience: Patience | None = None,
        on_waiting: OnWaiting = no_one_told,
        service: str = SERVICE,
    ) -> None:
        """``replicas``: a channel to the only one, or all of them. ``service`` is what ``on_waiting`` and
        errors call it."""
        if isinstance(replicas, EmbedderPool):
            self._pool = replicas
        else:
            self._pool = EmbedderPool(service, replicas=[Replica(service, replicas)])
        self._patience = patience or Patience()
        self._on_waiting = on_waiting
        self._service = service

    async def describe(self) -> EncoderInfo:
        """Identity of the encoder. PreconditionError if the replicas that answer have not all the same."""
        waiter = Waiter(self._service, self._patience, self._on_waiting)
        pressing = False
        while True:
            try:
                members = await self._pool.members()
                healthy = [one for one in members if one.healthy]
                return await self._ask(members if pressing or not healthy else healthy)
            except ValignError as error:
                await waiter.pause(error)
                pressing = True

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Rows in the order of the texts, shape (n, dimension), float32.

        Raises:
            PreconditionError: two replicas have different encoders.
            NotReadyError: no replica was there, for as long as ``patience`` says.
        """
        if not texts:
            return Embeddings(rows=np.zeros((0, 0), dtype=np.float32))
        work = Work(self._service, texts)
        waiter = Waiter(self._service, self._patience, self._on_waiting)
        running: dict[asyncio.Task[ValignError | None], tuple[Replica, Job]] = {}
        # Calls that failed since anything was done, and the last one's error.
        failures = 0
        failure: ValignError = NotReadyError(f"every replica of the {self._service} is away")
        try:
            while work.pending or running:
                try:
                    members = await self._pool.members()
                except NotReadyError as error:
                    members, failure = (), error
                usable = [one for one in members if one.healthy]
                if not running and (not usable or failures >= len(members)):
                    await waiter.pause(failure)
                    usable, failures = list(members), 0
                    if not usable:
                        continue
                self._hand_out(work, usable, running, waiter)
                if not running:
                    continue
                timeout_s = _LOOK_AGAIN_S if work.pending else None
                done, _ = await asyncio.wait(running, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    replica, job = running.pop(task)
                    failed = task.result()
                    failures = 0 if job.done else failures
                    if failed is not None:
                        failures, failure = failures + 1, failed
                        self._pool.lost(replica, failed, work.take_back(job))
            return work.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _hand_out(
        self,
        work: Work,
        usable: Sequence[Replica],
        running: dict[asyncio.Task[ValignError | None], tuple[Replica, Job]],
        waiter: Waiter,
    ) -> None:
        """Start calls until nothing is left to do, or every usable replica has its share."""
        while work.pending:
            busy = [replica for replica, _ in running.values()]
            free = [one for one in usable if busy.count(one) < _CALLS_A_REPLICA]
            if not free:
                return
            replica = min(free, key=lambda one: one.texts)
            job = work.next(len(usable))
            # Counted here and not in the task, which begins later: the next choice must see it.
            replica.texts += len(job)
            task = asyncio.create_task(self._call(work, job, replica, waiter), name="embedder.call")
            running[task] = (replica, job)
            task.add_done_callback(partial(_put_down, replica, len(job)))

    async def _call(self, work: Work, job: Job, replica: Replica, waiter: Waiter) -> ValignError | None:
        """One call of one replica. Returns the error that another replica, or waiting, can cure."""
        call = None
        try:
            with translated(replica.target):
                call = replica.stub.Embed(_requests(work.texts[job.start : job.stop]), timeout=_MAX_STREAM_S)
                async for reply in call:
                    fingerprint = reply.fingerprint or (await self._describe(replica)).fingerprint
                    work.put(job, reply, Seen(replica.target, fingerprint))
                    replica.answered()
                    waiter.progress()
        except ValignError as error:
            if can_pass(error):
                return error
            raise
        finally:
            if call is not None:
                call.cancel()
        if job.done < len(job):
            raise InternalError(f"the {self._service} returned {job.done} rows for {len(job)} texts")
        return None

    async def _ask(self, replicas: Sequence[Replica]) -> EncoderInfo:
        """What all of them say that answer in time; the error of one if none does."""
        asked = {asyncio.create_task(self._describe(one)): one for one in replicas}
        pending = set(asked)
        try:
            while pending and not any(_answered(task) for task in asked):
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if pending:
                _, pending = await asyncio.wait(pending, timeout=_GRACE_S)
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        found: list[tuple[Replica, EncoderInfo]] = []
        failures: list[ValignError] = []
        for task, replica in asked.items():
            if task in pending:
                replica.failed()
                continue
            raised = task.exception()
            if raised is None:
                replica.answered()
                found.append((replica, task.result()))
                continue
            if not isinstance(raised, ValignError) or not can_pass(raised):
                raise raised
            replica.failed()
            failures.append(raised)
        if not found:
            raise failures[0]
        first, info = found[0]
        for replica, other in found[1:]:
            require_same(
                self._service, Seen(first.target, info.fingerprint), Seen(replica.target, other.fingerprint)
            )
        return info

    async def _describe(self, replica: Replica) -> EncoderInfo:
        with translated(replica.target):
            reply = await replica.stub.Describe(pb.DescribeRequest(), timeout=self._patience.call_s)
        return EncoderInfo(
            model=reply.model,
            dimension=reply.dimension,
            fingerprint=reply.fingerprint,
            max_tokens=reply.max_tokens,
        )


def _answered(task: asyncio.Task[EncoderInfo]) -> bool:
    return task.done() and task.exception() is None


def _put_down(replica: Replica, texts: int, _task: asyncio.Task[ValignError | None]) -> None:
    replica.texts -= texts


async def _requests(texts: Sequence[str]) -> AsyncIterator[pb.EmbedRequest]:
    for part in in_parts(texts, lambda text: 8 + 4 * len(text)):
        yield pb.EmbedRequest(texts=part)
