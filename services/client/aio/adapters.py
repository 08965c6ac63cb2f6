"""Adapters and routes: what was trained, and which of it speaks to the public."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

from services.client.aio.transport import AsyncTransport
from services.client.models import Adapter, AdapterPage, AdapterState, AdapterWhole, Route, RouteWhole
from services.client.settings import asked, if_match


class AsyncAdapters:
    """``client.adapters``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._http = transport

    async def page(
        self,
        *,
        state: AdapterState | str = "",
        run_id: str = "",
        order_by: str = "",
        page_size: int = 50,
        page_token: str = "",
    ) -> AdapterPage:
        """One page of adapters, newest first unless ``order_by`` is "create_time"."""
        params = asked({name: value for name, value in locals().items() if name != "self"})
        return AdapterPage.model_validate(await self._http.json("GET", "/adapters", params=params))

    async def list(self, **filters: Any) -> AsyncIterator[Adapter]:
        """All adapters that the filters of ``page`` let through."""
        token = ""
        while True:
            page = await self.page(**filters, page_token=token)
            for adapter in page.adapters:
                yield adapter
            token = page.next_page_token
            if not token:
                return

    async def get(self, name: str) -> AdapterWhole:
        """One adapter, with its history, its approvals and where it is loaded."""
        return AdapterWhole.model_validate(await self._http.json("GET", _adapter(name)))

    async def approve(self, name: str, comment: str = "", *, etag: str = "") -> Adapter:
        """Record the caller's approval."""
        return await self._change(name, "approve", {"comment": comment}, etag)

    async def reject(self, name: str, reason: str, *, etag: str = "") -> Adapter:
        """Say that an adapter must never be promoted."""
        return await self._change(name, "reject", {"reason": reason}, etag)

    async def promote(
        self, name: str, *, route: str = "", override_reason: str = "", etag: str = ""
    ) -> Route:
        """Make it what a route serves ("": ``valign``), once every replica has proven it."""
        body = {"route": route, "override_reason": override_reason}
        answer = await self._http.json("POST", f"{_adapter(name)}/promote", json=body, headers=if_match(etag))
        return Route.model_validate(answer)

    async def prune(self, *, dry_run: bool = False) -> Sequence[str]:
        """Remove the files of old adapters that nothing refers to; returns their names."""
        params = asked({"dry_run": dry_run})
        return [
            str(name) for name in (await self._http.json("POST", "/adapters/prune", params=params))["pruned"]
        ]

    async def _change(self, name: str, verb: str, body: dict[str, str], etag: str) -> Adapter:
        path = f"{_adapter(name)}/{verb}"
        return Adapter.model_validate(await self._http.json("POST", path, json=body, headers=if_match(etag)))


class AsyncRoutes:
    """``client.routes``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._http = transport

    async def list(self) -> list[Route]:
        """The public names, what they serve, and how far each replica is."""
        return [Route.model_validate(one) for one in (await self._http.json("GET", "/routes"))["routes"]]

    async def get(self, name: str = "valign") -> RouteWhole:
        """One route with its history."""
        return RouteWhole.model_validate(await self._http.json("GET", _route(name)))

    async def set_canary(self, name: str, *, adapter: str = "", share: float, etag: str = "") -> Route:
        """Send a share of the route's requests, in [0, 1], to an adapter; 0 ends that."""
        body = {"adapter": adapter, "share": share}
        answer = await self._http.json("POST", f"{_route(name)}/canary", json=body, headers=if_match(etag))
        return Route.model_validate(answer)

    async def roll_back(
        self, name: str = "valign", *, to: str | None = None, reason: str = "", etag: str = ""
    ) -> Route:
        """Make it serve what it served before (None), any earlier adapter, or the base model ("")."""
        body = {"to": to, "reason": reason}
        answer = await self._http.json("POST", f"{_route(name)}/rollback", json=body, headers=if_match(etag))
        return Route.model_validate(answer)


def _adapter(name: str) -> str:
    return f"/adapters/{quote(name, safe='')}"


def _route(name: str) -> str:
    return f"/routes/{quote(name, safe='')}"
