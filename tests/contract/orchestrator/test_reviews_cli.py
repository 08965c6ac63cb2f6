"""``valign reviews``: a whole review on the command line."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.orchestrator.api import build_http_app
from services.orchestrator.identity import Principal, Scope, acting_as
from tests.bundles import store_run
from tests.evidence import make_evidence
from tests.fakes.orchestrator import world
from tests.fakes.servers import http_server


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    with world(tmp_path) as here:
        with acting_as(Principal("key:author", frozenset({Scope.RUN}))):
            store_run(here.store, here.artifacts, make_evidence(1, 12, 1))
        async with http_server(build_http_app(here.application)) as served:
            yield served


async def _valign(url: str, *arguments: str, said: str = "") -> str:
    result = await asyncio.to_thread(
        CliRunner().invoke, app, ["reviews", *arguments, "--url", url], input=said
    )
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


async def test_reviews_create_rate_close_results_export(url: str, tmp_path: Path) -> None:
    options = ("--threshold", "-1", "--items-per-topic", "1", "--reviewers-per-item", "1")
    made = await _valign(url, "create", "r-1", *options)
    # The server logs to the same output.
    review = re.findall(r"rates? (rv-\w{12})", made)[0]
    assert f"review {review}: 2 items, 2 ratings wanted" in made
    said = await _valign(url, "rate", review, said="12\n7\n\ns\ncut off\n")
    assert "is no whole number from 1 to 10" in said
    assert "2 rated or given back" in said
    assert review in await _valign(url, "list")
    assert "flagged" in await _valign(url, "show", review)
    assert "evision 2" in await _valign(url, "close", review)
    assert "1 ratings of 2 items by 1 reviewers" in await _valign(url, "results", review)
    await _valign(url, "export", review, "--out", str(tmp_path / "out.csv"))
    assert "cut off" in (tmp_path / "out.csv").read_text(encoding="utf-8")
