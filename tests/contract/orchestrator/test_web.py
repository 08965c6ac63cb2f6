"""The web page's files over HTTP: open, guarded by headers, kept under names of their content."""

import re

import httpx
import pytest

from services.orchestrator.access.scopes import OPEN_OPERATIONS, SCOPE_OF_OPERATION
from services.orchestrator.web.files import web_files
from tests.fakes.access import Served, served

__all__ = ["served"]

VERSION = web_files().version


async def test_first_page_is_strictly_guarded_and_asked_for_each_time(rest: httpx.AsyncClient) -> None:
    answer = await rest.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "frame-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["vary"] == "accept-encoding"


async def test_frame_of_reports_has_no_origin_and_may_only_be_framed_by_the_page(
    rest: httpx.AsyncClient,
) -> None:
    policy = (await rest.get(f"/web/{VERSION}/frame.html")).headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; script-src 'self';")
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy
    assert policy.endswith("frame-ancestors 'self'")


@pytest.mark.parametrize("name", sorted(web_files().files))
async def test_file_is_kept_for_ever_under_its_version_packed_or_not(
    rest: httpx.AsyncClient, name: str
) -> None:
    address, known = f"/web/{VERSION}/{name}", web_files().files[name]
    plain = await rest.get(address, headers={"accept-encoding": "identity"})
    packed = await rest.get(address, headers={"accept-encoding": "br, gzip;q=0.8"})
    assert plain.content == packed.content == known.body
    assert (plain.headers.get("content-encoding"), packed.headers["content-encoding"]) == (None, "gzip")
    assert plain.headers["etag"] != packed.headers["etag"]
    for answer in (plain, packed):
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"] == known.media_type
        assert answer.headers["x-content-type-options"] == "nosniff"
        same = await rest.get(
            address,
            headers={
                "accept-encoding": "gzip" if answer is packed else "identity",
                "if-none-match": f'"other", W/{answer.headers["etag"]}',
            },
        )
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", answer.headers["etag"])


async def test_head_tells_the_length_without_the_body(rest: httpx.AsyncClient) -> None:
    answer = await rest.head("/", headers={"accept-encoding": "identity"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == len(web_files().first.body)


async def test_gzip_that_is_refused_is_not_sent(rest: httpx.AsyncClient) -> None:
    answer = await rest.get("/", headers={"accept-encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/web/",
        f"/web/{VERSION}/",
        f"/web/{VERSION}/index.html",
        f"/web/{VERSION}/none.js",
        f"/web/{VERSION}/../files.py",
        f"/web/{VERSION}/%2e%2e/files.py",
        f"/web/{VERSION}//etc/passwd",
        "/web/0123456789abcdef/style.css",
        "/index.html",
    ],
)
async def test_what_is_not_in_the_list_is_not_there(rest: httpx.AsyncClient, path: str) -> None:
    answer = await rest.get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "NOT_FOUND"


async def test_files_are_open_and_every_route_of_the_api_is_not(served: Served) -> None:
    first = await served.rest.get("/")
    assert first.status_code == 200
    assert 'data-credentials="required"' in first.text
    for address in re.findall(r'(?:href|src)="(/web/[^"]+)"', first.text):
        assert (await served.rest.get(address)).status_code == 200
    assert (await served.rest.get("/v1/runs")).status_code == 401
    assert {"getWebPage", "getWebFile"} <= OPEN_OPERATIONS
    assert not {"getWebPage", "getWebFile"} & set(SCOPE_OF_OPERATION)


async def test_answers_of_the_api_may_not_run_scripts_or_be_framed(rest: httpx.AsyncClient) -> None:
    for path in ("/v1/reference-sets", "/v1/runs/r-none/report.html", "/healthz", "/openapi.json"):
        answer = await rest.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox; default-src 'none'"), path
        assert "script-src" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
