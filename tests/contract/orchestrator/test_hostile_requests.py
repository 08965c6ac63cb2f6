"""Requests that no client library would send, byte by byte to a real server: never a 5xx, and it lives on."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.orchestrator.api import build_http_app
from tests.fakes.orchestrator import World
from tests.fakes.servers import http_server
from tests.fuzzing import examples
from tests.seeded import seed

_HOST = b"host: 127.0.0.1\r\n"
_STUDY = b"name: x\n"
# A server that waits for the rest of a request says nothing.
_WAIT_S = 0.5


def _post(path: bytes, body: bytes, headers: bytes = b"content-type: application/yaml\r\n") -> bytes:
    length = b"content-length: %d\r\n" % len(body)
    return b"POST " + path + b" HTTP/1.1\r\n" + _HOST + headers + length + b"\r\n" + body


def _get(path: bytes, headers: bytes = b"") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + _HOST + headers + b"\r\n"


def _chunked(body: bytes) -> bytes:
    headers = b"content-type: application/yaml\r\ntransfer-encoding: chunked\r\n"
    return b"POST /v1/studies/check HTTP/1.1\r\n" + _HOST + headers + b"\r\n" + body


_JSON = b"content-type: application/json\r\n"
_REQUESTS: dict[str, bytes] = {
    "bad percent": _get(b"/v1/runs/%zz%"),
    "percent of NUL": _get(b"/v1/runs/%00"),
    "percent of no UTF-8": _get(b"/v1/runs/%ff%fe%c0%80"),
    "percent of a surrogate": _get(b"/v1/runs/%ed%a0%80"),
    "dots": _get(b"/v1/reference-sets/../../../etc/passwd"),
    "encoded dots": _get(b"/v1/reference-sets/%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
    "backslashes": _get(b"/v1/assets/..\\..\\x"),
    "a long path": _get(b"/v1/runs/" + b"a" * 60_000),
    "a long query": _get(b"/v1/runs?page_token=" + b"a" * 60_000),
    "a query of no UTF-8": _get(b"/v1/runs?page_token=%ff&status=%00"),
    "a query of NUL": _get(b"/v1/runs/r-trained/principles?arm=%00&topic=%ed%a0%80"),
    "a huge number": _get(b"/v1/runs?page_size=" + b"9" * 5_000),
    "a number beyond 64 bits": _get(b"/v1/runs?page_size=9223372036854775808"),
    "a negative number": _get(b"/v1/runs?page_size=-9223372036854775809"),
    "digits of another script": _get("/v1/runs?page_size=\u0663".encode()),
    "a parameter many times": _get(b"/v1/runs?" + b"&".join([b"page_size=1"] * 5_000)),
    "a seed beyond": _post(b"/v1/values/heads?seed=99999999999999999999&held_out=nan", b"x"),
    "a share that is infinite": _post(b"/v1/values/heads?held_out=inf&text=reply", b"{}"),
    "an event number of another script": _get(
        b"/v1/runs/r-trained/events", "last-event-id: \u0663\r\n".encode()
    ),
    "an event number beyond": _get(b"/v1/runs/r-trained/events", b"last-event-id: " + b"9" * 30 + b"\r\n"),
    "two event numbers": _get(b"/v1/runs/r-trained/events", b"last-event-id: 1\r\nlast-event-id: x\r\n"),
    "an overlong header": _get(b"/healthz", b"x-long: " + b"a" * 200_000 + b"\r\n"),
    "many headers": _get(b"/healthz", b"".join(b"x-%d: y\r\n" % n for n in range(2_000))),
    "a header with NUL": _get(b"/healthz", b"x-null: a\0b\r\n"),
    "a header that is folded": _get(b"/healthz", b"x-folded: a\r\n b\r\n"),
    "a header without a colon": _get(b"/healthz", b"nonsense\r\n"),
    "a request id of no ASCII": _get(b"/healthz", b"x-request-id: \xff\xfe\r\n"),
    "two request ids": _get(b"/healthz", b"x-request-id: a\r\nx-request-id: \xff\r\n"),
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": _get(b"/healthz", b"host: other\r\n"),
    "a strange host": b"GET /v1/runs HTTP/1.1\r\nhost: [::1\r\n\r\n",
    "HTTP 0.9": b"GET /healthz\r\n\r\n",
    "HTTP 9": b"GET /healthz HTTP/9.9\r\n\r\n",
    "a method of one's own": b"BREW /v1/runs HTTP/1.1\r\n" + _HOST + b"\r\n",
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\n" + _HOST + b"\r\n",
    "an absolute target": b"GET http://evil.example/v1/runs HTTP/1.1\r\n" + _HOST + b"\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\n" + _HOST + b"\r\n",
    "an upgrade": _get(b"/v1/runs", b"connection: upgrade\r\nupgrade: websocket\r\n"),
    "HTTP 2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
    "NUL alone": b"\0" * 1_000,
    "a body of no UTF-8": _post(b"/v1/studies/check", b"name: \xff\n"),
    "a body of UTF-16": _post(b"/v1/runs", "name: x\n".encode("utf-16")),
    "JSON of no UTF-8": _post(b"/v1/compare", b'{"run_ids": ["\xff"]}', _JSON),
    "JSON with an endless number": _post(b"/v1/compare", b'{"run_ids": ' + b"9" * 10_000 + b"}", _JSON),
    "JSON with half a character": _post(b"/v1/rulers", b'{"run_id": "\\ud800", "name": "\\udfff"}', _JSON),
    "JSON with NaN": _post(b"/v1/compare", b'{"run_ids": [NaN, Infinity]}', _JSON),
    "deep JSON": _post(b"/v1/compare", b"[" * 500_000, _JSON),
    "deep JSON objects": _post(b"/v1/studies/check", b'{"a":' * 50_000, _JSON),
    "many runs": _post(b"/v1/compare", b'{"run_ids": [' + b'"r",' * 50_000 + b'"r"]}', _JSON),
    "another media type": _post(b"/v1/runs", _STUDY, b"content-type: image/png\r\n"),
    "a strange media type": _post(b"/v1/runs", _STUDY, b"content-type: ;;;=\xff\r\n"),
    "a strange charset": _post(b"/v1/runs", _STUDY, b'content-type: text/yaml; charset="utf-7"\r\n'),
    "two media types": _post(b"/v1/compare", b"{}", _JSON + b"content-type: text/plain\r\n"),
    "a form": _post(b"/v1/compare", b"run_ids=a", b"content-type: application/x-www-form-urlencoded\r\n"),
    "a multipart that is none": _post(b"/v1/compare", b"--x", b"content-type: multipart/form-data\r\n"),
    "a packed body": _post(b"/v1/runs", b"\x1f\x8b" + b"\0" * 50, b"content-encoding: gzip\r\n"),
    "a key of Latin-1": _post(b"/v1/runs", _STUDY, b"idempotency-key: \xe9\r\n"),
    "a long key": _post(b"/v1/runs", _STUDY, b"idempotency-key: " + b"k" * 10_000 + b"\r\n"),
    "two keys": _post(b"/v1/runs", _STUDY, b"idempotency-key: a\r\nidempotency-key: b\r\n"),
    "a length that is none": b"POST /v1/runs HTTP/1.1\r\n" + _HOST + b"content-length: x\r\n\r\nname: x\n",
    "a negative length": b"POST /v1/runs HTTP/1.1\r\n" + _HOST + b"content-length: -1\r\n\r\n",
    "a length beyond": b"POST /v1/runs HTTP/1.1\r\n"
    + _HOST
    + b"content-length: 99999999999999999999\r\n\r\n",
    "a length of another script": b"POST /v1/runs HTTP/1.1\r\n" + _HOST + b"content-length: \xd9\xa3\r\n\r\n",
    "a length of superscripts": b"POST /v1/runs HTTP/1.1\r\n" + _HOST + b"content-length: \xb2\r\n\r\nab",
    "two lengths": _post(b"/v1/runs", _STUDY, b"content-length: 3\r\n"),
    "a length and chunks": _post(b"/v1/runs", b"0\r\n\r\n", b"transfer-encoding: chunked\r\n"),
    "a chunk that lies": _chunked(b"ff\r\nname: x\r\n0\r\n\r\n"),
    "a chunk of no number": _chunked(b"zz\r\nname: x\r\n0\r\n\r\n"),
    "a chunk beyond": _chunked(b"fffffffffffffffffff\r\nname: x\r\n"),
    "a chunk with an extension": _chunked(b"8;" + b"x" * 10_000 + b"\r\nname: x\n\r\n0\r\n\r\n"),
    "trailers": _chunked(b"8\r\nname: x\n\r\n0\r\nhost: evil\r\n\r\n"),
    "a coding of one's own": _post(b"/v1/runs", _STUDY, b"transfer-encoding: xchunked\r\n"),
    "one request in another": _post(b"/v1/runs", _STUDY) + _get(b"/v1/runs") + b"\0\0",
    "a body that never comes": b"POST /v1/runs HTTP/1.1\r\n" + _HOST + b"content-length: 100\r\n\r\nname",
    "a range": _get(b"/v1/runs/r-trained/bundle", b"range: bytes=0-1,5-99999999999999\r\n"),
}


@pytest.fixture
async def url(here: World) -> AsyncIterator[str]:
    await seed(here)
    async with http_server(build_http_app(here.application)) as served:
        yield served


async def _status(url: str, request: bytes) -> int | None:
    """The answer's status; None where the server hung up, or waits for more, without one."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(_WAIT_S):
            line = await reader.readline()
    except (ConnectionError, TimeoutError):
        return None
    finally:
        writer.close()
    return int(line.split()[1]) if line else None


async def _check(url: str, request: bytes, what: str) -> None:
    status = await _status(url, request)
    assert status is None or status < 500, (what, status)


async def test_hostile_request_is_no_server_error_and_the_server_lives_on(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        assert await _status(url, _get(b"/v1/runs")) == 200
        for what, request in _REQUESTS.items():
            await _check(url, request, what)
            assert (await client.get("/healthz")).status_code == 200, what


async def test_any_bytes_are_no_server_error(url: str) -> None:
    loop = asyncio.get_running_loop()
    mixed = st.lists(st.one_of(st.sampled_from([*_REQUESTS.values()]), st.binary(max_size=50)), max_size=3)

    @settings(max_examples=examples(0.2))
    @given(mixed.map(b"".join), st.integers(0, 200))
    def fuzz(request: bytes, cut: int) -> None:
        sent = request[: len(request) - cut]
        asyncio.run_coroutine_threadsafe(_check(url, sent, repr(sent[:200])), loop).result(30)

    await asyncio.to_thread(fuzz)
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.get("/readyz")).status_code == 200
