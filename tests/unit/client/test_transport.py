"""What is sent again, how long is waited, and what goes with every request."""

import json
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from services.client import AsyncClient, Client, Retry, UnreachableError, errors
from services.client.retrying import is_retried, retry_after_s
from services.client.sync import transport as sync_transport

RUN = {
    "run_id": "r-1",
    "name": "a",
    "status": "queued",
    "stage": "",
    "identity": "",
    "create_time": "2026-11-21T14:03:05Z",
    "end_time": None,
    "cancel_requested": False,
    "pause_requested": False,
    "attempt": 1,
    "created_by": "local",
    "error": None,
    "progress": {},
}


class Server:
    """Answers in turn, the last one ever after, and remembers what it was asked."""

    def __init__(self, *answers: Callable[[httpx.Request], httpx.Response] | httpx.Response) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, httpx.Response) else answer(request)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(sync_transport, "_sleep", found.append)
    return found


def _client(server: Server, url: str = "http://127.0.0.1:1", **options: Any) -> Client:
    return Client(url, transport=httpx.MockTransport(server), **options)


def _problem(status: int, code: str, **headers: str) -> httpx.Response:
    body = {"title": "x", "status": status, "detail": f"{code} it is", "code": code, "request_id": "q"}
    return httpx.Response(status, json=body, headers=headers)


def _lost(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("lost", request=request)


def test_change_is_sent_again_under_the_same_key_and_waits_as_it_is_told(waits: list[float]) -> None:
    server = Server(
        _problem(503, "NOT_READY", **{"retry-after": "7"}), _lost, _problem(429, "OVERLOADED"), _ok(RUN)
    )
    with _client(server) as client:
        assert client.runs.create("name: a\n").run_id == "r-1"
    keys = {request.headers["idempotency-key"] for request in server.asked}
    assert (len(server.asked), len(keys)) == (4, 1)
    assert waits[0] == 7
    assert 0.5 <= waits[1] <= 1.0
    assert 1.0 <= waits[2] <= 2.0


def _ok(body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def test_attempts_end_with_the_last_error(waits: list[float]) -> None:
    server = Server(_problem(503, "NOT_READY", **{"retry-after": "3600"}))
    patient = _client(server, retry=Retry(attempts=3, longest_s=9.0))
    with patient as client, pytest.raises(errors.NotReadyError) as caught:
        client.runs.get("r-1")
    assert (len(server.asked), waits, caught.value.retry_after_s) == (3, [9.0, 9.0], 3600.0)


@pytest.mark.parametrize(
    ("status", "code"), [(404, "NOT_FOUND"), (409, "CONFLICT"), (412, "PRECONDITION"), (500, "INTERNAL")]
)
def test_what_no_time_cures_is_asked_once(waits: list[float], status: int, code: str) -> None:
    server = Server(_problem(status, code))
    with _client(server) as client, pytest.raises(errors.ApiError) as caught:
        client.runs.get("r-1")
    assert (len(server.asked), caught.value.code, waits) == (1, code, [])


def test_key_that_is_being_answered_is_waited_for(waits: list[float]) -> None:
    server = Server(_problem(409, "CONFLICT", **{"retry-after": "1"}), _ok(RUN))
    with _client(server) as client:
        client.runs.cancel("r-1")
    assert waits == [1.0]


def test_checks_go_without_a_key_and_changes_with_their_own() -> None:
    server = Server(_ok({}))
    with _client(server) as client:
        client.studies.check("name: a\n")
        client.runs.compare(["a", "b"])
    assert not any("idempotency-key" in request.headers for request in server.asked)
    server = Server(_ok(RUN))
    with _client(server) as client:
        client.runs.create("name: a\n", idempotency_key="mine")
    assert server.asked[0].headers["idempotency-key"] == "mine"


def test_every_request_tells_who_asks() -> None:
    server = Server(_ok({"services": []}))
    with _client(server, token="secret", user_agent="a-pipeline") as client:  # noqa: S106
        client.system()
    assert server.asked[0].headers["authorization"] == "Bearer secret"
    assert server.asked[0].headers["user-agent"] == "a-pipeline"
    assert str(server.asked[0].url) == "http://127.0.0.1:1/v1/system"
    with _client(server) as client:
        client.system()
    assert server.asked[1].headers["user-agent"].startswith("valign-client/")
    assert "authorization" not in server.asked[1].headers


def test_token_over_plain_http_to_another_machine_is_refused() -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(errors.InsecureUrlError, match="not https"):
            kind("http://valign.example.org", token="secret")  # noqa: S106


def test_answer_that_is_none_of_ours_is_told_as_such(waits: list[float]) -> None:
    proxy = _client(Server(httpx.Response(404, text="<html>proxy")))
    with proxy as client, pytest.raises(errors.UnexpectedAnswerError, match="answered 404: <html>proxy"):
        client.runs.get("r-1")
    with _client(Server(_problem(418, "TEAPOT"))) as client, pytest.raises(errors.ApiError) as caught:
        client.runs.get("r-1")
    assert type(caught.value) is errors.ApiError


def test_watch_goes_on_after_a_lost_connection_and_gives_each_event_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from services.client.sync import runs

    monkeypatch.setattr(runs, "_sleep", lambda _: None)

    def event(number: int) -> bytes:
        body = {"number": number, "time": "2026-11-21T14:03:05Z", "kind": "k", "data": {}}
        return f"id: {number}\nevent: k\ndata: {json.dumps(body)}\n\n".encode()

    def stream(request: httpx.Request) -> httpx.Response:
        after = int(request.headers.get("last-event-id", 0))

        def parts() -> Any:
            yield event(after + 1)
            yield event(after + 2)
            if after < 4:
                raise httpx.ReadError("lost", request=request)

        return httpx.Response(200, content=parts())

    def answer(request: httpx.Request) -> httpx.Response:
        return (
            stream(request) if request.url.path.endswith("/events") else _ok({**RUN, "status": "succeeded"})
        )

    lost: list[UnreachableError] = []
    with _client(Server(answer)) as client:
        found = [one.number for one in client.runs.watch("r-1", on_lost=lost.append)]
    assert (found, len(lost)) == ([1, 2, 3, 4, 5, 6], 2)


def test_download_that_is_not_what_its_etag_says_is_refused() -> None:
    server = Server(httpx.Response(200, content=b"other", headers={"etag": '"' + "0" * 64 + '"'}))
    with _client(server) as client, pytest.raises(errors.UnexpectedAnswerError, match="sha256"):
        client.runs.bundle("r-1", lambda part: None)


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after_s("12") == 12.0
    assert retry_after_s(formatdate(time.time() + 30, usegmt=True)) == pytest.approx(30, abs=2)
    assert retry_after_s(formatdate(time.time() - 30, usegmt=True)) == 0.0
    assert [retry_after_s(text) for text in (None, "", "soon")] == [None] * 3
    assert [is_retried(status, None) for status in (429, 502, 503, 504, 409, 500)] == [True] * 4 + [False] * 2


def test_every_error_code_of_the_api_has_its_class() -> None:
    from services.common.errors import ErrorCode

    for code in ErrorCode:
        assert errors.error_of(code.http_status, {"code": code.value}).code == code.value
