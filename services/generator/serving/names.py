"""What a model's name means on the HTTP face, asked again for every request.

A public name (a route) comes first, then an adapter's own name, then the base model's. A public name thus
keeps its meaning whatever is loaded.
"""

import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from services.common.errors import NotFoundError, NotReadyError
from services.generator.service import Generator, Hold


def base_name(model: str, configured: str = "") -> str:
    """The base model's public name: the configured one, a local folder's name, or the hub id."""
    if configured:
        return configured
    return Path(model).resolve().name if Path(model).is_dir() else model


class PublicNames:
    """The models of the HTTP face.

    Args:
        generator: its routes and adapters.
        base: the base model's name, an attribute too.
        expected: public names that are answered with 503, not 404, before they are set.
    """

    def __init__(self, generator: Generator, base: str, expected: Collection[str]) -> None:
        self._generator = generator
        self.base = base
        self._expected = frozenset(expected)
        self._created = int(time.time())

    async def hold(self, kind: str, model: str, key: str) -> tuple[Hold, str]:
        """The adapter that answers now, held; and the route that led there, or "".

        ``key`` decides between a route's adapter and its canary: the same key goes the same way.

        Raises:
            NotFoundError: there is no such model.
            NotReadyError: no engine, or a public name that is not set (yet, or not again).
        """
        route = ""

        def choose() -> str:
            nonlocal route
            found = self._generator.routes.find(model)
            if found is not None:
                adapter = found.choose(key)
                if adapter and not self._generator.adapters.serves(adapter):
                    raise NotReadyError(f"{model} is being moved; try again")
                route = model
                return adapter
            if self._generator.adapters.serves(model):
                return model
            if model == self.base:
                return ""
            raise self._missing(model)

        return await self._generator.hold(kind, choose), route

    def listed(self) -> list[dict[str, Any]]:
        """The models, as OpenAI's API lists them: public names, the base model, adapters.

        ``root`` is what answers under a public name; ``parent`` an adapter's base model. NotReadyError
        while there is no engine.
        """
        info = self._generator.engine.info
        found: dict[str, dict[str, Any]] = {}
        for route in self._generator.routes.all():
            found[route.name] = self._card(route.name, route.adapter or self.base, None, info.max_model_len)
        found.setdefault(self.base, self._card(self.base, self.base, None, info.max_model_len))
        for adapter in self._generator.adapters.serving():
            card = self._card(adapter.name, adapter.name, self.base, info.max_model_len)
            found.setdefault(adapter.name, card)
        return list(found.values())

    def _card(self, name: str, root: str, parent: str | None, max_model_len: int) -> dict[str, Any]:
        return {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": "valign",
            "root": root,
            "parent": parent,
            "max_model_len": max_model_len,
        }

    def _missing(self, model: str) -> NotFoundError | NotReadyError:
        shown = model[:200]
        if model in self._expected or self._generator.routes.was_set(model):
            return NotReadyError(
                f"the model {shown!r} is a public name that serves nothing here yet; it is set when an"
                " adapter has been promoted, and again soon after a restart"
            )
        return NotFoundError(f"The model `{shown}` does not exist. GET /v1/models lists what there is.")
