"""What public names serve: an adapter or the base model, and a canary with a share of the requests.

Routes live in one incarnation of the engine, like the adapters that they name: a generator that has
restarted has none, until it is told them again.
"""

import hashlib
import math
import re
from dataclasses import dataclass, replace

from services.common.errors import (
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
)
from services.generator.adapters import Adapters
from services.generator.types import Engine

MAX_ROUTES = 256
_MOST_REMEMBERED = 4 * MAX_ROUTES
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Route:
    """A public name and what it serves; an empty adapter is the base model.

    ``canary_share``, in [0, 1], is the share of the requests that ``canary_adapter`` answers; without a
    share there is no canary. ``version`` rises with every change.
    """

    name: str
    adapter: str
    canary_adapter: str = ""
    canary_share: float = 0.0
    version: int = 1

    @property
    def adapters(self) -> frozenset[str]:
        """The adapters that it names."""
        named = {self.adapter, self.canary_adapter if self.canary_share else ""}
        return frozenset(named - {""})

    def choose(self, item_id: str) -> str:
        """The adapter that answers an item: the same one for the same id, as long as the version is."""
        if not self.canary_share:
            return self.adapter
        digest = hashlib.sha256(f"{self.version}\0{item_id}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        return self.canary_adapter if place < self.canary_share else self.adapter


class Routes:
    """The routes of one engine. Not thread-safe: lives in one event loop."""

    def __init__(self, engine: Engine, adapters: Adapters) -> None:
        self._engine = engine
        self._adapters = adapters
        self._set: dict[str, tuple[int, Route]] = {}
        self._ever: set[str] = set()

    def set(self, route: Route) -> Route:
        """Serve this from now on; what has the same content already stays as it is.

        Raises:
            InvalidInputError: the name or the share is malformed.
            PreconditionError: an adapter is not loaded, or the version is not above the route's.
            OverloadedError: there are too many routes.
            NotReadyError: the engine is not running.
        """
        route = _checked(route)
        _ = self._engine.info  # NotReadyError while there is no engine
        present = self._present(route.name)
        if present is not None:
            if replace(present, version=route.version) == route:
                route = present if present.version > route.version else route
            elif present.version >= route.version:
                raise PreconditionError(
                    f"route {route.name} has version {present.version}, and this order has {route.version}:"
                    " an old order does not undo a new one; read the route and send a higher version"
                )
        elif sum(self._present(name) is not None for name in list(self._set)) >= MAX_ROUTES:
            raise OverloadedError(f"there are {MAX_ROUTES} routes, the most that a generator keeps")
        for name in sorted(route.adapters):
            if not self._adapters.serves(name):
                raise PreconditionError(
                    f"route {route.name} names adapter {name}, which is not loaded; load it first"
                )
        self._set[route.name] = (self._engine.incarnation, route)
        if len(self._ever) < _MOST_REMEMBERED:
            self._ever.add(route.name)
        return route

    def get(self, name: str) -> Route:
        """NotFoundError if it was never set here; NotReadyError while there is no engine."""
        _ = self._engine.info
        route = self._present(name)
        if route is None:
            raise NotFoundError(f"there is no route {name[:80]!r} here; set it first")
        return route

    def all(self) -> list[Route]:
        """What is set now, by name."""
        present = (self._present(name) for name in sorted(self._set))
        return [route for route in present if route is not None]

    def find(self, name: str) -> Route | None:
        """The route, if it is set now."""
        return self._present(name)

    def was_set(self, name: str) -> bool:
        """Whether the name was a route's at any time of this process: it may come again."""
        return name in self._ever

    def resolve(self, name: str, item_id: str) -> str:
        """The adapter that answers an item; NotReadyError if the route is not set (yet, or any more)."""
        route = self._present(name)
        if route is None:
            raise NotReadyError(
                f"route {name[:80]!r} is not set here; the orchestrator sets it when its adapters are proven"
            )
        return route.choose(item_id)

    def check_unnamed(self, adapter: str) -> None:
        """PreconditionError if a route names the adapter."""
        names = sorted(name for name in list(self._set) if self._names(name, adapter))
        if names:
            raise PreconditionError(
                f"adapter {adapter} is what route {', '.join(names)} serves; move the route first"
            )

    def _names(self, name: str, adapter: str) -> bool:
        route = self._present(name)
        return route is not None and adapter in route.adapters

    def _present(self, name: str) -> Route | None:
        incarnation, route = self._set.get(name, (0, None))
        if route is not None and incarnation != self._engine.incarnation:
            del self._set[name]
            return None
        return route


def _checked(route: Route) -> Route:
    if not _NAME.fullmatch(route.name):
        raise InvalidInputError(
            f"{route.name[:80]!r} is no route name: letters, digits, '.', '_', '-', at most 64"
        )
    if not math.isfinite(route.canary_share) or not 0 <= route.canary_share <= 1:
        raise InvalidInputError(f"the canary's share is {route.canary_share:g}, not in [0, 1]")
    if route.version < 1:
        raise InvalidInputError("a route's version is 1 or above")
    return route if route.canary_share else replace(route, canary_adapter="", canary_share=0.0)
