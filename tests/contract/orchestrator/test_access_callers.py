"""Who is calling: principals, keys, limits, and what one caller can see of another."""

import asyncio

import grpc
import httpx
import pytest

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from services.orchestrator.access import authenticate
from services.orchestrator.access.keys import new_key
from services.orchestrator.api import build_http_app
from services.orchestrator.identity import Scope
from services.orchestrator.ports import RunStatus
from tests.fakes.access import STUDY, Served, here, serve, served
from tests.fakes.orchestrator import World
from tests.fakes.servers import http_server

__all__ = ["here", "served"]


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
