"""Aliases follow the routes; and, where it is asked for, a route follows an alias moved in MLflow."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog

from services.common.errors import ErrorCode, NotFoundError, ValignError
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.registry.records import DEFAULT_ROUTE, RouteRecord
from services.orchestrator.registry.service import Registry
from services.orchestrator.store.registry import SqlRegistry
from services.orchestrator.store.tracking import MirroredAlias, MirroredVersion, SqlTracking
from services.orchestrator.tracking import metrics, names
from services.orchestrator.tracking.aliases import Decision, Move, Wanted, decide
from services.orchestrator.tracking.client import MlflowServer
from services.orchestrator.tracking.versions import REFUSED_TAG

log = structlog.get_logger(__name__)

MLFLOW = Principal("mlflow", frozenset({Scope.PROMOTE}))
"""Whoever moves an alias in MLflow. No admin: the gate's word and the approvals stay."""

# What passes by itself: the alias stays as it was moved, and the next look asks again.
_AGAIN = frozenset({ErrorCode.NOT_READY, ErrorCode.TIMEOUT, ErrorCode.OVERLOADED, ErrorCode.CONFLICT})


class Champions:
    """Looks at the aliases of every model that valign has made, and at the routes.

    Args:
        registry: what people promote with; asked for what is mirrored back.
        store: candidates and routes.
        mirror_back: take an alias that was moved for a request to promote.
    """

    def __init__(
        self,
        server: MlflowServer,
        tracking: SqlTracking,
        registry: Registry,
        store: SqlRegistry,
        *,
        mirror_back: bool,
    ) -> None:
        self._server = server
        self._tracking = tracking
        self._registry = registry
        self._store = store
        self._mirror_back = mirror_back

    async def look(self) -> None:
        """Bring every alias and its route together. Raises as ``MlflowServer`` does."""
        versions = await asyncio.to_thread(self._tracking.versions)
        for model in sorted({one.model for one in versions}):
            await self._look_at(model, [one for one in versions if one.model == model])

    async def _look_at(self, model: str, versions: Sequence[MirroredVersion]) -> None:
        try:
            actual = await asyncio.to_thread(self._server.aliases, model)
        except NotFoundError:
            log.warning("mlflow.model_gone", model=model, then="what is a candidate or serves is made again")
            await asyncio.to_thread(self._tracking.forget_model, model)
            return
        known = await asyncio.to_thread(self._tracking.aliases, model)
        for wanted in await self._wanted(versions):
            now, before = actual.get(wanted.alias, ""), known.get(wanted.alias)
            decision = decide(wanted, now, before, mirror_back=self._mirror_back)
            await self._act(model, versions, wanted, now, before, decision)

    async def _wanted(self, versions: Sequence[MirroredVersion]) -> list[Wanted]:
        """The aliases of a model, by what the registry says now."""
        of_adapter = {one.adapter: one.version for one in versions}
        routes: dict[str, RouteRecord | None] = {DEFAULT_ROUTE: None}
        routes |= {route.name: route for route in await asyncio.to_thread(self._store.routes.all)}
        candidates = await asyncio.to_thread(self._tracking.candidates)
        mine = [of_adapter[one.name] for one in candidates if one.name in of_adapter]
        return [
            Wanted(names.CANDIDATE, mine[-1] if mine else ""),
            *(
                Wanted(
                    names.alias_of(name, DEFAULT_ROUTE),
                    of_adapter.get(route.adapter, "") if route else "",
                    name,
                    route.version if route else 0,
                )
                for name, route in routes.items()
            ),
        ]

    async def _act(
        self,
        model: str,
        versions: Sequence[MirroredVersion],
        wanted: Wanted,
        actual: str,
        before: MirroredAlias | None,
        decision: Decision,
    ) -> None:
        settled = MirroredAlias(model, wanted.alias, wanted.version, None, wanted.route_version)
        match decision.move:
            case Move.KEEP:
                if before != settled:
                    await asyncio.to_thread(self._tracking.put_alias, settled)
            case Move.SET:
                if decision.why:
                    log.warning("mlflow.alias_put_back", model=model, alias=wanted.alias, reason=decision.why)
                await self._set(settled, before, actual)
            case Move.PUT_BACK:
                adapter = await asyncio.to_thread(self._adapter_of, model, versions, actual)
                await self._refuse(settled, before, actual, adapter, decision.why)
            case Move.ASK:
                await self._ask(settled, before, wanted, actual, versions)

    async def _set(self, settled: MirroredAlias, before: MirroredAlias | None, actual: str) -> None:
        # Written first: a process that dies in between must not take its own move for somebody's.
        was = before.version if before is not None else actual
        intended = MirroredAlias(
            settled.model, settled.alias, was, settled.version, before.route_version if before else 0
        )
        await asyncio.to_thread(self._tracking.put_alias, intended)
        try:
            await asyncio.to_thread(self._server.set_alias, settled.model, settled.alias, settled.version)
        except NotFoundError as error:
            # The version was deleted in MLflow: the next step makes it again, and sets the alias.
            log.warning("mlflow.version_gone", model=settled.model, reason=error.message)
            await asyncio.to_thread(self._tracking.forget_version, settled.model, settled.version)
            return
        await asyncio.to_thread(self._tracking.put_alias, settled)
        log.info("mlflow.alias_set", model=settled.model, alias=settled.alias, version=settled.version)

    async def _ask(
        self,
        settled: MirroredAlias,
        before: MirroredAlias | None,
        wanted: Wanted,
        actual: str,
        versions: Sequence[MirroredVersion],
    ) -> None:
        """Ask the registry for the promotion, as anybody would."""
        adapter = await asyncio.to_thread(self._adapter_of, settled.model, versions, actual)
        if not adapter:
            await self._refuse(settled, before, actual, "", f"valign did not make version {actual}")
            return
        try:
            with acting_as(MLFLOW):
                view = await self._registry.promote(adapter, wanted.route)
        except ValignError as error:
            if error.code in _AGAIN:
                log.warning("mlflow.promotion_waits", adapter=adapter, reason=error.message)
                return
            await self._refuse(settled, before, actual, adapter, error.message)
            return
        metrics.MIRRORED_BACK.labels("promoted").inc()
        log.info("mlflow.promoted", adapter=adapter, route=wanted.route, version=actual)
        done = MirroredAlias(settled.model, settled.alias, actual, None, view.route.version)
        await asyncio.to_thread(self._tracking.put_alias, done)

    async def _refuse(
        self, settled: MirroredAlias, before: MirroredAlias | None, actual: str, adapter: str, why: str
    ) -> None:
        """Put the alias back, and say why where it was moved: at the version, and in the audit log."""
        metrics.MIRRORED_BACK.labels("refused").inc()
        log.warning(
            "mlflow.alias_refused", model=settled.model, alias=settled.alias, version=actual, reason=why
        )
        time = datetime.now(UTC).isoformat(timespec="seconds")
        said = names.tag(f"{time}: alias {settled.alias} was put back: {why}")
        try:
            # The description of a version that others made is theirs.
            await asyncio.to_thread(
                self._server.tell_version,
                settled.model,
                actual,
                {REFUSED_TAG: said},
                said if adapter else None,
            )
        except NotFoundError:
            log.warning("mlflow.version_gone", model=settled.model, version=actual)
        details = {"model": settled.model, "version": actual, "alias": settled.alias, "reason": why}
        await asyncio.to_thread(self._tracking.audit_refusal, adapter or settled.model, details)
        await self._set(settled, before, actual)

    def _adapter_of(self, model: str, versions: Sequence[MirroredVersion], version: str) -> str:
        """The adapter that valign made this version of; empty if it did not.

        Our own table says so, not tags, which anybody can write; and not the number alone, which is given
        again once a model was deleted.
        """
        ours = [one for one in versions if one.version == version]
        if not ours:
            return ""
        try:
            found = self._server.get_version(model, version)
        except NotFoundError:
            return ""
        return next((one.adapter for one in ours if one.created_ms == found.created_ms), "")
