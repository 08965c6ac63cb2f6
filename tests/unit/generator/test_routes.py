"""Routes: monotone versions, loaded adapters alone, and a share that is kept to."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.artifacts import ArtifactStore
from services.common.errors import (
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
)
from services.generator import routes as routes_module
from services.generator.adapters import Adapters
from services.generator.routes import Route, Routes
from tests.fakes.adapter_folders import write_adapter
from tests.fakes.fake_engine import FakeEngine


class Here:
    """An engine with two adapters, and its routes."""

    def __init__(self, folder: Path) -> None:
        self.engine = FakeEngine()
        self.store = ArtifactStore(str(folder / "store"))
        self.folder = folder
        self.adapters = Adapters(self.engine, self.store, folder / "cache", max_bytes=10**6, tolerance=0.01)
        self.routes = Routes(self.engine, self.adapters)

    async def load(self, *names: str) -> None:
        for number, name in enumerate(names):
            made = write_adapter(self.store, self.folder / name, f"adapters/{name}", rank=2 + 2 * number)
            await self.adapters.load(name, made.uri, made.sha256)


@pytest.fixture
async def here(tmp_path: Path) -> Here:
    made = Here(tmp_path)
    await made.engine.start()
    await made.load("a", "b")
    return made


async def test_set_route_of_loaded_adapters_is_what_get_returns(here: Here) -> None:
    route = Route("valign", "a", "b", 0.25, 3)
    assert here.routes.set(route) == route
    assert here.routes.get("valign") == route
    with pytest.raises(NotFoundError, match="no route 'other'"):
        here.routes.get("other")


async def test_set_route_of_an_adapter_that_is_not_loaded_is_refused_and_changes_nothing(here: Here) -> None:
    here.routes.set(Route("valign", "a"))
    for route in (Route("valign", "c", version=2), Route("valign", "a", "c", 0.5, 2)):
        with pytest.raises(PreconditionError, match="names adapter c, which is not loaded"):
            here.routes.set(route)
    assert here.routes.get("valign") == Route("valign", "a")


async def test_set_route_old_version_is_refused_unless_the_content_is_the_same(here: Here) -> None:
    here.routes.set(Route("valign", "a", version=5))
    for version in (4, 5):
        with pytest.raises(PreconditionError, match="has version 5"):
            here.routes.set(Route("valign", "b", version=version))
        assert here.routes.set(Route("valign", "a", version=version)).version == 5
    assert here.routes.set(Route("valign", "a", version=7)).version == 7
    assert here.routes.set(Route("valign", "", version=8)) == Route("valign", "", version=8)


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan"), float("inf"), -float("inf")])
async def test_set_route_share_outside_its_range_is_refused(here: Here, share: float) -> None:
    with pytest.raises(InvalidInputError, match="share"):
        here.routes.set(Route("valign", "a", "b", share))


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 65, "../a", "\0"])
async def test_set_route_malformed_name_or_version_is_refused(here: Here, name: str) -> None:
    with pytest.raises(InvalidInputError, match="route name"):
        here.routes.set(Route(name, "a"))
    with pytest.raises(InvalidInputError, match="version"):
        here.routes.set(Route("valign", "a", version=0))


async def test_set_route_without_a_share_has_no_canary(here: Here) -> None:
    assert here.routes.set(Route("valign", "a", "never-loaded", 0.0)) == Route("valign", "a")


async def test_set_route_too_many_are_refused(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_module, "MAX_ROUTES", 1)
    here.routes.set(Route("one", "a"))
    with pytest.raises(OverloadedError):
        here.routes.set(Route("two", "a"))
    here.routes.set(Route("one", "b", version=2))


async def test_engine_restarted_has_no_routes(here: Here) -> None:
    here.routes.set(Route("valign", "a"))
    here.engine.die()
    with pytest.raises(NotReadyError):
        here.routes.get("valign")
    await here.engine.stop()
    await here.engine.start()
    with pytest.raises(NotFoundError):
        here.routes.get("valign")
    with pytest.raises(NotReadyError, match="is not set here"):
        here.routes.resolve("valign", "1")
    here.routes.check_unnamed("a")
    with pytest.raises(PreconditionError, match="not loaded"):
        here.routes.set(Route("valign", "a"))


async def test_check_unnamed_after_a_restart_of_the_engine_finds_no_route(here: Here) -> None:
    for name in ("one", "two", "three"):
        here.routes.set(Route(name, "a", "", 0.0, 1))
    await here.engine.start()
    here.routes.check_unnamed("a")


async def test_set_route_many_of_a_former_engine_take_no_room(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_module, "MAX_ROUTES", 1)
    here.routes.set(Route("one", "", "", 0.0, 1))
    await here.engine.start()
    assert here.routes.set(Route("two", "", "", 0.0, 1)).name == "two"


async def test_check_unnamed_adapter_of_a_route_or_canary_is_refused(here: Here) -> None:
    here.routes.set(Route("valign", "a", "b", 0.1))
    for name in ("a", "b"):
        with pytest.raises(PreconditionError, match="route valign serves"):
            here.routes.check_unnamed(name)
    here.routes.set(Route("valign", "b", version=2))
    here.routes.check_unnamed("a")


@given(share=st.floats(0, 1), version=st.integers(1, 2**63), item=st.text())
def test_choose_same_id_goes_the_same_way_and_ends_are_exact(share: float, version: int, item: str) -> None:
    route = Route("valign", "a", "b", share, version)
    assert route.choose(item) == route.choose(item)
    if share in (0, 1):
        assert route.choose(item) == ("b" if share else "a")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_choose_share_is_kept_to(share: float) -> None:
    route = Route("valign", "a", "b", share, 3)
    taken = sum(route.choose(str(number)) == "b" for number in range(20_000)) / 20_000
    # Five standard deviations of a share of 20,000 draws.
    assert abs(taken - share) < 5 * (share * (1 - share) / 20_000) ** 0.5
