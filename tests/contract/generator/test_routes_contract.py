"""Routes through a real gRPC server; only the engine is a fake."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from services.common.errors import ErrorCode
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.rpc.client import wait_until_serving
from tests.contract.generator.conftest import Service
from tests.contract.generator.test_generator_contract import collect, failure, item, listed, load


def set_route(service: Service, **fields: Any) -> Any:
    route = pb.Route(**{"name": "valign", "version": 1, **fields})
    return service.stub.SetRoute(pb.SetRouteRequest(route=route), timeout=5)


def routed(service: Service, *ids: str, **fields: str) -> Any:
    request = pb.GenerateRequest(**{"route": "valign", "items": [item(id_) for id_ in ids], **fields})
    return service.stub.Generate(iter([request]), timeout=20)


async def loaded(service: Service, *names: str) -> None:
    for number, name in enumerate(names):
        await load(service, name, service.write(f"adapters/{name}", rank=2 + 2 * number))


async def test_generate_by_route_names_the_adapter_that_answered(service: Service) -> None:
    await loaded(service, "a", "b")
    await set_route(service, adapter="a", canary_adapter="b", canary_share=0.5)
    ids = [str(number) for number in range(200)]
    found = await collect(routed(service, *ids))
    by_adapter = {id_: answer.adapter for id_, answer in found.items()}
    assert set(by_adapter.values()) == {"a", "b"}
    assert 50 < sum(name == "b" for name in by_adapter.values()) < 150
    shas = {answer.adapter: answer.adapter_sha256 for answer in found.values()}
    assert len(set(shas.values())) == 2
    again = await collect(routed(service, *ids))
    assert {id_: answer.adapter for id_, answer in again.items()} == by_adapter
    plain = await collect(service.stub.Generate(iter([pb.GenerateRequest(adapter="a", items=[item("7")])])))
    if by_adapter["7"] == "a":
        assert plain["7"].text == found["7"].text


async def test_generate_by_route_to_the_base_model_names_no_adapter(service: Service) -> None:
    await set_route(service)
    assert (await collect(routed(service, "1")))["1"].adapter == ""


async def test_generate_route_not_set_is_not_ready_and_with_an_adapter_invalid(service: Service) -> None:
    code, message = await failure(routed(service, "1"))
    assert (code, "valign" in message) == (ErrorCode.NOT_READY, True)
    await loaded(service, "a")
    await set_route(service, adapter="a")
    assert (await failure(routed(service, "1", adapter="a")))[0] is ErrorCode.INVALID_INPUT


async def test_set_route_wrong_orders_are_refused_with_their_codes(service: Service) -> None:
    assert (await failure(set_route(service, adapter="a")))[0] is ErrorCode.PRECONDITION
    for share in (1.5, float("nan")):
        code, _ = await failure(set_route(service, canary_share=share))
        assert code is ErrorCode.INVALID_INPUT
    assert (await failure(set_route(service, name="no name")))[0] is ErrorCode.INVALID_INPUT
    code, _ = await failure(service.stub.GetRoute(pb.GetRouteRequest(name="valign"), timeout=5))
    assert code is ErrorCode.NOT_FOUND
    await loaded(service, "a")
    await set_route(service, adapter="a", version=2)
    assert (await failure(set_route(service, version=2)))[0] is ErrorCode.PRECONDITION
    kept = (await set_route(service, adapter="a", version=1)).route
    assert kept == (await service.stub.GetRoute(pb.GetRouteRequest(name="valign"), timeout=5)).route
    assert (kept.adapter, kept.version) == ("a", 2)


async def test_unload_adapter_of_a_route_is_refused_until_the_route_has_moved(service: Service) -> None:
    await loaded(service, "a", "b")
    await set_route(service, adapter="a")
    code, message = await failure(service.stub.UnloadAdapter(pb.UnloadAdapterRequest(name="a"), timeout=5))
    assert (code, "route valign" in message) == (ErrorCode.PRECONDITION, True)
    assert await listed(service) == ["a", "b"]
    await set_route(service, adapter="b", version=2)
    await service.stub.UnloadAdapter(pb.UnloadAdapterRequest(name="a"), timeout=5)
    assert await listed(service) == ["b"]


async def test_route_moves_requests_in_flight_end_on_the_adapter_they_began_with(service: Service) -> None:
    await loaded(service, "a", "b")
    await set_route(service, adapter="a")
    service.engine.gate.clear()
    moved = asyncio.Event()

    async def requests() -> AsyncIterator[pb.GenerateRequest]:
        yield pb.GenerateRequest(route="valign", items=[item("before")])
        await moved.wait()
        yield pb.GenerateRequest(items=[item("after")])

    answers = asyncio.create_task(collect(service.stub.Generate(requests(), timeout=20)))
    while not service.engine.running:
        await asyncio.sleep(0.01)
    await set_route(service, adapter="b", version=2)
    moved.set()
    unloading = asyncio.ensure_future(
        service.stub.UnloadAdapter(pb.UnloadAdapterRequest(name="a"), timeout=20)
    )
    while service.engine.running < 2:
        await asyncio.sleep(0.01)
    assert not unloading.done()
    service.engine.gate.set()
    found = await answers
    assert (found["before"].adapter, found["after"].adapter) == ("a", "b")
    assert (await unloading).drained == 1
    assert await listed(service) == ["b"]


async def test_engine_restarted_has_no_routes_until_it_is_told_again(service: Service) -> None:
    await loaded(service, "a")
    await set_route(service, adapter="a")
    service.engine.die()
    await asyncio.sleep(0.2)
    await wait_until_serving(service.target, 10)
    code, _ = await failure(service.stub.GetRoute(pb.GetRouteRequest(name="valign"), timeout=5))
    assert code is ErrorCode.NOT_FOUND
    assert (await failure(routed(service, "1")))[0] is ErrorCode.NOT_READY
    assert (await failure(set_route(service, adapter="a")))[0] is ErrorCode.PRECONDITION
    await load(service, "a", service.write("adapters/a", rank=2))
    await set_route(service, adapter="a")
    assert (await collect(routed(service, "1")))["1"].adapter == "a"
