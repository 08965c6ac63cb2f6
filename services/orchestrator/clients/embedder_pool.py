"""The embedder's replicas as one process sees them: their channels, what each works on, which are away.

One pool serves every caller in the process, so that the load of a replica is that of all of them.
"""

import time
from collections.abc import Callable, Sequence

import grpc
import structlog

from services.common.errors import NotReadyError, ValignError
from services.common.pb.embedder.v1 import embedder_pb2_grpc as pb_grpc
from services.orchestrator.clients.discovery import Address, Discovery
from services.orchestrator.embedding_metrics import LOST, REPLICAS

log = structlog.get_logger(__name__)

_FIRST_REST_S = 0.2
_LONGEST_REST_S = 5.0

Open = Callable[[Address], grpc.aio.Channel]


class Replica:
    """One embedder. ``texts`` is the number of texts that this process waits for there."""

    def __init__(self, target: str, channel: grpc.aio.Channel) -> None:
        self.target = target
        self.channel = channel
        self.stub = pb_grpc.EmbedderServiceStub(channel)
        self.texts = 0
        self.gone = False
        self._failures = 0
        self._rests_until = 0.0

    @property
    def healthy(self) -> bool:
        """Not resting after a failure."""
        return not self.gone and time.monotonic() >= self._rests_until

    def answered(self) -> None:
        """It did something: the next failure is a first one again."""
        self._failures = 0
        self._rests_until = 0.0

    def failed(self) -> None:
        """Leave it alone for a while, the longer the more often in a row."""
        rest_s = min(_LONGEST_REST_S, _FIRST_REST_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self._rests_until = time.monotonic() + rest_s


class EmbedderPool:
    """Replicas of one embedder.

    Args:
        name: what metrics and log lines call it, for example "embedder".
        discovery: where they are; None for the fixed ``replicas``.
        open_address: opens a channel; the pool closes it.
        replicas: those that are there already; their channels are the caller's to close.
    """

    def __init__(
        self,
        name: str,
        discovery: Discovery | None = None,
        open_address: Open | None = None,
        replicas: Sequence[Replica] = (),
    ) -> None:
        self.name = name
        self._discovery = discovery
        self._open = open_address
        self._fixed = tuple(replicas)
        self._found: dict[Address, Replica] = {}
        self._ending: list[Replica] = []

    async def members(self) -> tuple[Replica, ...]:
        """Every replica that is known now, healthy or not.

        Raises:
            NotReadyError: there is none: the headless name has no address yet.
        """
        if self._discovery is not None and self._open is not None:
            addresses = await self._discovery.addresses()
            for address in addresses:
                if address not in self._found:
                    self._found[address] = Replica(address.target, self._open(address))
            for address in self._found.keys() - set(addresses):
                # It ends, and finishes its calls first: what it works on is not taken away from it.
                replica = self._found.pop(address)
                replica.gone = True
                self._ending.append(replica)
            await self._close_idle()
        members = (*self._fixed, *self._found.values())
        if not members:
            raise NotReadyError(f"no {self.name} is known: its name has no address; is a replica ready?")
        self._tell(members)
        return members

    def lost(self, replica: Replica, error: ValignError, texts: int) -> None:
        """A replica failed; ``texts`` of its work go back to whoever takes them."""
        replica.failed()
        LOST.labels(self.name).inc()
        log.warning(
            "embedder.replica_lost",
            embedder=self.name,
            target=replica.target,
            code=error.code.value,
            reason=error.message,
            texts_taken_back=texts,
        )

    async def aclose(self) -> None:
        """Close the channels that the pool has opened."""
        for replica in (*self._found.values(), *self._ending):
            await replica.channel.close()
        self._found.clear()
        self._ending.clear()

    async def _close_idle(self) -> None:
        idle = [replica for replica in self._ending if not replica.texts]
        self._ending = [replica for replica in self._ending if replica.texts]
        for replica in idle:
            await replica.channel.close()

    def _tell(self, members: Sequence[Replica]) -> None:
        healthy = sum(one.healthy for one in members)
        REPLICAS.labels(self.name, "healthy").set(healthy)
        REPLICAS.labels(self.name, "away").set(len(members) - healthy)
