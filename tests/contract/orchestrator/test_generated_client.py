"""A client that openapi-python-client generates from the checked-in document drives a real server."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType

from services.orchestrator.api import build_http_app
from tests.fakes.orchestrator import World
from tests.fakes.registry import add
from tests.fakes.servers import http_server
from tests.seeded import seed

PACKAGE = "valign_api"
# It knows no YAML. JSON can be sent in its place; the text of a shipped study is in the raw answer.
KNOWN = (
    "Unsupported content type application/yaml",
    "Unsupported content_type application/yaml",
)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The generated package, importable."""
    folder = tmp_path_factory.mktemp("generated")
    file = ConfigFile.load_from_path(Path("docs/openapi-python-client.yaml"))
    file.post_hooks = []
    config = Config.from_sources(
        file, MetaType.NONE, Path("docs/openapi.json"), "utf-8", overwrite=True, output_path=folder / PACKAGE
    )
    complaints = [f"{one.header} {one.detail}" for one in generate(config=config)]
    assert [text for text in complaints if not any(known in text for known in KNOWN)] == []
    sys.path.insert(0, str(folder))
    yield folder / PACKAGE
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def _client_of(url: str) -> Any:
    return _api("client").AuthenticatedClient(base_url=url, token="none")  # noqa: S106


def _api(path: str) -> ModuleType:
    return importlib.import_module(f"{PACKAGE}.{path}")


async def test_generated_client_creates_lists_watches_and_reads(generated: Path, here: World) -> None:
    await seed(here)
    add(here.store.registry, "a", run_id="r-trained")
    models = _api("models")
    async with http_server(build_http_app(here.application)) as url, _client_of(url) as client:
        study = models.Study.from_dict({"name": "generated"})
        run = await _api("api.runs.create_run").asyncio(client=client, body=study, idempotency_key="k")
        again = await _api("api.runs.create_run").asyncio(client=client, body=study, idempotency_key="k")
        assert (run.run_id, run.name) == (again.run_id, "generated")
        page = await _api("api.runs.list_runs").asyncio(
            client=client, status=models.RunStatus.SUCCEEDED, page_size=2
        )
        assert [one.status for one in page.runs] == [models.RunStatus.SUCCEEDED] * 2
        got = await _api("api.runs.get_run").asyncio_detailed("r-failed", client=client)
        assert got.parsed.status is models.RunStatus.FAILED
        assert got.headers["etag"]
        seen = await _api("api.runs.get_run").asyncio_detailed(
            "r-failed", client=client, if_none_match=got.headers["etag"]
        )
        assert seen.status_code == 304
        watched = await _api("api.runs.watch_run").asyncio_detailed("r-failed", client=client)
        assert b"event: run.failed" in watched.content
        report = await _api("api.results.get_report").asyncio("r-trained", client=client)
        assert report.run_id == "r-trained"
        assert report.analysis.verdict.decision in ("promote", "hold", "reject")
        assert json.loads(json.dumps(report.to_dict()))["schema_version"]
        adapters = await _api("api.adapters.list_adapters").asyncio(client=client)
        assert [one.name for one in adapters.adapters] == ["a"]
        route = await _api("api.adapters.promote_adapter").asyncio(
            "a", client=client, body=models.PromoteRequest()
        )
        assert (route.adapter, route.version) == ("a", 1)
        routes = await _api("api.adapters.list_routes").asyncio(client=client)
        assert [one.name for one in routes.routes] == ["valign"]


async def test_generated_client_gives_errors_as_problems(generated: Path, here: World) -> None:
    models = _api("models")
    async with http_server(build_http_app(here.application)) as url, _client_of(url) as client:
        missing = await _api("api.runs.get_run").asyncio("r-none", client=client)
        assert isinstance(missing, models.Problem)
        assert missing.code is models.ErrorCode.NOT_FOUND
        wrong = await _api("api.runs.create_run").asyncio(
            client=client, body=models.Study.from_dict({"name": "x", "seed": -1})
        )
        assert (wrong.code, wrong.errors[0].path) == (models.ErrorCode.INVALID_INPUT, "seed")
        stale = await _api("api.runs.cancel_run").asyncio_detailed("r-none", client=client, if_match='"x"')
        assert stale.parsed.code is models.ErrorCode.NOT_FOUND


def test_generated_answers_are_typed(generated: Path) -> None:
    untyped = []
    for file in sorted(generated.glob("api/*/*.py")):
        text = file.read_text(encoding="utf-8")
        if "def asyncio(" not in text and file.name not in (
            "__init__.py",
            "get_shipped_study.py",
            "watch_run.py",
        ):
            untyped.append(file.name)
    assert untyped == []
