"""Nobody in: every route and every rpc refuses before it is dispatched, through real servers."""

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.orchestrator.access.scopes import OPEN_OPERATIONS, SCOPE_OF_OPERATION, SCOPE_OF_RPC
from services.orchestrator.api import SERVICE_NAME, build_http_app
from services.orchestrator.identity import Scope
from tests.fakes.access import RPCS, Served, ask, call, here, routes_of, served
from tests.fakes.orchestrator import World

__all__ = ["here", "served"]


def test_every_route_and_every_rpc_is_in_the_table(here: World) -> None:
    operations = {name for _, _, name in routes_of(build_http_app(here.application))}
    assert operations <= set(SCOPE_OF_OPERATION) | OPEN_OPERATIONS
    assert not OPEN_OPERATIONS & set(SCOPE_OF_OPERATION)
    assert set(SCOPE_OF_RPC) == {method.name for method in RPCS}


def test_scopes_are_what_they_were_agreed_to_be() -> None:
    by_scope: dict[Scope, set[str]] = {scope: set() for scope in Scope}
    for name, scope in SCOPE_OF_RPC.items():
        by_scope[scope].add(name)
    assert by_scope[Scope.APPROVE] == {"ApproveAdapter", "RejectAdapter"}
    assert by_scope[Scope.PROMOTE] == {"PromoteAdapter", "SetCanary", "RollBackRoute"}
    assert by_scope[Scope.ADMIN] == {
        "PruneAdapters",
        "CreateApiKey",
        "ListApiKeys",
        "RevokeApiKey",
        "ListAuditEntries",
        "VerifyAuditLog",
        "CreateWebhook",
        "ListWebhooks",
        "GetWebhook",
        "UpdateWebhook",
        "DeleteWebhook",
        "RotateWebhookSecret",
        "TestWebhook",
        "ListWebhookDeliveries",
        "ReplayWebhookDeliveries",
        # Texts of people.
        "ListMonitorSamples",
    }
    assert by_scope[Scope.REVIEW] == {"NextReviewItem", "ListReviewItems", "RateReviewItem", "FlagReviewItem"}
    reading = ("Get", "List", "Check", "Watch", "Compare", "Diff", "Export", "Plan")
    assert all(name.startswith(reading) for name in by_scope[Scope.READ])


async def test_every_route_without_or_with_a_wrong_credential_answers_401(served: Served) -> None:
    wrong = {"none": {}, **served.wrong_credentials()}
    for method, path, name in routes_of(served.app):
        if name in OPEN_OPERATIONS:
            continue
        for what, headers in wrong.items():
            answer = await ask(served, method, path, headers)
            assert answer.status_code == 401, f"{method} {path} with {what}: {answer.text}"
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == "UNAUTHENTICATED"
            assert answer.headers["x-request-id"] == answer.json()["request_id"]


async def test_every_route_with_too_small_a_scope_answers_403_and_with_the_right_one_goes_on(
    served: Served,
) -> None:
    for method, path, name in routes_of(served.app):
        if name in OPEN_OPERATIONS:
            continue
        needed = SCOPE_OF_OPERATION[name]
        refused = await ask(served, method, path, served.too_small(needed))
        assert refused.status_code == 403, f"{method} {path}: {refused.text}"
        assert needed.value in refused.json()["detail"]
        for scope in {needed, Scope.ADMIN}:
            answer = await ask(served, method, path, served.key(scope))
            assert answer.status_code not in (401, 403, 500), f"{method} {path}: {answer.text}"


async def test_every_rpc_without_or_with_a_wrong_credential_is_unauthenticated(served: Served) -> None:
    wrong = {"none": {}, **served.wrong_credentials()}
    for method in RPCS:
        for what, headers in wrong.items():
            code = await call(served, method, headers)
            assert code is grpc.StatusCode.UNAUTHENTICATED, f"{method.name} with {what}: {code}"


async def test_every_rpc_with_too_small_a_scope_is_denied_and_with_the_right_one_goes_on(
    served: Served,
) -> None:
    refusals = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
    for method in RPCS:
        needed = SCOPE_OF_RPC[method.name]
        code = await call(served, method, served.too_small(needed))
        assert code is grpc.StatusCode.PERMISSION_DENIED, f"{method.name}: {code}"
        for scope in {needed, Scope.ADMIN}:
            code = await call(served, method, served.key(scope))
            assert code not in refusals, f"{method.name} with {scope}: {code}"


async def test_key_that_may_only_infer_is_told_who_it_is_and_nothing_else(served: Served) -> None:
    infer = served.key(Scope.INFER, name="chat")
    told = await served.rest.get("/v1/caller", headers=infer)
    assert told.json() == {"name": "key:chat", "scopes": ["infer"]}
    for method, path, name in routes_of(served.app):
        if name not in OPEN_OPERATIONS | {"getCaller"}:
            answer = await ask(served, method, path, infer)
            assert answer.status_code == 403, f"{method} {path}: {answer.text}"
    for rpc in RPCS:
        allowed = rpc.name == "GetCaller"
        code = await call(served, rpc, infer)
        assert code is (grpc.StatusCode.OK if allowed else grpc.StatusCode.PERMISSION_DENIED), rpc.name


async def test_route_that_the_table_has_not_is_refused_even_to_an_admin(served: Served) -> None:
    served.app.get("/v1/forgotten", operation_id="getForgotten")(lambda: "secret")
    served.app.get("/v1/nameless")(lambda: "secret")
    for path in ("/v1/forgotten", "/v1/nameless"):
        assert (await served.rest.get(path)).status_code == 401
        answer = await served.rest.get(path, headers=served.key(Scope.ADMIN))
        assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


async def test_paths_that_are_none_tell_strangers_nothing(served: Served) -> None:
    for method, path in (("GET", "/v1/none"), ("PUT", "/v1/runs"), ("GET", "/V1/runs"), ("GET", "//v1/runs")):
        assert (await served.rest.request(method, path)).status_code == 401
        known = await served.rest.request(method, path, headers=served.key(Scope.READ))
        assert known.status_code in (404, 405)


async def test_probes_are_open_and_metrics_to_this_machine_alone(served: Served) -> None:
    assert (await served.rest.get("/healthz")).status_code == 200
    assert (await served.rest.get("/readyz")).status_code == 200
    assert (await served.rest.get("/metrics")).status_code == 200
    health = health_pb2_grpc.HealthStub(served.channel)
    await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
    with_key = await ask(served, "GET", "/metrics", served.key(Scope.READ))
    assert (with_key.status_code, "valign_" in with_key.text) == (200, True)


async def test_reflection_needs_a_credential(served: Served) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(served.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    async def asked(headers: dict[str, str]) -> list[Any]:
        made = stub.ServerReflectionInfo(iter([request]), metadata=tuple(headers.items()), timeout=5)
        return [answer async for answer in made]

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await asked({})
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert dict(refused.value.trailing_metadata())["valign-error-code"] == "UNAUTHENTICATED"
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await asked(served.key())
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    names = [one.name for one in (await asked(served.key(Scope.READ)))[0].list_services_response.service]
    assert SERVICE_NAME in names
