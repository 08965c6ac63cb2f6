"""The REST API on a real uvicorn server."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from services.orchestrator.api import build_http_app
from tests.fakes.orchestrator import World, world
from tests.fakes.servers import http_server


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """The application behind the server."""
    with world(tmp_path) as made:
        yield made


@pytest.fixture
async def client(here: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the server."""
    async with (
        http_server(build_http_app(here.application)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client,
    ):
        yield client
