"""``Idempotency-Key`` over a real server."""

import asyncio
from typing import Any

import httpx
import pytest

from services.orchestrator.api import build_http_app
from tests.fakes.orchestrator import World
from tests.fakes.registry import add
from tests.fakes.servers import http_server

TASK = b'{"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}\n'
KEY = {"idempotency-key": "k-1"}


async def _reject(rest: httpx.AsyncClient, reason: str = "rude", **headers: str) -> httpx.Response:
    sent = {**KEY, **headers}
    return await rest.post("/v1/adapters/a/reject", json={"reason": reason}, headers=sent)


def _rejections(here: World) -> int:
    return sum(entry.action == "adapter.reject" for entry in here.store.audit_log.entries())


async def test_same_key_and_request_gives_the_first_answer_and_is_done_once(
    rest: httpx.AsyncClient, here: World
) -> None:
    add(here.store.registry, "a")
    first = await _reject(rest)
    here.store.registry.note("a", "changed meanwhile")
    again = await _reject(rest)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert again.headers["content-type"] == first.headers["content-type"]
    assert _rejections(here) == 1


async def test_same_key_with_another_request_is_a_conflict(rest: httpx.AsyncClient, here: World) -> None:
    add(here.store.registry, "a", "b")
    await _reject(rest)
    other = await _reject(rest, "something else")
    assert (other.status_code, other.json()["code"]) == (409, "CONFLICT")
    assert "another request" in other.json()["detail"]
    assert "retry-after" not in other.headers
    # A key counts for one operation on one path.
    assert (await rest.post("/v1/adapters/b/reject", json={"reason": "rude"}, headers=KEY)).is_success


async def test_request_in_flight_is_a_conflict_that_says_when_to_ask_again(
    rest: httpx.AsyncClient, here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(here.store.registry, "a")
    begun, go_on = asyncio.Event(), asyncio.Event()
    reject = here.application.registry.reject

    async def slow(*args: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await reject(*args)

    monkeypatch.setattr(here.application.registry, "reject", slow)
    first = asyncio.create_task(_reject(rest))
    await begun.wait()
    second = await _reject(rest)
    go_on.set()
    assert (second.status_code, second.headers["retry-after"]) == (409, "1")
    assert (await first).status_code == 200
    assert (await _reject(rest)).status_code == 200
    assert _rejections(here) == 1


async def test_refused_request_leaves_its_key_free(rest: httpx.AsyncClient, here: World) -> None:
    assert (await _reject(rest)).status_code == 404
    add(here.store.registry, "a")
    assert (await _reject(rest)).status_code == 200


async def test_key_of_a_request_that_makes_a_secret_is_remembered_and_the_secret_is_not(
    rest: httpx.AsyncClient, here: World
) -> None:
    body = {"name": "ci", "scopes": ["run"]}
    made = await rest.post("/v1/api-keys", json=body, headers=KEY)
    secret = made.json()["secret"]
    again = await rest.post("/v1/api-keys", json=body, headers=KEY)
    assert (made.status_code, again.status_code) == (201, 409)
    assert "not kept" in again.json()["detail"]
    assert len((await rest.get("/v1/api-keys")).json()["api_keys"]) == 1
    with here.store._engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT * FROM idempotent_answers").all()
    assert secret.split("_")[2] not in str(kept)


async def test_upload_with_a_key_is_read_whole_and_replayed(rest: httpx.AsyncClient) -> None:
    params = {"kind": "task", "name": "sums"}
    first = await rest.post("/v1/assets", params=params, content=TASK, headers=KEY)
    again = await rest.post("/v1/assets", params=params, content=TASK, headers=KEY)
    assert first.json() == again.json()
    other = await rest.post("/v1/assets", params={**params, "name": "other"}, content=TASK, headers=KEY)
    assert other.status_code == 409


@pytest.mark.parametrize("key", ["x" * 256])
async def test_key_that_is_none_is_invalid(rest: httpx.AsyncClient, here: World, key: str) -> None:
    add(here.store.registry, "a")
    answer = await _reject(rest, **{"idempotency-key": key})
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")


async def test_reading_ignores_keys(rest: httpx.AsyncClient, here: World) -> None:
    for _ in range(2):
        answer = await rest.post("/v1/studies/check", content="name: demo\n", headers=KEY)
        assert "idempotency-replayed" not in answer.headers


async def test_key_counts_in_every_process_over_one_database(here: World) -> None:
    add(here.store.registry, "a")
    for _ in range(2):
        async with (
            http_server(build_http_app(here.application)) as url,
            httpx.AsyncClient(base_url=url, trust_env=False) as rest,
        ):
            last = await _reject(rest)
    assert last.headers["idempotency-replayed"] == "true"
