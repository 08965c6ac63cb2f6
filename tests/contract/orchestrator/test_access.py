"""Nobody in: every route and every rpc refuses before it is dispatched, through real servers."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from fastapi import FastAPI
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from services.orchestrator.access import authenticate
from services.orchestrator.access.authenticate import Access
from services.orchestrator.access.keys import ApiKeys, new_key
from services.orchestrator.access.limits import CallLimits
from services.orchestrator.access.scopes import OPEN_OPERATIONS, SCOPE_OF_OPERATION, SCOPE_OF_RPC
from services.orchestrator.api import SERVICE_NAME, OrchestratorServicer, build_http_app
from services.orchestrator.api.access_grpc import AccessInterceptor
from services.orchestrator.identity import Scope, current_principal
from services.orchestrator.ports import RunStatus
from tests.fakes.orchestrator import World, world
from tests.fakes.servers import grpc_channel, http_server

RPCS = list(pb.DESCRIPTOR.services_by_name["OrchestratorService"].methods)
STUDY = "name: demo\n"


class Telling(OrchestratorServicer):
    """Tells who it thinks is calling, after it has waited for others."""

    async def WatchRun(self, request: pb.WatchRunRequest, context: Any) -> AsyncIterator[pb.WatchRunResponse]:
        if request.run_id != "who":
            async for event in super().WatchRun(request, context):
                yield event
            return
        for number in range(5):
            await asyncio.sleep(0.01)
            yield pb.WatchRunResponse(number=number, kind=current_principal().name)

    async def AddAsset(self, requests: Any, context: Any) -> pb.AddAssetResponse:
        async for _ in requests:
            await asyncio.sleep(0.01)
        return pb.AddAssetResponse(asset=pb.Asset(name=current_principal().name))


@dataclass(frozen=True, slots=True)
class Served:
    """Both faces behind a credential."""

    here: World
    app: FastAPI
    rest: httpx.AsyncClient
    channel: grpc.aio.Channel

    def key(
        self, *scopes: Scope, name: str = "", expired: bool = False, revoked: bool = False
    ) -> dict[str, str]:
        """The header of a new key; also of one that nobody could make, without a scope."""
        key, token, digest = new_key(name or f"key {secrets.token_hex(8)}", ["read"], 0, create_by="test")
        key = replace(key, scopes=frozenset(scopes))
        if expired:
            key = replace(key, expire_time=datetime.now(UTC) - timedelta(seconds=1))
        self.here.store.api_keys.add(key, digest)
        if revoked:
            self.here.store.api_keys.revoke(key.key_id)
        return {"authorization": f"Bearer {token}"}

    def wrong_credentials(self) -> dict[str, dict[str, str]]:
        """Headers that must not open anything, by what is wrong with them."""
        good = self.key(Scope.ADMIN)["authorization"]
        other = good[:-4] + ("aaaa" if good[-4:] != "aaaa" else "bbbb")
        _, unknown, _ = new_key("unknown", ["admin"], 0, create_by="test")
        token = good.removeprefix("Bearer ")
        return {
            "wrong secret": {"authorization": other},
            "unknown key": {"authorization": f"Bearer {unknown}"},
            "cut": {"authorization": good[:-1]},
            "no secret": {"authorization": "Bearer valign_"},
            "garbage": {"authorization": "Bearer x"},
            "no token": {"authorization": "Bearer"},
            "other scheme": {"authorization": f"Basic {token}"},
            "no scheme": {"authorization": token},
            "expired": self.key(Scope.ADMIN, expired=True),
            "revoked": self.key(Scope.ADMIN, revoked=True),
        }

    def too_small(self, needed: Scope) -> dict[str, str]:
        """The header of a key that may do everything but this."""
        if needed is Scope.READ:
            return self.key()
        return self.key(*(set(Scope) - {needed, Scope.ADMIN}))


@asynccontextmanager
async def serve(here: World, rate: str = "100000/minute", failures: str = "100000/minute") -> Any:
    access = Access(
        required=True, keys=ApiKeys(here.store.api_keys), limits=CallLimits(rate, failures, max_streams=2)
    )
    app = build_http_app(here.application, access=access)
    async with (
        http_server(app) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as rest,
        grpc_channel(
            lambda server: pb_grpc.add_OrchestratorServiceServicer_to_server(
                Telling(here.application), server
            ),
            SERVICE_NAME,
            [AccessInterceptor(access, SERVICE_NAME)],
        ) as channel,
    ):
        yield Served(here, app, rest, channel)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, max_queued_runs=3) as made:
        yield made


@pytest.fixture
async def served(here: World) -> AsyncIterator[Served]:
    async with serve(here) as made:
        yield made


def routes_of(app: FastAPI) -> list[tuple[str, str, str]]:
    """Method, path and operation id of all routes of the OpenAPI document, and of the document itself."""
    listed = [
        (method.upper(), path, operation["operationId"])
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    ]
    return [*listed, ("GET", "/openapi.json", "getOpenapi")]


async def ask(served: Served, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """One request with an id in each place of the path. The server sees a caller of another machine."""
    for name in ("run_id", "study_id", "set_id", "sha256", "head_id", "evaluation_id", "key_id"):
        path = path.replace(f"{{{name}}}", "x")
    transport = httpx.ASGITransport(served.app, client=("203.0.113.9", 4711))
    if path == "/metrics":
        async with httpx.AsyncClient(transport=transport, base_url="http://valign.test") as client:
            return await client.request(method, path, headers=headers)
    return await served.rest.request(method, path, headers=headers)


async def call(served: Served, method: Any, headers: dict[str, str]) -> grpc.StatusCode:
    """The status of one rpc with an empty request, dispatched by its descriptor."""
    kinds = {
        (False, False): served.channel.unary_unary,
        (False, True): served.channel.unary_stream,
        (True, False): served.channel.stream_unary,
        (True, True): served.channel.stream_stream,
    }
    rpc = kinds[method.client_streaming, method.server_streaming](f"/{SERVICE_NAME}/{method.name}")
    made = rpc(iter([b""]) if method.client_streaming else b"", metadata=tuple(headers.items()), timeout=20)
    try:
        if method.server_streaming:
            async for _ in made:
                pass
        else:
            await made
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


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


async def test_principal_is_the_callers_in_streams_that_run_at_the_same_time(served: Served) -> None:
    stub = pb_grpc.OrchestratorServiceStub(served.channel)

    async def watched(name: str) -> set[str]:
        metadata = tuple(served.key(Scope.READ, name=name).items())
        return {
            event.kind async for event in stub.WatchRun(pb.WatchRunRequest(run_id="who"), metadata=metadata)
        }

    async def added(name: str) -> set[str]:
        metadata = tuple(served.key(Scope.RUN, name=name).items())
        parts = iter([pb.AddAssetRequest(data=b"x")] * 3)
        return {(await stub.AddAsset(parts, metadata=metadata)).asset.name}

    names = [f"caller {number}" for number in range(12)]
    asked = [(watched if number < 6 else added)(name) for number, name in enumerate(names)]
    assert await asyncio.gather(*asked) == [{f"key:{name}"} for name in names]


async def test_run_is_the_callers_on_both_faces_and_in_the_audit_log(served: Served) -> None:
    stub = pb_grpc.OrchestratorServiceStub(served.channel)
    one = await served.rest.post("/v1/runs", content=STUDY, headers=served.key(Scope.RUN, name="one"))
    two = await stub.CreateRun(
        pb.CreateRunRequest(study=STUDY), metadata=tuple(served.key(Scope.RUN, name="two").items())
    )
    assert served.here.store.get_run(one.json()["run_id"]).created_by == "key:one"
    assert two.run.created_by == "key:two"
    actors = {entry.actor for entry in served.here.store.audit_log.entries() if entry.action == "run.create"}
    assert actors == {"key:one", "key:two"}


async def test_idempotency_key_of_another_principal_reveals_nothing(served: Served) -> None:
    mine = {**served.key(Scope.RUN, name="mine"), "idempotency-key": "k"}
    theirs = {**served.key(Scope.RUN, name="theirs"), "idempotency-key": "k"}
    first = await served.rest.post("/v1/runs", content=STUDY, headers=mine)
    assert (await served.rest.post("/v1/runs", content=STUDY, headers=mine)).status_code == 200
    # Another study too: a conflict would tell that the key is known.
    other = await served.rest.post("/v1/runs", content="name: demo\nseed: 7\n", headers=theirs)
    assert (first.status_code, other.status_code) == (201, 201)
    assert other.json()["run_id"] != first.json()["run_id"]
    conflict = await served.rest.post("/v1/runs", content="name: demo\nseed: 7\n", headers=mine)
    assert conflict.status_code == 409


async def test_queue_that_is_full_refuses_new_runs_and_knows_old_ones(served: Served) -> None:
    headers = served.key(Scope.RUN)
    for number in range(3):
        keyed = {**headers, "idempotency-key": f"{number}"}
        made = await served.rest.post("/v1/runs", content=STUDY, headers=keyed)
        assert made.status_code == 201
    full = await served.rest.post("/v1/runs", content=STUDY, headers={**headers, "idempotency-key": "new"})
    assert (full.status_code, full.json()["code"]) == (429, "OVERLOADED")
    assert int(full.headers["retry-after"]) > 1
    assert "MAX_QUEUED_RUNS" in full.json()["detail"]
    again = await served.rest.post("/v1/runs", content=STUDY, headers={**headers, "idempotency-key": "0"})
    assert again.status_code == 200
    assert len(served.here.store.list_runs()[0]) == 3


async def test_revoked_key_is_refused_at_once(served: Served) -> None:
    headers = served.key(Scope.READ, name="short")
    assert (await served.rest.get("/v1/caller", headers=headers)).json() == {
        "name": "key:short",
        "scopes": ["read"],
    }
    key_id = headers["authorization"].split("_")[1]
    admin = served.key(Scope.ADMIN, name="operator")
    revoked = await served.rest.post(f"/v1/api-keys/{key_id}/revoke", headers=admin)
    assert revoked.status_code == 200
    assert revoked.json()["last_use_time"] is not None
    answer = await served.rest.get("/v1/caller", headers=headers)
    assert answer.status_code == 401
    assert "revoked" in answer.json()["detail"]
    last = served.here.store.audit_log.entries()[-1]
    assert (last.actor, last.action, last.target) == ("key:operator", "api_key.revoke", key_id)


async def test_keys_are_made_and_shown_alike_on_both_faces(served: Served) -> None:
    admin = served.key(Scope.ADMIN, name="operator")
    made = await served.rest.post("/v1/api-keys", json={"name": "ci", "scopes": ["run"]}, headers=admin)
    secret = made.json()["secret"]
    assert made.status_code == 201
    stub = pb_grpc.OrchestratorServiceStub(served.channel)
    metadata = tuple(admin.items())
    over_grpc = await stub.CreateApiKey(
        pb.CreateApiKeyRequest(name="bot", scopes=["read", "approve"], lifetime_s=60), metadata=metadata
    )
    me = await stub.GetCaller(
        pb.GetCallerRequest(), metadata=(("authorization", f"bearer {over_grpc.secret}"),)
    )
    assert (me.name, list(me.scopes)) == ("key:bot", ["approve", "read"])
    listed = await served.rest.get("/v1/api-keys", headers=admin)
    assert [key["name"] for key in listed.json()["api_keys"]] == ["bot", "ci", "operator"]
    assert secret.split("_", 2)[2] not in listed.text
    over_grpc_list = await stub.ListApiKeys(pb.ListApiKeysRequest(), metadata=metadata)
    assert [key.key_id for key in over_grpc_list.api_keys] == [
        key["key_id"] for key in listed.json()["api_keys"]
    ]
    assert made.json()["api_key"]["create_by"] == "key:operator"
    revoked = await stub.RevokeApiKey(
        pb.RevokeApiKeyRequest(key_id=over_grpc.api_key.key_id), metadata=metadata
    )
    assert revoked.api_key.HasField("revoke_time")
    for name, scopes in (("", ["run"]), ("x", []), ("x", ["root"])):
        body = {"name": name, "scopes": scopes}
        refused = await served.rest.post("/v1/api-keys", json=body, headers=admin)
        assert refused.status_code == 422
    for key_id in ("none", "%00", "a" * 300):
        assert (await served.rest.post(f"/v1/api-keys/{key_id}/revoke", headers=admin)).status_code == 404


async def test_event_streams_of_one_principal_are_bounded_and_freed(served: Served) -> None:
    run_headers = served.key(Scope.RUN, name="watcher")
    run_id = (await served.rest.post("/v1/runs", content=STUDY, headers=run_headers)).json()["run_id"]
    stub = pb_grpc.OrchestratorServiceStub(served.channel)
    metadata = tuple(run_headers.items())
    held = stub.WatchRun(pb.WatchRunRequest(run_id=run_id), metadata=metadata)
    await held.read()
    path = f"/v1/runs/{run_id}/events"
    async with served.rest.stream("GET", path, headers=run_headers) as second:
        assert second.status_code == 200
        third = await served.rest.get(path, headers=run_headers)
        assert (third.status_code, third.json()["code"]) == (429, "OVERLOADED")
        other = stub.WatchRun(pb.WatchRunRequest(run_id=run_id), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await other.read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        stranger = served.key(Scope.READ, name="another")
        async with served.rest.stream("GET", path, headers=stranger) as theirs:
            assert theirs.status_code == 200
    held.cancel()
    for _ in range(100):
        async with served.rest.stream("GET", path, headers=run_headers) as freed:
            if freed.status_code == 200:
                break
        await asyncio.sleep(0.05)
    assert freed.status_code == 200


async def test_caller_who_calls_too_often_has_to_wait_and_others_do_not(here: World) -> None:
    async with serve(here, rate="5/minute") as served:
        headers = served.key(Scope.READ, name="busy")
        codes = [(await served.rest.get("/v1/caller", headers=headers)).status_code for _ in range(6)]
        assert codes == [200] * 5 + [429]
        refused = await served.rest.get("/v1/caller", headers=headers)
        assert 1 <= int(refused.headers["retry-after"]) <= 61
        stub = pb_grpc.OrchestratorServiceStub(served.channel)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.GetCaller(pb.GetCallerRequest(), metadata=tuple(headers.items()))
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        other = await served.rest.get("/v1/caller", headers=served.key(Scope.READ, name="calm"))
        assert other.status_code == 200


async def test_address_that_guesses_has_to_wait_even_with_a_right_key(here: World) -> None:
    async with serve(here, failures="3/minute") as served:
        guess = {"authorization": "Bearer valign_000000000000_" + "A" * 43}
        codes = [(await served.rest.get("/v1/caller", headers=guess)).status_code for _ in range(5)]
        assert codes == [401, 401, 401, 429, 429]
        right = await served.rest.get("/v1/caller", headers=served.key(Scope.READ))
        assert right.status_code == 429
        stub = pb_grpc.OrchestratorServiceStub(served.channel)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await stub.GetCaller(pb.GetCallerRequest(), metadata=tuple(guess.items()))
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # Probes and those without a credential are not hurt by it.
        assert (await served.rest.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"host": "[::1"},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8080"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_web_page_cannot_use_an_orchestrator_that_asks_for_no_credential(
    here: World, headers: dict[str, str]
) -> None:
    async with (
        http_server(build_http_app(here.application)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        answer = await client.post("/v1/runs", content=STUDY, headers=headers)
        assert answer.status_code == 403
        assert (await client.get("/v1/caller")).json()["name"] == "local"
        assert (await client.get("/v1/caller", headers={"origin": url})).status_code == 200
    assert here.store.list_runs()[0] == []


async def test_stream_of_a_key_that_is_revoked_ends_on_both_faces(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticate, "RECHECK_S", 0.2)
    store = served.here.store
    run, _ = store.create_run("r-open", "x", {"name": "x"})
    key, token, digest = new_key("watcher", ["read"], 0, create_by="test")
    store.api_keys.add(key, digest)
    headers = {"authorization": f"Bearer {token}"}
    stub = pb_grpc.OrchestratorServiceStub(served.channel)
    call = stub.WatchRun(pb.WatchRunRequest(run_id=run.run_id), metadata=tuple(headers.items()))
    assert (await call.read()).kind == "run.queued"
    async with served.rest.stream("GET", f"/v1/runs/{run.run_id}/events", headers=headers) as stream:
        lines = stream.aiter_lines()
        assert await anext(lines)
        # A valid credential outlives its checks.
        await asyncio.sleep(0.6)
        store.add_event(run.run_id, "told", {})
        assert (await call.read()).kind == "told"
        store.api_keys.revoke(key.key_id)
        await asyncio.sleep(0.6)
        store.add_event(run.run_id, "secret", {})
        read = ""
        with pytest.raises(httpx.RemoteProtocolError):
            async with asyncio.timeout(10):
                async for line in lines:
                    read += line
        assert "told" in read
        assert "secret" not in read
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await call.read()
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_retry_counts_for_the_queue_too(served: Served) -> None:
    store = served.here.store
    headers = served.key(Scope.RUN)
    for number in range(4):
        store.create_run(f"r-{number}", "x", {"name": "x"})
        store.change_status(f"r-{number}", RunStatus.FAILED, "run.failed", {})
    answers = [
        (await served.rest.post(f"/v1/runs/r-{number}/retry", json={}, headers=headers)).status_code
        for number in range(4)
    ]
    assert answers == [200, 200, 200, 429]
    assert store.get_run("r-3").status is RunStatus.FAILED
    assert store.get_run("r-3").attempt == 1


async def test_create_api_key_of_a_name_that_a_valid_key_has_is_a_conflict(served: Served) -> None:
    admin = served.key(Scope.ADMIN)

    async def create() -> httpx.Response:
        body = {"name": "ci", "scopes": ["run"]}
        return await served.rest.post("/v1/api-keys", json=body, headers=admin)

    first = await create()
    assert (first.status_code, (await create()).status_code) == (201, 409)
    await served.rest.post(f"/v1/api-keys/{first.json()['api_key']['key_id']}/revoke", headers=admin)
    assert (await create()).status_code == 201
