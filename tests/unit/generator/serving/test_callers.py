"""Credentials of the HTTP face: what is remembered, how long, and what happens while nobody can be asked."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import structlog
from fastapi import FastAPI, Request, Response

from services.common.errors import (
    ForbiddenError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
    UnauthenticatedError,
)
from services.generator.serving import callers as module
from services.generator.serving.callers import (
    FRESH_S,
    MOST_WRONG_PER_MINUTE,
    WRONG_S,
    Caller,
    Callers,
    OrchestratorAuthority,
)
from tests.fakes.servers import http_server

GOOD = Caller("key:chat", frozenset({"infer"}))


@dataclass
class Book:
    """An authority with a list of tokens, which can be away, or slow."""

    known: dict[str, Caller] = field(default_factory=lambda: {"good": GOOD})
    away: bool = False
    asked: list[str] = field(default_factory=list)
    pause_s: float = 0.0

    async def ask(self, token: str, address: str) -> Caller | None:
        self.asked.append(token)
        await asyncio.sleep(self.pause_s)
        if self.away:
            raise NotReadyError("away")
        return self.known.get(token)


@dataclass
class Clock:
    s: float = 1000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def callers(book: Book, clock: Clock) -> Callers:
    return Callers(book, grace_s=600, now=clock)


async def test_good_token_is_asked_once_until_it_is_old(callers: Callers, book: Book, clock: Clock) -> None:
    for _ in range(3):
        assert await callers.admit("Bearer good", "10.0.0.1") == GOOD
    assert book.asked == ["good"]
    clock.s += FRESH_S
    await callers.admit("bearer  good", "10.0.0.1")
    assert book.asked == ["good", "good"]


async def test_token_that_is_revoked_ends_within_the_time_that_is_stated(
    callers: Callers, book: Book, clock: Clock
) -> None:
    await callers.admit("Bearer good", "10.0.0.1")
    book.known.clear()
    clock.s += FRESH_S
    with pytest.raises(UnauthenticatedError):
        await callers.admit("Bearer good", "10.0.0.1")


@pytest.mark.parametrize(
    "header", ["", "good", "Basic good", "Bearer", "Bearer ", "Bearer gööd", "Bearer " + "x" * 9000]
)
async def test_header_without_a_token_asks_nobody(callers: Callers, book: Book, header: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await callers.admit(header, "10.0.0.1")
    assert book.asked == []


@pytest.mark.parametrize("scopes", [(), ("read",), ("run", "approve", "promote")])
async def test_scopes_without_infer_are_forbidden(
    callers: Callers, book: Book, scopes: tuple[str, ...]
) -> None:
    book.known["other"] = Caller("key:ci", frozenset(scopes))
    with pytest.raises(ForbiddenError, match="infer"):
        await callers.admit("Bearer other", "10.0.0.1")


async def test_admin_may_infer(callers: Callers, book: Book) -> None:
    book.known["root"] = Caller("key:root", frozenset({"admin"}))
    assert (await callers.admit("Bearer root", "")).name == "key:root"


async def test_wrong_token_is_remembered_shortly_and_then_asked_again(
    callers: Callers, book: Book, clock: Clock
) -> None:
    for _ in range(3):
        with pytest.raises(UnauthenticatedError):
            await callers.admit("Bearer new", "10.0.0.1")
    assert book.asked == ["new"]
    book.known["new"] = GOOD
    clock.s += WRONG_S
    assert await callers.admit("Bearer new", "10.0.0.1") == GOOD


async def test_authority_is_away_known_callers_go_on_for_the_grace_and_others_wait(
    callers: Callers, book: Book, clock: Clock
) -> None:
    await callers.admit("Bearer good", "10.0.0.1")
    book.away = True
    clock.s += 599
    assert await callers.admit("Bearer good", "10.0.0.1") == GOOD
    with pytest.raises(NotReadyError):
        await callers.admit("Bearer unknown", "10.0.0.1")
    clock.s += 1
    with pytest.raises(NotReadyError):
        await callers.admit("Bearer good", "10.0.0.1")
    book.away = False
    assert await callers.admit("Bearer good", "10.0.0.1") == GOOD


async def test_many_at_once_with_one_token_ask_once(callers: Callers, book: Book) -> None:
    book.pause_s = 0.01
    await asyncio.gather(*(callers.admit("Bearer good", "10.0.0.1") for _ in range(20)))
    assert book.asked == ["good"]


async def test_address_that_guesses_waits_and_harms_no_other(
    callers: Callers, book: Book, clock: Clock
) -> None:
    await callers.admit("Bearer good", "10.0.0.1")
    for number in range(MOST_WRONG_PER_MINUTE):
        with pytest.raises(UnauthenticatedError):
            await callers.admit(f"Bearer guess{number}", "10.0.0.1")
    asked = len(book.asked)
    with pytest.raises(OverloadedError) as caught:
        await callers.admit("Bearer guess", "10.0.0.1")
    assert 0 < caught.value.details["retry_after_s"] <= 61
    assert len(book.asked) == asked
    # Who is known from there is no guesser; another address has not guessed.
    assert await callers.admit("Bearer good", "10.0.0.1") == GOOD
    with pytest.raises(UnauthenticatedError):
        await callers.admit("Bearer guess", "10.0.0.2")
    clock.s += 61
    with pytest.raises(UnauthenticatedError):
        await callers.admit("Bearer later", "10.0.0.1")


async def test_what_is_remembered_is_bounded_and_strangers_go_first(
    callers: Callers, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_REMEMBERED", 5)
    await callers.admit("Bearer good", "10.0.0.0")
    for number in range(20):
        with pytest.raises(UnauthenticatedError):
            await callers.admit(f"Bearer guess{number}", f"10.0.1.{number}")
    assert len(callers._known) == 5
    assert len(callers._wrong) == 5
    assert hashlib.sha256(b"good").digest() in callers._known
    await callers.admit("Bearer good", "10.0.0.0")
    assert book.asked.count("good") == 1


@dataclass
class Api:
    """An orchestrator's ``/v1/caller`` that answers as it is told."""

    answer: Response = field(default_factory=Response)
    seen: list[Request] = field(default_factory=list)


@pytest.fixture
async def api() -> AsyncIterator[tuple[Api, OrchestratorAuthority]]:
    told, app = Api(), FastAPI()

    @app.get("/v1/caller")
    async def caller(request: Request) -> Response:
        told.seen.append(request)
        return told.answer

    async with http_server(app) as url:
        authority = OrchestratorAuthority(f"{url}/", timeout_s=2)
        yield told, authority
        await authority.aclose()


async def test_orchestrator_is_asked_with_the_caller_s_own_token_and_address(
    api: tuple[Api, OrchestratorAuthority],
) -> None:
    told, authority = api
    told.answer = Response('{"name": "key:chat", "scopes": ["infer"]}', media_type="application/json")
    assert await authority.ask("valign_1_x", "203.0.113.9") == GOOD
    headers = told.seen[0].headers
    assert (headers["authorization"], headers["x-forwarded-for"]) == ("Bearer valign_1_x", "203.0.113.9")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, "", None),
        (403, "", Caller("", frozenset())),
        (429, "", NotReadyError),
        (500, "", NotReadyError),
        (302, "", NotReadyError),
        (404, "", NotReadyError),
        (200, "<html>", NotReadyError),
        (200, "[]", NotReadyError),
        (200, '{"name": "x"}', NotReadyError),
    ],
)
async def test_answers_of_the_orchestrator_mean(
    api: tuple[Api, OrchestratorAuthority], status: int, body: str, expected: object
) -> None:
    told, authority = api
    told.answer = Response(body, status_code=status)
    if expected is NotReadyError:
        with pytest.raises(NotReadyError):
            await authority.ask("t", "")
    else:
        assert await authority.ask("t", "") == expected


async def test_orchestrator_that_is_not_there_is_away() -> None:
    authority = OrchestratorAuthority("http://127.0.0.1:9", timeout_s=1)
    with pytest.raises(NotReadyError):
        await authority.ask("t", "")
    await authority.aclose()


async def test_token_is_in_no_log_line(callers: Callers, book: Book) -> None:
    book.away = True
    with structlog.testing.capture_logs() as lines, pytest.raises(NotReadyError):
        await callers.admit("Bearer a-very-secret-token", "10.0.0.1")
    assert lines
    assert "secret" not in str(lines)


def test_authority_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match=r"no\.pem"):
        OrchestratorAuthority("https://x", tmp_path / "no.pem")


def test_httpx_follows_no_redirect_by_itself() -> None:
    assert httpx.AsyncClient().follow_redirects is False
