"""The replica client and the registry against the generator's real servicer; only the engine is a fake."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from services.common.errors import ErrorCode, PreconditionError, ValignError
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.rpc.client import open_channel
from services.orchestrator.clients.replica import GrpcReplica
from services.orchestrator.ports import AdapterRef
from services.orchestrator.registry.leading import RegistryTasks
from services.orchestrator.registry.reconcile import Reconciler
from services.orchestrator.registry.records import Route
from services.orchestrator.registry.retention import Retention
from services.orchestrator.store import SqlRunStore
from tests.contract.generator.conftest import Service, service
from tests.contract.generator.test_generator_contract import collect, item
from tests.fakes.fake_engine import FINGERPRINT
from tests.fakes.orchestrator import migrated_store
from tests.fakes.registry import add

__all__ = ["service"]


@pytest.fixture
async def replica(service: Service) -> AsyncIterator[GrpcReplica]:
    made = GrpcReplica(service.target, open_channel(service.target))
    yield made
    await made.aclose()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlRunStore]:
    made, _ = migrated_store(tmp_path)
    yield made
    made.close()


async def test_replica_loads_routes_and_unloads(service: Service, replica: GrpcReplica) -> None:
    made = service.write("adapters/a")
    assert (await replica.look()).base_fingerprint == FINGERPRINT
    proof = await replica.load(AdapterRef("a", made.sha256, made.uri))
    assert (proof.canaries, proof.already_loaded) == (1, False)
    assert (await replica.look()).adapters == {"a": made.sha256}
    assert await replica.route("valign") is None
    route = Route("valign", "a", "", 0.0, 1)
    await replica.set_route(route)
    assert await replica.route("valign") == route
    with pytest.raises(PreconditionError, match="route valign serves"):
        await replica.unload("a")
    await replica.set_route(Route("valign", "", "", 0.0, 2))
    await replica.unload("a")
    await replica.unload("a")
    assert (await replica.look()).adapters == {}


async def test_replica_that_is_away_says_so_at_once() -> None:
    away = GrpcReplica("127.0.0.1:1", open_channel("127.0.0.1:1"))
    try:
        with pytest.raises(ValignError) as caught:
            await away.look()
        assert caught.value.code is ErrorCode.NOT_READY
    finally:
        await away.aclose()


async def test_replica_orders_carry_the_metadata_and_looks_do_not(service: Service) -> None:
    seen: list[str] = []

    def metadata() -> list[tuple[str, str]]:
        seen.append("asked")
        return [("valign-test", "1")]

    async with open_channel(service.target) as channel:
        replica = GrpcReplica(service.target, channel, metadata=metadata)
        await replica.look()
        assert seen == []
        await replica.set_route(Route("valign", "", "", 0.0, 1))
        assert seen == ["asked"]


async def test_promoted_adapter_answers_under_the_public_name_until_it_is_rolled_back(
    service: Service, replica: GrpcReplica, store: SqlRunStore
) -> None:
    tasks = RegistryTasks(store.registry, store, service.store, [replica], Retention(), 60)
    reconciler = Reconciler(store.registry, [replica])
    for name, rank in (("a", 2), ("b", 4)):
        made = service.write(f"adapters/{name}", rank=rank)
        add(store.registry, name, sha256=made.sha256, uri=made.uri, base_fingerprint=FINGERPRINT)
        await tasks.registry.promote(name)
        await reconciler.step()

    async def answered() -> str:
        request = pb.GenerateRequest(route="valign", items=[item("1")])
        answers = await collect(service.stub.Generate(iter([request]), timeout=20))
        return str(answers["1"].adapter)

    assert await answered() == "b"
    await tasks.registry.roll_back()
    await reconciler.step()
    assert await answered() == "a"
    service.engine.die()
    with pytest.raises(grpc.aio.AioRpcError):
        await answered()
    again = ""
    async with asyncio.timeout(20):
        while not again:
            await asyncio.sleep(0.05)
            await reconciler.step()
            with suppress(grpc.aio.AioRpcError):
                again = await answered()
    assert again == "a"


async def test_damaged_adapter_is_never_promoted(
    service: Service, replica: GrpcReplica, store: SqlRunStore
) -> None:
    tasks = RegistryTasks(store.registry, store, service.store, [replica], Retention(), 60)
    made = service.write("adapters/a")
    add(store.registry, "a", sha256=made.sha256, uri=made.uri, base_fingerprint=FINGERPRINT)
    (Path(made.uri.removeprefix("file://")) / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(PreconditionError, match=f"{service.target}: .*damaged"):
        await tasks.registry.promote("a")
    assert store.registry.routes.all() == []
    [entry] = (await tasks.registry.adapter("a")).replicas
    assert entry.state.value == "failed"
