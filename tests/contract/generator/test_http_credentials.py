"""Credentials of the HTTP face, checked by a real orchestrator's REST API with real keys."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from services.orchestrator.access.authenticate import Access
from services.orchestrator.access.keys import ApiKeys, new_key
from services.orchestrator.access.limits import CallLimits
from services.orchestrator.api import build_http_app
from tests.contract.generator.test_http_face import Served, error_of, served_with
from tests.fakes.orchestrator import World, world
from tests.fakes.servers import http_server


@dataclass
class Guarded:
    here: World
    face: Served

    def token(self, *scopes: str) -> tuple[str, str]:
        """Key id and token of a new key."""
        key, token, digest = new_key(f"key {'-'.join(scopes)}", scopes, 0, create_by="test")
        self.here.store.api_keys.add(key, digest)
        return key.key_id, token

    async def ask(self, token: str) -> httpx.Response:
        return await self.face.chat("fake-model", headers={"authorization": f"Bearer {token}"})


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    with world(tmp_path) as here:
        access = Access(
            required=True,
            keys=ApiKeys(here.store.api_keys),
            limits=CallLimits("1000/minute", "30/minute", max_streams=2),
        )
        app = build_http_app(here.application, access=access)
        async with (
            http_server(app) as url,
            served_with(tmp_path, auth_url=url, auth_grace_s=0) as face,
        ):
            yield Guarded(here, face)


async def test_keys_that_may_infer_are_answered_and_others_are_not(guarded: Guarded) -> None:
    for scopes in (("infer",), ("infer", "read"), ("admin",)):
        assert (await guarded.ask(guarded.token(*scopes)[1])).status_code == 200
    for scopes in (("read",), ("run", "approve", "promote")):
        answer = await guarded.ask(guarded.token(*scopes)[1])
        assert error_of(answer)[:2] == (403, "PermissionDeniedError")
        assert "infer" in answer.text


async def test_no_key_and_wrong_keys_are_401_and_the_server_is_not_reached(guarded: Guarded) -> None:
    key_id, token = guarded.token("infer")
    guarded.here.store.api_keys.revoke(key_id)
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {token}"}):
        for method, path in (
            ("POST", "/v1/chat/completions"),
            ("GET", "/v1/models"),
            ("GET", "/v1/nothing"),
            ("POST", "/tokenize"),
        ):
            answer = await guarded.face.http.request(
                method, path, json={"model": "fake-model"}, headers=headers
            )
            assert error_of(answer)[:2] == (401, "AuthenticationError")
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert guarded.face.app.seen == []
    assert (await guarded.face.http.get("/health")).status_code == 200


async def test_streams_need_a_key_too_and_the_server_never_sees_it(guarded: Guarded) -> None:
    _, token = guarded.token("infer")
    answer = await guarded.face.chat("fake-model", stream=True, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert all(token not in str(seen) for seen in guarded.face.app.seen)


async def test_guesser_waits_and_the_orchestrator_still_answers_for_others(guarded: Guarded) -> None:
    statuses = [(await guarded.ask(f"guess-{number}")).status_code for number in range(40)]
    assert statuses == [401] * 20 + [429] * 20
    # From this address a stranger waits; the orchestrator has not shut out the generator.
    answer = await guarded.face.http.get("/health")
    assert answer.status_code == 200


async def test_orchestrator_is_away_unknown_callers_get_503(tmp_path: Path) -> None:
    async with served_with(tmp_path, auth_url="http://127.0.0.1:9") as face:
        answer = await face.chat("fake-model", headers={"authorization": "Bearer valign_x"})
        assert error_of(answer)[:2] == (503, "ServiceUnavailableError")
        assert answer.headers["retry-after"] == "2"
