"""Adapters in a registry, and generator replicas on ports of their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.common.rpc.client import open_channel
from services.orchestrator.clients.replica import GrpcReplica
from services.orchestrator.registry.records import AdapterRecord, AdapterState, NewAdapter
from services.orchestrator.store.registry import SqlRegistry
from tests.fakes.fake_generator import FINGERPRINT
from tests.fakes.fake_services import FakeServices

_WAY = (AdapterState.PROVEN, AdapterState.CANDIDATE)
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def new_adapter(name: str, **changes: Any) -> NewAdapter:
    """An adapter of run r-1 that fits the fake generator."""
    fields: dict[str, Any] = {
        "name": name,
        "sha256": (name.encode().hex() * 64)[:64],
        "uri": f"file:///adapters/{name}",
        "run_id": "r-1",
        "arm": "",
        "iteration": 1,
        "base_model": "fake/model",
        "base_fingerprint": FINGERPRINT,
        "rank": 8,
        "approval_required": False,
        "created_by": "key:ana",
    }
    return NewAdapter(**fields | changes)


def add(
    registry: SqlRegistry, *names: str, state: AdapterState = AdapterState.CANDIDATE, **changes: Any
) -> None:
    """Register adapters and bring them to a state that a run can bring them to."""
    for name in names:
        registry.register(new_adapter(name, **changes))
        for step in _WAY:
            if state in _WAY and _WAY.index(step) <= _WAY.index(state):
                registry.move(name, step, "as the test wants it")
        if state in (AdapterState.RETIRED, AdapterState.REJECTED):
            registry.move(name, state, "as the test wants it")


def record(
    name: str, state: AdapterState = AdapterState.RETIRED, age_days: float = 100, **changes: Any
) -> AdapterRecord:
    """A record that last changed so many days before NOW."""
    new = new_adapter(name)
    time = NOW - timedelta(days=age_days)
    fields = {field: getattr(new, field) for field in NewAdapter.__slots__}
    fields |= {"state": state, "reason": "", "create_time": time, "update_time": time}
    return AdapterRecord(**fields | changes)


@dataclass
class Fleet:
    """Fake generators, each behind a real gRPC server on a port of its own."""

    services: list[FakeServices] = field(default_factory=list)
    replicas: list[GrpcReplica] = field(default_factory=list)

    def generator(self, number: int) -> Any:
        """The fake behind one replica."""
        return self.services[number].generator

    @property
    def targets(self) -> list[str]:
        """host:port of each."""
        return [replica.target for replica in self.replicas]

    def served(self, route: str = "valign") -> list[str | None]:
        """The adapter that each replica serves under a route; None if it was never set."""
        return [
            one.generator.routes[route].adapter if route in one.generator.routes else None
            for one in self.services
        ]

    async def stop(self, number: int) -> None:
        """Cut one off."""
        await self.services[number].stop()

    async def start_again(self, number: int) -> None:
        """A new, empty process at the same address."""
        port = int(self.services[number].target.rpartition(":")[2])
        self.services[number].generator.restart()
        await self.services[number].start(port)


@contextlib.asynccontextmanager
async def fleet(count: int = 3) -> AsyncIterator[Fleet]:
    """So many replicas, served while the block runs."""
    made = Fleet()
    for _ in range(count):
        services = FakeServices()
        await services.start()
        made.services.append(services)
        made.replicas.append(GrpcReplica(services.target, open_channel(services.target), call_s=2.0))
    try:
        yield made
    finally:
        await asyncio.gather(*(replica.aclose() for replica in made.replicas))
        await asyncio.gather(*(services.stop() for services in made.services))
