"""Versions of a reference set compared, over REST, gRPC and the command line."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from google.protobuf.json_format import MessageToDict
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator import catalogue
from services.orchestrator.api import build_http_app
from services.orchestrator.schemas import ReferenceSetDocument
from tests.fakes.orchestrator import World, world
from tests.fakes.servers import http_server


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


@pytest.fixture
async def url(here: World) -> AsyncIterator[str]:
    async with http_server(build_http_app(here.application)) as served:
        yield served


def _changed() -> str:
    """The packaged GDPR set with another text, another map and a review date long past."""
    document = ReferenceSetDocument.from_domain(catalogue.load_reference_set("gdpr-article-5"))
    data = document.model_dump(mode="json")
    data["version"], data["review_date"] = "9.0", "2020-01-01"
    data["principles"][0]["text"] = "Data are used openly."
    data["topics"]["bias-removal"] = ["fairness"]
    return yaml.safe_dump(data)


async def test_diff_of_a_document_and_a_packaged_set_names_every_change(url: str) -> None:
    body = {"old": {"id": "gdpr-article-5"}, "new": {"document": _changed()}}
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        found = (await client.post("/v1/reference-sets/diff", json=body)).raise_for_status().json()
    assert found["new"] == "gdpr-article-5 9.0"
    assert found["measures_differently"] is True
    assert [change["what"] for change in found["principles"]] == [
        "principles.lawfulness-fairness-and-transparency.text"
    ]
    assert [(change["kind"], change["new"]) for change in found["topics"]] == [("changed", "fairness")]
    assert {change["what"] for change in found["governance"]} == {"version", "review_date"}
    assert "due for review on 2020-01-01" in found["warnings"][0]


async def test_diff_with_a_run_uses_the_set_as_the_run_had_it(url: str, here: World) -> None:
    study = f"name: own\nreference_set:\n{_indented(_changed())}"
    run, _ = await here.application.create_run(study)
    body = {"old": {"run_id": run.run_id}, "new": {"document": _changed()}}
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        found = (await client.post("/v1/reference-sets/diff", json=body)).json()
    assert (found["principles"], found["topics"], found["governance"]) == ([], [], [])
    assert found["measures_differently"] is False


@pytest.mark.parametrize("stored", [{"name": "old"}, {"name": "old", "reference_set": {"id": "x"}}])
async def test_diff_with_a_run_whose_set_this_version_cannot_read_says_so(
    url: str, here: World, stored: dict[str, Any]
) -> None:
    here.store.create_run("r-old", "old", stored)
    body = {"old": {"run_id": "r-old"}, "new": {"document": "/"}}
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        answer = await client.post("/v1/reference-sets/diff", json=body)
    assert (answer.status_code, answer.json()["code"]) == (412, "PRECONDITION")
    assert "run r-old cannot be read by this version" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"old": {"id": "gdpr-article-5"}}, 422, "new"),
        ({"old": {}, "new": {"id": "gdpr-article-5"}}, 422, "exactly one"),
        ({"old": {"id": "nothing"}, "new": {"id": "gdpr-article-5"}}, 422, "nothing"),
        ({"old": {"run_id": "r-1"}, "new": {"id": "gdpr-article-5"}}, 404, "r-1"),
        ({"old": {"document": "id: 3"}, "new": {"id": "gdpr-article-5"}}, 422, "required"),
    ],
)
async def test_diff_of_what_is_not_there_says_what(url: str, body: object, status: int, word: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        answer = await client.post("/v1/reference-sets/diff", json=body)
    assert answer.status_code == status
    assert word in answer.text


async def test_diff_over_grpc_says_the_same_as_rest(url: str, stub: object, here: World) -> None:
    document = _changed()
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        body = {"old": {"id": "gdpr-article-5"}, "new": {"document": document}}
        over_http = (await client.post("/v1/reference-sets/diff", json=body)).json()
    request = pb.DiffReferenceSetsRequest(
        old=pb.ReferenceSetSource(id="gdpr-article-5"), new=pb.ReferenceSetSource(document=document)
    )
    answer = await stub.DiffReferenceSets(request)  # type: ignore[attr-defined]
    assert MessageToDict(answer.diff) == over_http
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.DiffReferenceSets(pb.DiffReferenceSetsRequest())  # type: ignore[attr-defined]
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_refs_diff_prints_changes_and_the_overdue_review(url: str, tmp_path: Path) -> None:
    import asyncio

    file = tmp_path / "mine.yaml"
    file.write_text(_changed(), encoding="utf-8")
    arguments = ["refs", "diff", "gdpr-article-5", str(file), "--url", url]
    shown = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "+ Data are used openly." in shown.output
    assert "due for review on 2020-01-01" in shown.output
    as_json = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--json"])
    # The server logs to the same stream in this test.
    printed = as_json.output[as_json.output.index("{\n") :]
    assert json.loads(printed)["measures_differently"] is True


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())
