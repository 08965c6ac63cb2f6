"""A run's bundle and model card over REST, gRPC and the command line."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from services.common.artifacts import Artifact, sha256_bytes
from services.common.errors import NotFoundError, PreconditionError
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.api import build_http_app
from services.orchestrator.audit import publish
from services.orchestrator.audit.checking import check_bundle
from services.orchestrator.audit.files import ZipFiles
from services.orchestrator.ports import RunStatus
from services.orchestrator.report_files import note_report_files
from tests.bundles import RunWorld, store_run
from tests.evidence import make_evidence
from tests.fakes.orchestrator import World, world
from tests.fakes.servers import http_server


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        # Drawing the page takes seconds; the tests of verifying have the real one.
        made.application.audit = publish.Publisher(made.store, made.artifacts, lambda report: report.run_id)
        yield made


@pytest.fixture
async def url(here: World) -> AsyncIterator[str]:
    async with http_server(build_http_app(here.application)) as served:
        yield served


@pytest.fixture
def run(here: World) -> RunWorld:
    return store_run(here.store, here.artifacts, make_evidence(1, 12, 1))


@pytest.fixture
async def rest(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        yield client


async def test_bundle_rest_and_grpc_send_the_same_bytes_that_verify(
    rest: httpx.AsyncClient, stub: Any, run: RunWorld, tmp_path: Path
) -> None:
    answer = await rest.get("/v1/runs/r-1/bundle")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert 'filename="valign-r-1.zip"' in answer.headers["content-disposition"]
    digest = hashlib.sha256(answer.content).hexdigest()
    assert answer.headers["etag"] == f'"{digest}"'
    parts = [part async for part in stub.GetBundle(pb.GetBundleRequest(run_id="r-1"))]
    assert b"".join(part.data for part in parts) == answer.content
    assert {(part.sha256, part.size_bytes) for part in parts} == {(digest, len(answer.content))}
    assert max(len(part.data) for part in parts) <= 1 << 20
    path = tmp_path / "got.zip"
    path.write_bytes(answer.content)
    with path.open("rb") as file:
        assert check_bundle(ZipFiles(file)).ok


async def test_bundle_asked_for_at_once_and_again_is_made_once(
    rest: httpx.AsyncClient, run: RunWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    write = publish.write_bundle

    def counted(path: Path, *arguments: Any) -> str:
        made.append(path.name)
        return write(path, *arguments)

    monkeypatch.setattr(publish, "write_bundle", counted)
    answers = await asyncio.gather(*(rest.get("/v1/runs/r-1/bundle") for _ in range(3)))
    answers.append(await rest.get("/v1/runs/r-1/bundle"))
    assert len({answer.content for answer in answers}) == 1
    assert made == ["bundle.zip"]


async def test_bundle_that_was_deleted_is_made_anew_with_the_same_bytes(here: World, run: RunWorld) -> None:
    first = await here.application.bundle("r-1")
    here.artifacts.delete(first.uri)
    assert await here.application.bundle("r-1") == first
    assert here.artifacts.exists(first.uri)


async def test_model_card_rest_and_grpc_send_the_same_text_and_keep_it(
    rest: httpx.AsyncClient, stub: Any, here: World, run: RunWorld
) -> None:
    answer = await rest.get("/v1/runs/r-1/model-card")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    over_grpc = await stub.GetModelCard(pb.GetModelCardRequest(run_id="r-1"))
    assert over_grpc.markdown == answer.text
    bundle = await here.application.bundle("r-1")
    assert bundle.sha256 in answer.text
    kept = here.artifacts.get_bytes(here.artifacts.uri("runs/r-1/model-card.md"))
    assert kept.decode() == answer.text


@pytest.mark.parametrize("what", ["bundle", "model-card"])
async def test_audit_of_a_run_that_is_not_there_or_has_not_succeeded_is_not_found(
    rest: httpx.AsyncClient, stub: Any, here: World, what: str
) -> None:
    here.store.create_run("r-2", "waiting", {"seed": 1})
    for run_id, words in (("r-none", "r-none"), ("r-2", "run r-2 is queued")):
        answer = await rest.get(f"/v1/runs/{run_id}/{what}")
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
        assert words in answer.json()["detail"]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            if what == "bundle":
                async for _ in stub.GetBundle(pb.GetBundleRequest(run_id=run_id)):
                    pass
            else:
                await stub.GetModelCard(pb.GetModelCardRequest(run_id=run_id))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_model_card_of_a_run_that_trained_nothing_is_not_found(here: World) -> None:
    store_run(here.store, here.artifacts, make_evidence(1, 12, 1, measure_only=True))
    with pytest.raises(NotFoundError, match="trained no adapter"):
        await here.application.model_card("r-1")


async def test_bundle_of_a_run_without_evidence_or_with_another_is_refused(
    here: World, run: RunWorld
) -> None:
    uri = here.artifacts.uri("runs/r-1/evidence.zip")
    here.artifacts.put_bytes("runs/r-1/evidence.zip", b"another")
    with pytest.raises(PreconditionError, match="is damaged"):
        await here.application.bundle("r-1")
    here.artifacts.delete(uri)
    with pytest.raises(NotFoundError, match="has no evidence"):
        await here.application.bundle("r-1")
    here.store.create_run("r-3", "failed", {"seed": 1})
    here.store.update_run("r-3", status=RunStatus.FAILED)
    with pytest.raises(NotFoundError, match="run r-3 is failed"):
        await here.application.bundle("r-3")


async def test_command_line_fetches_verifies_and_writes_the_card(
    url: str, run: RunWorld, tmp_path: Path
) -> None:
    async def call(*arguments: str) -> tuple[int, Any]:
        command = [sys.executable, "-m", "services.cli", *arguments, "--json"]
        done = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        out, _ = await done.communicate()
        return done.returncode or 0, json.loads(out) if out else None

    folder = tmp_path / "mine"
    folder.mkdir()
    path, card = folder / "got.zip", folder / "README.md"
    status, told = await call("bundle", "r-1", "-o", str(path), "--url", url)
    assert status == 0
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert told["size_bytes"] == path.stat().st_size
    assert [file.name for file in folder.iterdir()] == ["got.zip"]

    status, found = await call("verify", str(path), "--expect-sha256", told["sha256"])
    # The page of this bundle is a stand-in; all else is as it should be.
    assert status == 1
    assert [check["id"] for check in found["checks"] if not check["ok"]] == ["page"]
    assert (await call("verify", str(folder / "none.zip")))[0] == 2

    status, _ = await call("report", "r-1", "--model-card", str(card), "--url", url)
    assert status == 0
    assert card.read_text().startswith("---\nbase_model: test-model\n")


async def test_damaged_report_and_bundle_are_refused_on_both_faces(
    here: World, rest: httpx.AsyncClient, stub: Any
) -> None:
    store_run(here.store, here.artifacts, make_evidence(1, 12, 1))
    run = here.store.get_run("r-1")
    page = Artifact(run.report_html_uri, sha256_bytes(b"<!doctype html>"), 15)
    report = Artifact(run.report_uri, sha256_bytes(here.artifacts.get_bytes(run.report_uri)), 0)
    note_report_files(here.store, "r-1", report, page)
    bundle = await here.application.bundle("r-1")
    for made in (report, page, bundle):
        path = Path(made.uri.removeprefix("file://"))
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    for path, call in (
        ("report", stub.GetReport(pb.GetReportRequest(run_id="r-1"))),
        ("report.html", stub.GetReportHtml(pb.GetReportHtmlRequest(run_id="r-1"))),
        ("bundle", stub.GetBundle(pb.GetBundleRequest(run_id="r-1")).read()),
    ):
        answer = await rest.get(f"/v1/runs/r-1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (412, "PRECONDITION"), path
        assert "is damaged: its sha256 is" in answer.json()["detail"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
