"""One replica as the fleet knows it: whether it is well, its model, the adapters that it has proven."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.errors import ErrorCode, NotReadyError, PreconditionError, ValignError
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as pb_grpc
from services.common.rpc.client import call
from services.common.rpc.fence import epoch_metadata
from services.common.rpc.status import CODE_TRAILER
from services.orchestrator.clients import generator_wire as wire
from services.orchestrator.clients.discovery import Address
from services.orchestrator.clients.fleet import metrics
from services.orchestrator.clients.replica import GrpcReplica
from services.orchestrator.clients.traffic import GrpcTraffic
from services.orchestrator.ports import AdapterRef, GeneratorInfo, SwapProof

LOOK_S = 5.0
"""Deadline of a look, in seconds: a replica whose machine is busy may take a while."""

_LOOKS_MISSED = 3


class State(StrEnum):
    """What a replica may be used for."""

    UNKNOWN = "unknown"
    """Not looked at since it came, or since a call to it failed: it gets no work."""
    SERVING = "serving"
    DRAINING = "draining"
    """It answers, and takes no new work (it stops, or its engine starts): what it has, it may finish."""
    AWAY = "away"
    """It cannot be reached: what it had is taken back."""


class Member:
    """One replica. Lives in one event loop; ``close`` ends its connection."""

    def __init__(self, address: Address, channel: grpc.aio.Channel, look_s: float = LOOK_S) -> None:
        """``look_s``: deadline of each question of a look, in seconds."""
        self.target = address.target
        self.stub = pb_grpc.GeneratorServiceStub(channel)
        self.replica = GrpcReplica(address.target, channel, metadata=epoch_metadata)
        self.traffic = GrpcTraffic(address.target, channel)
        self.state = State.UNKNOWN
        self.info: GeneratorInfo | None = None
        self.held: dict[str, str] = {}
        """Adapters in its engine (name -> sha256). A generator holds what it has proven and nothing else."""
        self.incarnation = 0
        """Rises whenever it may have become another process."""
        self.error = "it has not been looked at yet"
        self.leaving = False
        """Its address is not among the replicas' any more: it finishes what it has."""
        self._health = health_pb2_grpc.HealthStub(channel)
        self._look_s = look_s
        self._missed = 0
        self._in_flight = 0
        self._orders = 0
        self._label = metrics.join(address.target)

    @property
    def in_flight(self) -> int:
        """Items of every call that have not come back."""
        return self._in_flight

    @property
    def busy(self) -> bool:
        """Whether something that was asked of it has not come back: items, loads or removals."""
        return bool(self._in_flight or self._orders)

    def info_now(self) -> GeneratorInfo:
        """Who it is; NotReadyError if that is not known."""
        if self.info is None:
            raise NotReadyError(f"{self.target} has not said yet what it serves")
        return self.info

    def given(self, count: int) -> None:
        """It has got that many items more."""
        self._in_flight += count
        metrics.IN_FLIGHT.labels(self._label).inc(count)

    def gave(self, *, taken_back: int = 0) -> None:
        """One item has come back, or that many were taken back."""
        count = taken_back or 1
        self._in_flight -= count
        metrics.IN_FLIGHT.labels(self._label).dec(count)
        metrics.ITEMS.labels(self._label, "taken_back" if taken_back else "done").inc(count)

    def suspect(self, error: ValignError) -> None:
        """A call to it failed: it gets no work until it has been looked at, and whom it was may be gone."""
        self._become(State.UNKNOWN, error.message)
        self.held.clear()
        self.incarnation += 1

    async def look(self) -> bool:
        """Ask once how it is, and what it serves and holds; whether its state has changed."""
        before, missed = self.state, self._missed
        try:
            request = health_pb2.HealthCheckRequest()
            answer = await call(self._health.Check, request, timeout_s=self._look_s)
            if answer.status != health_pb2.HealthCheckResponse.SERVING:
                raise NotReadyError("it answers that it does not serve; it starts, or stops")
            await self._learn()
        except ValignError as error:
            self._failed(error, missed)
        else:
            self._missed = 0
            self._become(State.SERVING, "")
        return self.state is not before

    async def _learn(self) -> None:
        described = await call(self.stub.Describe, pb.DescribeRequest(), timeout_s=self._look_s)
        listed = await call(self.stub.ListAdapters, pb.ListAdaptersRequest(), timeout_s=self._look_s)
        info = wire.generator_info(described)
        if self.info is not None and self.info.fingerprint != info.fingerprint:
            self.incarnation += 1
        self.info = info
        self.held = {one.name: one.sha256 for one in listed.adapters}

    def _failed(self, error: ValignError, missed: int) -> None:
        """``missed``: what had been missed in a row when the look began."""
        if _answered(error):
            self._missed = 0
            self._become(State.DRAINING, error.message)
            return
        if self._missed == missed:
            # Looks go on beside each other, of the watch and of every call: those that one stall has stopped
            # are missed once.
            self._missed += 1
        # A deadline may have been missed by a machine that is busy; a refused connection says it all.
        if error.code is ErrorCode.TIMEOUT and self._missed < _LOOKS_MISSED:
            return
        if self.state is not State.AWAY:
            self.held.clear()
            self.incarnation += 1
        self._become(State.AWAY, error.message)

    def _become(self, state: State, error: str) -> None:
        if self.leaving and state is State.SERVING:
            state, error = State.DRAINING, "it is not among the replicas any more"
        self.state, self.error = state, error
        metrics.UP.labels(self._label).set(state is State.SERVING)

    async def load(self, adapter: AdapterRef) -> SwapProof:
        """Load and prove; PreconditionError: it refuses the adapter. Only then it counts as held."""
        incarnation = self.incarnation
        with self._ordered():
            proof = await self.replica.load(adapter)
        if incarnation != self.incarnation:
            raise NotReadyError(f"{self.target} went away while it loaded adapter {adapter.name}")
        self.held[adapter.name] = adapter.sha256
        return proof

    async def unload(self, name: str) -> None:
        """Remove an adapter; one that is not there is no error."""
        self.held.pop(name, None)
        with self._ordered():
            await self.replica.unload(name)

    @contextmanager
    def _ordered(self) -> Iterator[None]:
        self._orders += 1
        try:
            yield
        finally:
            self._orders -= 1

    def leave(self) -> None:
        """It is not among the replicas any more."""
        self.leaving = True
        self._become(self.state, self.error)

    async def close(self) -> None:
        """End the connection, and with it what is still in flight on it."""
        self._become(State.AWAY, "the connection to it is closed")
        metrics.leave(self._label)
        await self.replica.aclose()


def check_one_model(members: Sequence[Member]) -> None:
    """PreconditionError if these replicas serve different base models; it names one of each."""
    by_model = {member.info.fingerprint: member for member in members if member.info is not None}
    if len(by_model) > 1:
        told = ", ".join(f"{one.target}: {of[:12]}…" for of, one in sorted(by_model.items()))
        raise PreconditionError(
            f"the replicas of the generator serve different base models ({told}); give all of them the"
            " same model and revision"
        )


def _answered(error: ValignError) -> bool:
    """Whether the service itself said so, and not what stands between."""
    cause = error.__cause__
    if not isinstance(cause, grpc.aio.AioRpcError):
        return True
    return any(key == CODE_TRAILER for key, _ in cause.trailing_metadata() or ())
