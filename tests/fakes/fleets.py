"""Several generators of one kind, each on a port of its own, and a fleet that follows them."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from services.common.rpc.client import open_channel
from services.orchestrator.clients.discovery import Discovery
from services.orchestrator.clients.fleet.fleet import Fleet
from services.orchestrator.clients.fleet.generator import FleetGenerator
from services.orchestrator.clients.patience import Patience
from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.ports import AdapterRef, Completion, GenerationItem, Sampling
from tests.fakes.fake_generator import FakeGenerator
from tests.fakes.fake_services import FakeServices

ADAPTER = AdapterRef("r-1-i1-00000000", "1" * 64, "file:///adapters/one")


def items(count: int, characters: int = 20) -> list[GenerationItem]:
    """That many, of prompts as long."""
    prompt = Prompt((Message("user", "P3 ".ljust(characters, "x")),))
    return [GenerationItem(f"t/{n}/0", prompt, Sampling(0.7, 0.95, 96, seed=n)) for n in range(count)]


async def collect(client: FleetGenerator, count: int, adapter: str = "") -> list[Completion]:
    """What comes of ``items(count)``: each once, or AssertionError."""
    found = [completion async for completion in client.generate(items(count), adapter)]
    assert sorted(one.key for one in found) == sorted(item.key for item in items(count))
    return found


def slow(generators: "Generators", latency_s: float = 0.005) -> None:
    """One item at a time, in so many seconds."""
    for server in generators.servers:
        server.generator.latency_s, server.generator.concurrency = latency_s, 1


@dataclass
class Generators:
    """The servers, and a name whose addresses a test may change."""

    servers: list[FakeServices] = field(default_factory=list)
    fleet: Fleet | None = None
    told: list[tuple[str, str]] = field(default_factory=list)

    def __getitem__(self, number: int) -> FakeGenerator:
        return self.servers[number].generator

    def client(self, wait_s: float = 5.0, window: int = 8, fingerprint: str = "") -> FleetGenerator:
        """A run's generator."""
        assert self.fleet is not None
        patience = Patience(wait_s=wait_s, call_s=5.0)
        return FleetGenerator(self.fleet, patience, lambda *what: self.told.append(what), window, fingerprint)

    async def kill(self, number: int) -> None:
        """Cut every call of one server, and let nobody in."""
        await self.servers[number].stop()

    async def revive(self, number: int) -> None:
        """Start it again where it was: empty, like a new process."""
        self[number].restart()
        await self.servers[number].start(int(self.servers[number].target.rsplit(":", 1)[1]))

    def asked(self) -> Counter[str]:
        """How often each item was begun, over all of them."""
        total: Counter[str] = Counter()
        for server in self.servers:
            total += server.generator.asked
        return total

    async def until(self, serving: int) -> None:
        """Wait until the fleet has that many replicas that serve."""
        assert self.fleet is not None
        async with asyncio.timeout(10):
            while len(self.fleet.serving) != serving:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def generators(count: int, interval_s: float = 0.1) -> AsyncIterator[Generators]:
    """``count`` servers, and a fleet with their addresses."""
    found = Generators([FakeServices() for _ in range(count)])
    for server in found.servers:
        await server.start()
    addresses = Discovery(",".join(server.target for server in found.servers))
    found.fleet = Fleet(addresses, lambda address: open_channel(address.target), interval_s, look_s=1.0)
    await found.fleet.start()
    try:
        yield found
    finally:
        await found.fleet.aclose()
        for server in found.servers:
            await server.stop()
