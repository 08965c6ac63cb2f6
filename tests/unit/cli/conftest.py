"""A small stand-in for the orchestrator's REST API, on a real port."""

import hashlib
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from services.cli.__main__ import main

ENDED = {"succeeded", "failed", "cancelled"}


def problem(status: int, code: str, detail: str, **more: Any) -> JSONResponse:
    body = {"type": f"urn:{code}", "title": code, "status": status, "detail": detail, "code": code, **more}
    return JSONResponse({**body, "request_id": "r1"}, status, media_type="application/problem+json")


def make_run(run_id: str, status: str = "running") -> dict[str, Any]:
    return {
        "run_id": run_id,
        "name": "demo",
        "status": status,
        "stage": "uncover",
        "identity": "ab" * 32,
        "create_time": "2026-11-21T14:03:05.123456Z",
        "end_time": None,
        "error": None,
        "progress": {"uncover": {"done": 3, "total": 6}},
    }


def make_report(after: float | None = 0.45, constant: float | None = 0.3) -> dict[str, Any]:
    numbers = {"before": 0.75, "base_p3": 0.7, "after": after, "reduction": 0.4, "constant": constant}
    return {
        "schema_version": "1.0",
        "run_id": "r-1",
        "topics": [{"id": "privacy", "title": "Security and Privacy", **numbers}],
        "overall": numbers,
        "iterations": [
            {"iteration": 0, "validation_mean": 0.74, "relative_improvement": None},
            {"iteration": 1, "validation_mean": 0.46, "relative_improvement": 0.378},
        ],
        "best_iteration": 1,
        "stop_reason": "max_iterations",
        "adapter": {"name": "r-1-i1-0badcafe", "sha256": "cd" * 32, "uri": "file:///a/r-1-i1-0badcafe"},
        "timings_s": {"uncover": 61.0, "realign": 95.4},
        "constant_sentence": "You shall not lie.",
    }


def make_asset(sha256: str, kind: str = "task", name: str = "sums", size_bytes: int = 61) -> dict[str, Any]:
    time = "2026-11-21T14:03:05.123456Z"
    return {"sha256": sha256, "kind": kind, "name": name, "size_bytes": size_bytes, "create_time": time}


@dataclass
class FakeApi:
    """What the stand-in answers, and what it was asked."""

    url: str = ""
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=make_report)
    ends_as: str = "succeeded"
    drop_after: int | None = None  # the connection breaks once after this many events
    hold_open: bool = False  # the stream never ends
    services_serving: bool = True
    assets: dict[str, bytes] = field(default_factory=dict)
    posted: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    last_event_ids: list[str] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/runs", status_code=201)
        async def create(request: Request) -> Any:
            text = (await request.body()).decode()
            self.posted.append(("/runs", dict(request.headers), text))
            if "principels" in text:
                fault = {"line": 2, "column": 1, "path": "principels_per_topic", "message": "unknown key"}
                return problem(
                    422, "INVALID_INPUT", "line 2: principels_per_topic: unknown key", errors=[fault]
                )
            self.runs["r-1"] = make_run("r-1", "queued")
            return self.runs["r-1"]

        @app.get("/v1/runs")
        async def list_runs(page_size: int = 50, page_token: str = "", status: str = "") -> Any:
            found = [run for run in reversed(self.runs.values()) if not status or run["status"] == status]
            start = int(page_token or 0)
            end = start + min(page_size, 2)
            return {"runs": found[start:end], "next_page_token": str(end) if end < len(found) else ""}

        @app.get("/v1/runs/{run_id}")
        async def get_run(run_id: str) -> Any:
            return self.runs.get(run_id) or problem(404, "NOT_FOUND", f"there is no run {run_id}")

        @app.post("/v1/runs/{run_id}/cancel")
        async def cancel(run_id: str) -> Any:
            self.runs[run_id]["status"] = "cancelled"
            return self.runs[run_id]

        @app.get("/v1/runs/{run_id}/events")
        async def watch(run_id: str, request: Request) -> Any:
            after = request.headers.get("last-event-id", "")
            self.last_event_ids.append(after)
            return StreamingResponse(self._stream(run_id, int(after or 0)), media_type="text/event-stream")

        @app.get("/v1/runs/{run_id}/report")
        async def report(run_id: str) -> Any:
            return {**self.report, "run_id": run_id}

        @app.get("/v1/runs/{run_id}/report.html")
        async def html(run_id: str) -> Response:
            return Response("<html>report</html>", media_type="text/html")

        @app.get("/v1/reference-sets")
        async def sets() -> Any:
            one = {"id": "gdpr-article-5", "version": "1.0", "title": "GDPR", "steward": "us"}
            return {"reference_sets": [{**one, "review_date": "2027-01-01"}]}

        @app.get("/v1/reference-sets/{set_id}")
        async def one_set(set_id: str) -> Any:
            return {"id": set_id, "title": "隐私"}

        @app.post("/v1/reference-sets/check")
        async def check_set(request: Request) -> Any:
            text = (await request.body()).decode()
            self.posted.append(("/reference-sets/check", dict(request.headers), text))
            if "bad" in text:
                fault = {"line": 2, "column": 3, "path": "principles[0]", "message": "must not be empty"}
                return problem(422, "INVALID_INPUT", "line 2: must not be empty", errors=[fault])
            return {"id": "mine"}

        @app.get("/v1/prompt-sets")
        async def prompts() -> Any:
            return {"prompt_sets": [{"id": "small", "version": "1", "title": "Small models"}]}

        @app.get("/v1/studies/shipped")
        async def shipped() -> Any:
            return {"studies": [{"id": "demo", "title": "The demo"}]}

        @app.get("/v1/studies/shipped/{name}")
        async def shipped_one(name: str) -> Any:
            if name != "demo":
                return problem(404, "NOT_FOUND", f"no shipped study '{name}'")
            return Response("# The demo\nname: demo\n", media_type="application/yaml")

        @app.post("/v1/assets")
        async def add_asset(request: Request, kind: str, name: str) -> Any:
            data = await request.body()
            self.posted.append((f"/assets?kind={kind}&name={name}", dict(request.headers), data.decode()))
            if data.startswith(b"{bad"):
                fault = {"line": 1, "column": 1, "path": "", "message": "not a JSON object"}
                return problem(422, "INVALID_INPUT", "line 1: not a JSON object", errors=[fault])
            digest = hashlib.sha256(data).hexdigest()
            self.assets[digest] = data
            return make_asset(digest, kind, name, len(data))

        @app.get("/v1/assets")
        async def assets() -> Any:
            return {"assets": [make_asset(digest) for digest in self.assets]}

        @app.get("/v1/assets/{sha256}")
        async def asset(sha256: str) -> Any:
            return make_asset(sha256) if sha256 in self.assets else problem(404, "NOT_FOUND", "no such asset")

        @app.get("/v1/assets/{sha256}/content")
        async def asset_content(sha256: str) -> Response:
            return Response(self.assets[sha256], media_type="application/octet-stream")

        @app.get("/v1/system")
        async def system() -> Any:
            one = {"reachable": True, "serving": self.services_serving, "model": "m", "version": "1"}
            return {"services": [{"name": "generator", "latency_s": 0.004, **one}]}

        @app.get("/v1/broken")
        async def broken() -> Response:
            return Response("oops", 502, media_type="text/plain")

        return app

    async def _stream(self, run_id: str, after: int) -> AsyncIterator[str]:
        yield ": hello\n\n"
        for number, (kind, data) in enumerate(self.events, 1):
            if number <= after:
                continue
            if self.drop_after is not None and number > self.drop_after:
                self.drop_after = None
                raise ConnectionError("the test breaks the connection")
            body = {"number": number, "time": "2026-11-21T14:03:09Z", "kind": kind, "data": data}
            yield f"id: {number}\nevent: {kind}\ndata: {json.dumps(body)}\n\n"
        while self.hold_open:
            import asyncio

            yield ": still here\n\n"
            await asyncio.sleep(0.05)
        self.runs[run_id]["status"] = self.ends_as


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """A running stand-in."""
    fake = FakeApi()
    config = uvicorn.Config(fake.app(), host="127.0.0.1", port=0, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    fake.url = f"http://127.0.0.1:{port}"
    yield fake
    fake.hold_open = False
    server.should_exit = True
    thread.join(10)


class Cli:
    """Runs commands in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        try:
            main(arguments)
        except SystemExit as ended:
            status = ended.code
        else:
            status = 0
        self.out, self.err = self._capsys.readouterr()
        return int(status or 0)

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, api: FakeApi) -> Cli:
    """The command line, set to the stand-in."""
    monkeypatch.setenv("VALIGN_URL", api.url)
    for name in (
        "VALIGN_HOME",
        "VALIGN_TIMEOUT_S",
        "VALIGN_GENERATOR_MODEL",
        "VALIGN_EMBEDDER_MODEL",
        "VALIGN_SECOND_EMBEDDER_MODEL",
    ):
        monkeypatch.delenv(name, raising=False)
    return Cli(capsys)
