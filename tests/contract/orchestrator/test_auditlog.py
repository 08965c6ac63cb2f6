"""The audit log on both faces, on real servers; and by the command line against them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from google.protobuf.json_format import MessageToDict

from services.cli.__main__ import main
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from services.orchestrator.api import build_http_app
from services.orchestrator.housekeeping import keep_house
from services.orchestrator.store.tables_operations import audit_log
from tests.fakes.orchestrator import World
from tests.fakes.servers import http_server

KNOWN = {"known_sequence": 1, "known_sha256": "0" * 64}


@pytest.fixture
async def url(here: World) -> AsyncIterator[str]:
    async with http_server(build_http_app(here.application)) as made:
        yield made


async def _valign(*arguments: str) -> int:
    """Exit status of the command line, in a thread: the server lives in this loop."""

    def run() -> int:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        return int(caught.value.code or 0)

    return await asyncio.to_thread(run)


def _write(here: World, count: int) -> None:
    for number in range(count):
        here.store.audit_log.append("run.create", "run", f"r-{number}", {"text": 'قيم "x" \u2028'})


def _alter(here: World) -> None:
    with here.store._engine.begin() as connection:
        connection.execute(sa.update(audit_log).where(audit_log.c.sequence == 2).values(actor="nobody"))


async def test_entries_are_the_same_on_both_faces(
    here: World, rest: httpx.AsyncClient, stub: pb_grpc.OrchestratorServiceStub
) -> None:
    _write(here, 2500)
    answer = await rest.get("/v1/audit-log", params={"after": 100})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    over_http = [json.loads(line) for line in answer.text.splitlines()]
    parts = [part async for part in stub.ListAuditEntries(pb.ListAuditEntriesRequest(after=100))]
    over_grpc = [entry for part in parts for entry in part.entries]
    assert len(over_http) == len(over_grpc) == 2400
    assert max(len(part.entries) for part in parts) <= 256
    for one, other in zip(over_http, over_grpc, strict=True):
        plain = MessageToDict(other, preserving_proto_field_name=True)
        assert plain.pop("details_json") == one.pop("details")
        assert int(plain.pop("sequence")) == one.pop("sequence")
        time = other.time.ToDatetime().isoformat(timespec="microseconds") + "+00:00"
        assert (plain.pop("time") != "", time) == (True, one.pop("time"))
        assert plain == one
    few = await rest.get("/v1/audit-log", params={"limit": 3})
    assert [json.loads(line)["sequence"] for line in few.text.splitlines()] == [1, 2, 3]


async def test_verify_says_the_same_on_both_faces(
    here: World, rest: httpx.AsyncClient, stub: pb_grpc.OrchestratorServiceStub
) -> None:
    async def verdict(**known: object) -> dict[str, object]:
        over_http = (await rest.get("/v1/audit-log/verify", params=known)).json()
        found = await stub.VerifyAuditLog(pb.VerifyAuditLogRequest(**known))
        assert over_http == {name: getattr(found, name) for name in over_http}
        return dict(over_http)

    assert (await verdict())["intact"] is True
    _write(here, 3)
    assert (await verdict())["entries"] == 3
    assert (await verdict(**KNOWN))["broken_at"] == 1
    _alter(here)
    assert (await verdict())["broken_at"] == 2


@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "limit=-1", f"after={2**63}", "limit=99999999999999999999"]
)
async def test_entries_odd_numbers_are_invalid_input(rest: httpx.AsyncClient, query: str) -> None:
    answer = await rest.get(f"/v1/audit-log?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")


async def test_odd_numbers_over_grpc_are_invalid_argument(stub: pb_grpc.OrchestratorServiceStub) -> None:
    import grpc

    for call in (
        stub.ListAuditEntries(pb.ListAuditEntriesRequest(after=2**64 - 1)).read(),
        stub.VerifyAuditLog(pb.VerifyAuditLogRequest(known_sequence=2**64 - 1, known_sha256="0" * 64)),
        stub.VerifyAuditLog(pb.VerifyAuditLogRequest(known_sequence=1)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_altered_time_over_grpc_is_left_out(here: World, stub: pb_grpc.OrchestratorServiceStub) -> None:
    _write(here, 1)
    with here.store._engine.begin() as connection:
        connection.execute(sa.update(audit_log).values(time="yesterday"))
    [part] = [part async for part in stub.ListAuditEntries(pb.ListAuditEntriesRequest())]
    assert not part.entries[0].HasField("time")


async def test_command_line_log_export_and_verify(
    here: World, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(here, 3)
    head = here.store.audit_log.head()
    assert await _valign("audit", "log", "--url", url, "--after", "1") == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if "run.create" in line]
    assert [line.split()[0] for line in shown] == ["2", "3"]
    assert "\u2028" not in "".join(shown)
    assert await _valign("audit", "verify", "--url", url) == 0
    assert f"Note elsewhere: 3:{head[1]}" in capsys.readouterr().out
    file = tmp_path / "log.jsonl"
    assert await _valign("audit", "export", str(file), "--url", url) == 0
    assert f"3:{head[1]}" in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob("*log.jsonl*")] == ["log.jsonl"]
    # Offline: nothing answers at this address.
    nowhere = ("--url", "http://127.0.0.1:9")
    assert await _valign("audit", "verify", str(file), "--known", f"3:{head[1]}", *nowhere) == 0
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2]))
    assert await _valign("audit", "verify", str(file), *nowhere) == 0
    capsys.readouterr()
    assert await _valign("audit", "verify", str(file), "--known", f"3:{head[1]}", "--json", *nowhere) == 1
    assert json.loads(capsys.readouterr().out)["broken_at"] == 3
    file.write_text(lines[0] + lines[2])
    assert await _valign("audit", "verify", str(file)) == 1
    assert "BROKEN at entry 2: entry 2 is missing" in capsys.readouterr().out
    assert await _valign("audit", "verify", str(file), "--known", "3") == 2
    assert await _valign("audit", "verify", str(tmp_path / "none")) == 1


async def test_command_line_broken_log_is_exported_whole_and_told(
    here: World, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(here, 5)
    _alter(here)
    file = tmp_path / "log.jsonl"
    assert await _valign("audit", "export", str(file), "--url", url) == 1
    assert "BROKEN at entry 2" in capsys.readouterr().out
    assert len(file.read_text().splitlines()) == 5
    assert await _valign("audit", "verify", "--url", url) == 1


async def test_housekeeping_tells_the_head_at_the_start_and_at_the_end(
    here: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    import structlog

    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(keep_house(here.application.audit_log, here.artifacts, every_s=3600))
        while not logs:
            await asyncio.sleep(0.01)
        _write(here, 2)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    heads = [line for line in logs if line["event"] == "audit.head"]
    assert [line["sequence"] for line in heads] == [0, 2]
    assert heads[-1]["sha256"] == here.store.audit_log.head()[1]
