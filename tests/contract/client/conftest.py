"""Both halves of the client against a real server, driven by the same tests."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.client import AsyncClient, Client, Retry
from services.orchestrator.api import build_http_app
from tests.fakes.orchestrator import World, world
from tests.served import served

QUICK = Retry(attempts=3, first_s=0.01, longest_s=0.05)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


@pytest.fixture
def url(here: World) -> Iterator[str]:
    with served(build_http_app(here.application)) as address:
        yield address


class Both:
    """A client of either kind: ``get`` awaits what can be awaited, and reads iterators whole."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    async def get(self, result: Any) -> Any:
        if inspect.isawaitable(result):
            return await result
        if hasattr(result, "__aiter__"):
            return [one async for one in result]
        return list(result) if inspect.isgenerator(result) else result

    async def close(self, client: Any) -> None:
        await self.get(client.aclose() if hasattr(client, "aclose") else client.close())


@pytest.fixture(params=[Client, AsyncClient], ids=["sync", "async"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param)
