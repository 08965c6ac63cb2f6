"""What people can do with adapters and routes, once: REST and gRPC are thin faces of ``Registry``.

A route's wanted state moves only here, and only after every replica has proven the adapter; the replicas
follow (``reconcile``).
"""

import asyncio
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from services.common.errors import (
    ErrorCode,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
    ValignError,
)
from services.orchestrator.identity import Scope, require
from services.orchestrator.listing import ListOrder, Page
from services.orchestrator.registry.lifecycle import (
    AGAINST_THE_GATE,
    ROLLED_BACK,
    check_approver,
    check_promotion,
    check_servable,
    needs_override,
    previous_of,
)
from services.orchestrator.registry.loading import Loader
from services.orchestrator.registry.ports import Replica
from services.orchestrator.registry.pruning import Pruner
from services.orchestrator.registry.records import (
    BASE,
    DEFAULT_ROUTE,
    AdapterDetails,
    AdapterRecord,
    AdapterState,
    RouteChange,
    RouteRecord,
    RouteView,
)
from services.orchestrator.registry.views import view_of
from services.orchestrator.store.registry import SqlRegistry

MAX_TEXT_CHARACTERS = 2000
_ADAPTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_ROUTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_AWAY = frozenset({ErrorCode.NOT_READY, ErrorCode.TIMEOUT})


def _nobody() -> None:
    """The default listener."""


class Registry:
    """Adapters, approvals, promotions, canaries and roll-backs.

    Args:
        store: the registry in the database.
        replicas: every generator replica, as they are whenever it is read.
        pruner: removes old adapters.
        on_change: called after a route's wanted state has moved, in the event loop's thread.
        require_approval: a second person must approve every adapter, whatever its study says.
    """

    def __init__(
        self,
        store: SqlRegistry,
        replicas: Sequence[Replica],
        pruner: Pruner,
        on_change: Callable[[], None] = _nobody,
        *,
        require_approval: bool = False,
    ) -> None:
        self._store = store
        self._replicas = replicas
        self._pruner = pruner
        self._on_change = on_change
        self.require_approval = require_approval
        self._loader = Loader(store)

    # Adapters

    async def adapters(
        self,
        state: AdapterState | None = None,
        run_id: str = "",
        page_size: int = 50,
        page_token: str = "",
        order: ListOrder = ListOrder.NEWEST,
    ) -> tuple[list[AdapterRecord], str]:
        """A page of adapters, and the next page's token ("" on the last).

        A page holds at most 200 adapters, also if more are asked for.
        """
        page = Page(page_size, page_token, order).bounded()
        if run_id and not _ADAPTER.fullmatch(run_id):
            return [], ""
        return await asyncio.to_thread(
            self._store.page, state, run_id, page.size, page.token, order=page.order
        )

    async def adapter(self, name: str) -> AdapterDetails:
        """One adapter, its history, its approvals and where it is loaded."""
        record = await self._known(name)
        return AdapterDetails(
            record,
            tuple(await asyncio.to_thread(self._store.history, name)),
            tuple(await asyncio.to_thread(self._store.approvals, name)),
            tuple(await asyncio.to_thread(self._store.replicas.adapters, name)),
        )

    async def approve(self, name: str, comment: str = "") -> AdapterRecord:
        """Record the caller's approval; a second one by the same person changes nothing.

        PreconditionError: the caller began the adapter's run.
        """
        principal = require(Scope.APPROVE)
        check_approver(await self._known(name), principal.name)
        await asyncio.to_thread(self._store.approve, name, _text(comment, "comment"))
        return await self._known(name)

    async def reject(self, name: str, reason: str) -> AdapterRecord:
        """Say that an adapter must never be served; PreconditionError while a route serves it."""
        require(Scope.APPROVE)
        await self._known(name)
        if not reason.strip():
            raise InvalidInputError("a rejection needs a reason: say what is wrong with the adapter")
        await asyncio.to_thread(self._store.reject, name, _text(reason, "reason"))
        return await self._known(name)

    async def prune(self, dry_run: bool = False) -> list[str]:
        """Remove the files of what the retention rule lets go; returns the adapters' names."""
        if not dry_run:
            require(Scope.ADMIN)
        return await self._pruner.prune(dry_run=dry_run)

    # Routes

    async def promote(self, name: str, route: str = "", override_reason: str = "") -> RouteView:
        """Make the adapter what a route serves, once every replica has proven it.

        Raises:
            PreconditionError: it may not be promoted, or a replica cannot serve it (which one, and why);
                nothing is changed.
            ForbiddenError: it takes an ``override_reason``, and the caller is no admin.
            ConflictError: somebody else has changed the route in the meantime.
        """
        require(Scope.PROMOTE)
        route = _route_name(route)
        found = await self.adapter(name)
        override = _text(override_reason, "override_reason").strip()
        self._check(found, override=bool(override))
        overridden = needs_override(found.adapter, found.history)
        if overridden:
            require(Scope.ADMIN)
        now = await asyncio.to_thread(self._store.routes.get, route)
        if now is not None and (now.adapter, now.canary_share) == (name, 0.0):
            return await self._view(now)
        await self._prove_everywhere(found.adapter)
        moved = await asyncio.to_thread(
            self._store.routes.set,
            route,
            adapter=name,
            expected_version=now.version if now else 0,
            expected_states={name: found.adapter.state},
            reason=f"{AGAINST_THE_GATE}: {override}" if overridden else "promoted",
            action="adapter.promote",
            details={"override_reason": override} if overridden else None,
        )
        return await self._moved(moved)

    async def set_canary(self, route: str, adapter: str, share: float) -> RouteView:
        """Send a share of a route's requests, in [0, 1], to an adapter that may be promoted; 0 ends that.

        Raises as ``promote`` does; InvalidInputError for a share outside its range.
        """
        require(Scope.PROMOTE)
        route = _route_name(route)
        if not math.isfinite(share) or not 0 <= share <= 1:
            raise InvalidInputError(f"a canary's share is in [0, 1], not {share:g}")
        now = await asyncio.to_thread(self._store.routes.get, route)
        if share == 0:
            if now is None:
                raise _no_route(route)
            if now.canary_share == 0:
                return await self._view(now)
            return await self._change(now, BASE, 0.0, "the canary ended", {})
        found = await self.adapter(adapter)
        self._check(found, override=False)
        if now is not None and now.adapter == adapter:
            raise InvalidInputError(
                f"route {route} serves adapter {adapter} already: it is no canary of itself"
            )
        if now is not None and (now.canary_adapter, now.canary_share) == (adapter, share):
            return await self._view(now)
        await self._prove_everywhere(found.adapter)
        now = now or _unset(route, found.adapter)
        return await self._change(
            now, adapter, share, f"canary with a share of {share:g}", {adapter: found.adapter.state}
        )

    async def roll_back(self, route: str = "", to: str | None = None, reason: str = "") -> RouteView:
        """Make a route serve what it served before: the adapter before (None), any earlier one by name, or
        the base model (""). A canary ends.

        A replica that does not answer holds nothing back: it follows when it is there again.

        Raises:
            NotFoundError: the route was never set.
            PreconditionError: it has never served that, it serves it now, or a replica refuses it.
            ConflictError: somebody else has changed the route in the meantime.
        """
        require(Scope.PROMOTE)
        route = _route_name(route)
        why = _text(reason, "reason").strip()
        now = await self._route(route)
        history = await asyncio.to_thread(self._store.routes.history, route)
        wanted = previous_of(history) if to is None else to
        if wanted == now.adapter:
            raise PreconditionError(
                f"route {route} serves {_named(wanted)} and there is nothing before it to go back to"
                if to is None
                else f"route {route} serves {_named(wanted)} already"
            )
        if wanted != BASE:
            if wanted not in {change.adapter for change in history}:
                raise PreconditionError(
                    f"route {route} has never served adapter {wanted[:80]!r}; promote it, or see its history"
                )
            record = await self._known(wanted)
            check_servable(record)
            await self._prove_everywhere(record, without_those_away=True)
        moved = await asyncio.to_thread(
            self._store.routes.set,
            route,
            adapter=wanted,
            expected_version=now.version,
            reason=f"{ROLLED_BACK}: {why}" if why else ROLLED_BACK,
            action="route.roll_back",
        )
        return await self._moved(moved)

    async def routes(self) -> list[RouteView]:
        """Every route, by name, and how far the replicas are."""
        return [await self._view(route) for route in await asyncio.to_thread(self._store.routes.all)]

    async def route(self, name: str) -> tuple[RouteView, list[RouteChange]]:
        """One route, and its history, newest first."""
        found = await self._route(name)
        history = await asyncio.to_thread(self._store.routes.history, name)
        return await self._view(found), history[::-1]

    async def _change(
        self, now: RouteRecord, canary: str, share: float, reason: str, states: dict[str, AdapterState]
    ) -> RouteView:
        moved = await asyncio.to_thread(
            self._store.routes.set,
            now.name,
            adapter=now.adapter,
            canary_adapter=canary,
            canary_share=share,
            expected_version=now.version,
            expected_states=states,
            reason=reason,
            action="route.set_canary",
        )
        return await self._moved(moved)

    async def _moved(self, route: RouteRecord) -> RouteView:
        self._on_change()
        return await self._view(route)

    async def _view(self, route: RouteRecord) -> RouteView:
        seen = await asyncio.to_thread(self._store.replicas.records)
        on_replicas = await asyncio.to_thread(self._store.replicas.adapters)
        # A fleet that knows no replica yet cannot be asked which; people may look all the same.
        targets = [replica.target for replica in self._replicas] if len(self._replicas) else []
        return view_of(route, targets, seen, on_replicas)

    async def _prove_everywhere(self, adapter: AdapterRecord, *, without_those_away: bool = False) -> None:
        async def on(replica: Replica) -> str:
            try:
                facts = await replica.look()
            except ValignError as error:
                away = without_those_away and error.code in _AWAY
                return "" if away else error.message
            try:
                await self._loader.prove(replica, facts, adapter)
            except ValignError as error:
                return error.message
            return ""

        replicas = tuple(self._replicas)
        said = await asyncio.gather(*(on(replica) for replica in replicas))
        failed = {replica.target: why for replica, why in zip(replicas, said, strict=True) if why}
        if failed:
            told = "; ".join(f"{target}: {why}" for target, why in failed.items())
            raise PreconditionError(
                f"adapter {adapter.name} is not proven on every replica, so nothing was changed: {told}",
                details={"replicas": failed},
            )

    def _check(self, found: AdapterDetails, *, override: bool) -> None:
        adapter = found.adapter
        if self.require_approval:
            adapter = replace(adapter, approval_required=True)
        check_promotion(adapter, found.history, found.approvals, override=override)

    async def _known(self, name: str) -> AdapterRecord:
        # A database may choke on some texts (PostgreSQL: NUL); no adapter is called like that.
        if not _ADAPTER.fullmatch(name):
            raise NotFoundError(f"there is no adapter {name[:80]!r} in the registry")
        return await asyncio.to_thread(self._store.get, name)

    async def _route(self, name: str) -> RouteRecord:
        found = await asyncio.to_thread(self._store.routes.get, name) if _ROUTE.fullmatch(name) else None
        if found is None:
            raise _no_route(name)
        return found


def _no_route(name: str) -> NotFoundError:
    return NotFoundError(f"route {name[:80]!r} was never set; promote an adapter to it")


def _unset(name: str, adapter: AdapterRecord) -> RouteRecord:
    return RouteRecord(name, BASE, BASE, 0.0, 0, adapter.update_time, "")


def _route_name(name: str) -> str:
    name = name or DEFAULT_ROUTE
    if not _ROUTE.fullmatch(name):
        raise InvalidInputError(
            f"{name[:80]!r} is no route name: letters, digits, '.', '_', '-', at most 64, beginning with a"
            " letter or digit"
        )
    return name


def _text(value: str, what: str) -> str:
    if len(value) > MAX_TEXT_CHARACTERS:
        raise InvalidInputError(f"{what} has {len(value)} characters; at most {MAX_TEXT_CHARACTERS} are kept")
    if any(ord(character) < 32 and character not in "\n\t" for character in value):
        raise InvalidInputError(f"{what} has control characters in it; write plain text")
    return value


def _named(adapter: str) -> str:
    return f"adapter {adapter}" if adapter else "the base model"
