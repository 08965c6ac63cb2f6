"""Where the replicas are: lists, names that are asked again, replicas that come and go."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from services.common.errors import NotReadyError, PreconditionError
from services.common.rpc.client import open_channel
from services.orchestrator.clients.discovery import Address, Discovery
from services.orchestrator.clients.fleet import metrics
from services.orchestrator.clients.fleet.fleet import Fleet, FleetReplicas
from services.orchestrator.clients.fleet.generator import FleetGenerator
from services.orchestrator.clients.fleet.probe import FleetProbe
from services.orchestrator.clients.patience import Patience
from tests.fakes.fake_services import FakeServices
from tests.fakes.fleets import ADAPTER, items

NAME = "dns:///generators.test:50051"


class Names:
    """A resolver whose answers a test sets; None is a DNS server that is away."""

    def __init__(self, *hosts: str) -> None:
        self.hosts: list[str] | None = list(hosts)

    async def __call__(self, host: str, port: int) -> list[str]:
        assert (host, port) == ("generators.test", 50051)
        if self.hosts is None:
            raise OSError("the DNS server is away")
        return self.hosts


@contextlib.asynccontextmanager
async def following(names: Names, servers: dict[str, str]) -> AsyncIterator[Fleet]:
    """A fleet of the name; its addresses lead to servers of this machine."""

    def opened(address: Address) -> object:
        return open_channel(servers[address.target])

    fleet = Fleet(Discovery(NAME, names, every_s=0.0), opened, interval_s=0.05)  # type: ignore[arg-type]
    await fleet.start()
    try:
        yield fleet
    finally:
        await fleet.aclose()


@pytest.fixture
async def servers() -> AsyncIterator[dict[str, FakeServices]]:
    found = {f"10.0.0.{n}:50051": FakeServices() for n in (1, 2, 3)}
    for server in found.values():
        await server.start()
    yield found
    for server in found.values():
        await server.stop()


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_name_gains_and_loses_addresses_the_fleet_follows(servers: dict[str, FakeServices]) -> None:
    names = Names("10.0.0.1")
    async with following(names, {target: one.target for target, one in servers.items()}) as fleet:
        assert [one.target for one in fleet.serving] == ["10.0.0.1:50051"]
        names.hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
        await until(lambda: len(fleet.serving) == 3)
        assert [one.target for one in FleetReplicas(fleet)] == list(servers)
        names.hosts = ["10.0.0.3"]
        await until(lambda: len(fleet.members) == 1)
        assert [one.target for one in fleet.serving] == ["10.0.0.3:50051"]


async def test_replica_joins_in_the_middle_gets_work_and_one_that_leaves_finishes_its_own(
    servers: dict[str, FakeServices],
) -> None:
    for one in servers.values():
        one.generator.latency_s, one.generator.concurrency = 0.01, 1
    names = Names("10.0.0.1", "10.0.0.2")
    async with following(names, {target: one.target for target, one in servers.items()}) as fleet:
        client, seen = FleetGenerator(fleet, Patience(5, 5), window=8), 0
        async for _ in client.generate(items(300)):
            seen += 1
            if seen == 40:
                names.hosts = ["10.0.0.2", "10.0.0.3"]
        one, _, three = servers.values()
        assert seen == 300
        assert three.generator.asked.total() > 50
        assert one.generator.asked.total() < 60
        total = sum((each.generator.asked for each in servers.values()), start=type(one.generator.asked)())
        assert set(total.values()) == {1}
        await until(lambda: len(fleet._members) == 2)


async def test_name_cannot_be_resolved_known_replicas_stay(servers: dict[str, FakeServices]) -> None:
    names = Names("10.0.0.1", "10.0.0.2")
    async with following(names, {target: one.target for target, one in servers.items()}) as fleet:
        names.hosts = None
        await asyncio.sleep(0.2)
        assert len(fleet.serving) == 2


async def test_name_never_resolved_waits_and_the_registry_has_no_replica() -> None:
    names = Names()
    async with following(names, {}) as fleet:
        with pytest.raises(NotReadyError, match="no name among the generator's targets"):
            list(FleetReplicas(fleet))
        with pytest.raises(NotReadyError, match="WAIT_FOR_SERVICES_S"):
            await FleetGenerator(fleet, Patience(0.3, 5)).describe()


async def test_metrics_of_a_replica_that_leaves_go_with_it(servers: dict[str, FakeServices]) -> None:
    def serving(target: str) -> float | None:
        return REGISTRY.get_sample_value("valign_orchestrator_replica_serving", {"replica": target})

    names = Names("10.0.0.1", "10.0.0.2")
    async with following(names, {target: one.target for target, one in servers.items()}) as fleet:
        assert serving("10.0.0.2:50051") == 1
        await servers["10.0.0.2:50051"].stop()
        await until(lambda: serving("10.0.0.2:50051") == 0)
        names.hosts = ["10.0.0.1"]
        await until(lambda: serving("10.0.0.2:50051") is None)
        assert len(fleet.serving) == 1
    assert serving("10.0.0.1:50051") is None


def test_metrics_more_replicas_than_labels_count_as_other() -> None:
    labels = [metrics.join(f"10.1.{n // 250}.{n % 250}:1") for n in range(metrics.MOST_REPLICAS + 2)]
    try:
        assert labels[-2:] == [metrics.OTHER, metrics.OTHER]
        assert len(set(labels)) == metrics.MOST_REPLICAS + 1
    finally:
        for label in labels:
            metrics.leave(label)


async def test_replica_leaves_while_it_loads_the_load_ends_and_then_the_connection(
    servers: dict[str, FakeServices],
) -> None:
    first, second, _ = servers.values()
    second.generator.load_s = 0.5
    names = Names("10.0.0.1", "10.0.0.2")
    async with following(names, {target: one.target for target, one in servers.items()}) as fleet:
        client = FleetGenerator(fleet, Patience(5, 5))
        loading = asyncio.create_task(client.load_adapter(ADAPTER))
        await asyncio.sleep(0.1)
        names.hosts = ["10.0.0.1"]
        await until(lambda: len(fleet.members) == 1)
        await loading
        assert first.generator.loads == second.generator.loads == [ADAPTER.name]
        await until(lambda: len(fleet._members) == 1)


async def test_replica_is_closed_under_its_calls_they_fail_and_cancel_nobody(
    servers: dict[str, FakeServices],
) -> None:
    for one in servers.values():
        one.generator.load_s = 30
    async with following(Names("10.0.0.1"), {t: one.target for t, one in servers.items()}) as fleet:
        [member] = fleet.members
        loading = asyncio.create_task(member.load(ADAPTER))
        watching = asyncio.create_task(anext(member.traffic.exchanges("valign", 1.0)))
        await asyncio.sleep(0.1)
        await member.close()
        for task in (loading, watching):
            with pytest.raises(NotReadyError, match="was closed"):
                await task
        for again in (member.load(ADAPTER), anext(member.traffic.exchanges("valign", 1.0))):
            with pytest.raises(NotReadyError, match="is closed"):
                await again


async def test_probe_tells_one_model_and_refuses_two(servers: dict[str, FakeServices]) -> None:
    servers["10.0.0.2:50051"].generator.fingerprint = "e" * 64
    names = Names("10.0.0.1")
    async with following(names, {target: one.target for target, one in servers.items()}) as fleet:
        probe = FleetProbe("generator", NAME, fleet)
        assert (await probe.look()).serving
        names.hosts = ["10.0.0.1", "10.0.0.2"]
        await until(lambda: len(fleet.serving) == 2)
        with pytest.raises(PreconditionError, match=r"10\.0\.0\.2:50051: eeee"):
            await probe.look()
