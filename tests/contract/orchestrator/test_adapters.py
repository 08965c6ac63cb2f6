"""Adapters and routes: REST and gRPC say the same, over generators on ports of their own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from services.common.errors import PreconditionError
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.registry.reconcile import Reconciler
from services.orchestrator.registry.records import AdapterState
from tests.contract.orchestrator.times import with_times
from tests.fakes.orchestrator import World, world
from tests.fakes.registry import Fleet, add, fleet

BEN = Principal("key:ben", frozenset({Scope.APPROVE}))


@pytest.fixture
async def replicas() -> AsyncIterator[Fleet]:
    """Two generators."""
    async with fleet(2) as made:
        yield made


@pytest.fixture
async def here(tmp_path: Path, replicas: Fleet) -> AsyncIterator[World]:
    """The application with two replicas."""
    with world(tmp_path, replicas=replicas.replicas) as made:
        yield made


def _plain(message: Any) -> dict[str, Any]:
    plain: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    rest: dict[str, Any] = with_times(_as_rest(plain))
    return rest


def _as_rest(value: Any, key: str = "") -> Any:
    """Enums, 64-bit numbers and absent times as REST spells them."""
    if isinstance(value, dict):
        return {name: _as_rest(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_rest(item) for item in value]
    if isinstance(value, str) and value.startswith("ADAPTER_STATE_"):
        return value.removeprefix("ADAPTER_STATE_").lower()
    return int(value) if key == "version" else value


def _without_nulls(value: Any) -> Any:
    """JSON null stands where a message has no such field."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else with_times(value)


async def _refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, str(caught.value.details())


async def test_adapter_promoted_over_one_face_is_seen_on_both(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World, replicas: Fleet
) -> None:
    add(here.store.registry, "a", "b")
    answer = await rest.post("/v1/adapters/a/promote", json={})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["name"], answer.json()["state"]) == ("valign", "pending")
    await Reconciler(here.store.registry, replicas.replicas).step()
    over_http = (await rest.get("/v1/routes/valign")).json()
    over_grpc = _plain(await stub.GetRoute(pb.GetRouteRequest(name="valign")))
    assert over_grpc == _without_nulls(over_http)
    assert (over_http["route"]["state"], over_http["route"]["adapter"]) == ("settled", "a")
    assert [one["version"] for one in over_http["route"]["replicas"]] == [1, 1]
    routes = (await rest.get("/v1/routes")).json()
    assert _plain(await stub.ListRoutes(pb.ListRoutesRequest())) == _without_nulls(routes)
    over_http = (await rest.get("/v1/adapters/a")).json()
    assert _plain(await stub.GetAdapter(pb.GetAdapterRequest(name="a"))) == _without_nulls(over_http)
    assert [one["state"] for one in over_http["history"]][-1] == "promoted"
    assert [one["state"] for one in over_http["replicas"]] == ["proven", "proven"]
    promoted = await stub.PromoteAdapter(pb.PromoteAdapterRequest(name="b"))
    assert (promoted.route.adapter, promoted.route.version) == ("b", 2)
    back = (await rest.post("/v1/routes/valign/rollback", json={"reason": "rude"})).json()
    assert (back["adapter"], back["version"]) == ("a", 3)
    again = await stub.RollBackRoute(pb.RollBackRouteRequest(to="", reason="all of it"))
    assert (again.route.adapter, again.route.version) == ("", 4)
    await Reconciler(here.store.registry, replicas.replicas).step()
    assert replicas.served() == ["", ""]


async def test_list_adapters_pages_and_filters_are_the_same(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    add(here.store.registry, *(f"a{number}" for number in range(5)))
    add(here.store.registry, "young", state=AdapterState.TRAINED, run_id="r-2")
    first = (await rest.get("/v1/adapters", params={"page_size": 4})).json()
    over_grpc = await stub.ListAdapters(pb.ListAdaptersRequest(page_size=4))
    assert _plain(over_grpc) == _without_nulls(first)
    assert [one["name"] for one in first["adapters"]] == ["young", "a4", "a3", "a2"]
    rest_of = await stub.ListAdapters(pb.ListAdaptersRequest(page_token=first["next_page_token"]))
    assert [one.name for one in rest_of.adapters] == ["a1", "a0"]
    for chosen, request in (
        ({"state": "trained"}, pb.ListAdaptersRequest(state=pb.ADAPTER_STATE_TRAINED)),
        ({"run_id": "r-2"}, pb.ListAdaptersRequest(run_id="r-2")),
    ):
        found = (await rest.get("/v1/adapters", params=chosen)).json()
        assert [one["name"] for one in found["adapters"]] == ["young"]
        assert _plain(await stub.ListAdapters(request)) == _without_nulls(found)
    assert (await rest.get("/v1/adapters", params={"state": "odd"})).status_code == 422
    assert (await _refusal(stub.ListAdapters(pb.ListAdaptersRequest(state=99))))[0] == "INVALID_ARGUMENT"
    assert (await rest.get("/v1/adapters", params={"run_id": "\0"})).json()["adapters"] == []


async def test_refusals_say_the_same(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World, replicas: Fleet
) -> None:
    registry = here.store.registry
    add(registry, "held", state=AdapterState.PROVEN)
    add(registry, "needs", approval_required=True)
    add(registry, "own", created_by="local")
    add(registry, "damaged")
    replicas.generator(1).refuse_loads["damaged"] = PreconditionError("it is damaged")
    cases = [
        ("/v1/adapters/none/promote", {}, stub.PromoteAdapter(pb.PromoteAdapterRequest(name="none")), 404),
        ("/v1/adapters/held/promote", {}, stub.PromoteAdapter(pb.PromoteAdapterRequest(name="held")), 412),
        ("/v1/adapters/needs/promote", {}, stub.PromoteAdapter(pb.PromoteAdapterRequest(name="needs")), 412),
        (
            "/v1/adapters/damaged/promote",
            {},
            stub.PromoteAdapter(pb.PromoteAdapterRequest(name="damaged")),
            412,
        ),
        ("/v1/adapters/own/approve", {}, stub.ApproveAdapter(pb.ApproveAdapterRequest(name="own")), 412),
        (
            "/v1/adapters/own/reject",
            {"reason": " "},
            stub.RejectAdapter(pb.RejectAdapterRequest(name="own", reason=" ")),
            422,
        ),
        ("/v1/routes/valign/rollback", {}, stub.RollBackRoute(pb.RollBackRouteRequest()), 404),
        (
            "/v1/routes/valign/canary",
            {"adapter": "own", "share": 1.5},
            stub.SetCanary(pb.SetCanaryRequest(adapter="own", share=1.5)),
            422,
        ),
        ("/v1/routes/a b/rollback", {}, stub.RollBackRoute(pb.RollBackRouteRequest(route="a b")), 422),
    ]
    statuses = {404: "NOT_FOUND", 412: "FAILED_PRECONDITION", 422: "INVALID_ARGUMENT"}
    for path, body, call, status in cases:
        answer = await rest.post(path, json=body)
        code, detail = await _refusal(call)
        assert (answer.status_code, code) == (status, statuses[status]), path
        assert answer.json()["detail"] in detail
    assert here.store.registry.routes.all() == []
    assert replicas.targets[1] in (await rest.post("/v1/adapters/damaged/promote", json={})).json()["detail"]


async def test_approve_by_a_second_person_then_promote(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    add(here.store.registry, "a", approval_required=True)
    with acting_as(BEN):
        await here.application.registry.approve("a", "fine")
    approved = (await rest.post("/v1/adapters/a/approve", json={"comment": "mine too"})).json()
    assert approved["state"] == "candidate"
    found = await stub.GetAdapter(pb.GetAdapterRequest(name="a"))
    assert [(one.actor, one.comment) for one in found.approvals] == [
        ("key:ben", "fine"),
        ("local", "mine too"),
    ]
    assert (
        await stub.PromoteAdapter(pb.PromoteAdapterRequest(name="a", route="public"))
    ).route.name == "public"


async def test_canary_and_rejection_over_both(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    add(here.store.registry, "a", "b")
    route = (await rest.post("/v1/routes/valign/canary", json={"adapter": "a", "share": 0.25})).json()
    assert (route["adapter"], route["canary_adapter"], route["canary_share"]) == ("", "a", 0.25)
    refused = await rest.post("/v1/adapters/a/reject", json={"reason": "rude"})
    assert (refused.status_code, "roll the route back" in refused.json()["detail"]) == (412, True)
    ended = await stub.SetCanary(pb.SetCanaryRequest(share=0))
    assert (ended.route.canary_adapter, ended.route.canary_share) == ("", 0)
    rejected = await stub.RejectAdapter(pb.RejectAdapterRequest(name="a", reason="rude"))
    assert (rejected.adapter.state, rejected.adapter.reason) == (pb.ADAPTER_STATE_REJECTED, "rude")
    assert (await rest.get("/v1/adapters/a")).json()["adapter"]["state"] == "rejected"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/adapters/a/promote", {"rout": "x"}),
        ("/v1/adapters/a/promote", {"override_reason": "x" * 2001}),
        ("/v1/adapters/a/reject", {}),
        ("/v1/routes/valign/canary", {"adapter": "a"}),
        ("/v1/routes/valign/canary", {"adapter": "a", "share": "a lot"}),
        ("/v1/routes/valign/rollback", {"to": 3}),
    ],
)
async def test_malformed_bodies_are_invalid(
    rest: httpx.AsyncClient, here: World, path: str, body: dict[str, Any]
) -> None:
    add(here.store.registry, "a")
    answer = await rest.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")


async def test_prune_dry_run_is_told_on_both(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, here: World
) -> None:
    add(here.store.registry, "a", state=AdapterState.RETIRED)
    assert (await rest.post("/v1/adapters/prune", params={"dry_run": "true"})).json() == {"pruned": []}
    assert list((await stub.PruneAdapters(pb.PruneAdaptersRequest(dry_run=True))).pruned) == []
    assert (await rest.post("/v1/adapters/prune")).json() == {"pruned": []}
