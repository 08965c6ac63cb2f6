"""``SqlRoutes``: what public names shall serve, on SQLAlchemy Core."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.common.errors import ConflictError
from services.orchestrator.expecting import check_expected
from services.orchestrator.identity import current_principal
from services.orchestrator.registry.records import BASE, AdapterState, RouteChange, RouteRecord
from services.orchestrator.store import announcing
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.engine import insert_or_ignore
from services.orchestrator.store.registry_rows import (
    ROUTES,
    check_state,
    lock,
    referred,
    route_changes,
    serve_instead,
    served_at,
)
from services.orchestrator.store.tables_operations import route_history, routes
from services.orchestrator.store.transactions import Transactions


class SqlRoutes:
    """Routes and their histories. Every method is one short transaction, from any thread."""

    def __init__(self, engine: Transactions) -> None:
        self._engine = engine

    def all(self) -> list[RouteRecord]:
        """By name."""
        with self._engine.connect() as connection:
            return [RouteRecord(**row._mapping) for row in connection.execute(ROUTES.order_by(routes.c.name))]

    def get(self, name: str) -> RouteRecord | None:
        """None if it has never been set."""
        with self._engine.connect() as connection:
            row = connection.execute(ROUTES.where(routes.c.name == name)).first()
        return None if row is None else RouteRecord(**row._mapping)

    def history(self, name: str) -> list[RouteChange]:
        """Oldest first."""
        with self._engine.connect() as connection:
            return route_changes(connection, name)

    def routed(self) -> frozenset[str]:
        """Every adapter that a route names."""
        return frozenset().union(*(route.adapters for route in self.all()))

    def set(
        self,
        name: str,
        *,
        adapter: str,
        canary_adapter: str = BASE,
        canary_share: float = 0.0,
        expected_version: int,
        expected_states: Mapping[str, AdapterState] | None = None,
        reason: str,
        action: str,
        details: Mapping[str, Any] | None = None,
    ) -> RouteRecord:
        """Make the route serve this: its new adapter becomes promoted, the former one retired.

        Args:
            expected_version: the version that the caller saw; 0 for a route that there is not.
            expected_states: the states in which the caller saw the adapters.
            action: what the audit log calls it.

        Raises:
            ConflictError: somebody else has changed the route, or an adapter, since.
            PreconditionError: an adapter that may not be served.
        """
        # The version that was seen is checked again in the transaction: both hold, or neither.
        check_expected("route", name, str(expected_version))
        now = datetime.now(UTC)
        content = {"adapter": adapter, "canary_adapter": canary_adapter, "canary_share": canary_share}
        told = {**content, "version": expected_version + 1}
        with self._engine.begin() as connection:
            changed: dict[str, Any] = {**told, "update_time": now, "update_by": current_principal().name}
            if expected_version:
                this = sa.and_(routes.c.name == name, routes.c.version == expected_version)
                done = connection.execute(sa.update(routes).where(this).values(**changed)).rowcount
            else:
                done = insert_or_ignore(connection, routes, [{"name": name, **changed}])
            if not done:
                raise ConflictError(
                    f"route {name} was changed by somebody else just now; look at it, and try again"
                )
            former = served_at(connection, name, expected_version)
            # All, in one order: two routes that swap adapters must not wait for each other.
            for named in sorted({adapter, canary_adapter, former} - {BASE}):
                lock(connection, named)
            for named in sorted({adapter, canary_adapter} - {BASE}):
                check_state(connection, named, (expected_states or {}).get(named))
            if adapter != former:
                serve_instead(
                    connection, adapter, former, f"{reason} (route {name}, version {told['version']})"
                )
            entry = {**told, "name": name, "time": now, "actor": changed["update_by"], "reason": reason}
            connection.execute(sa.insert(route_history).values(**entry))
            kind = "adapter" if action.startswith("adapter.") else "route"
            said = {**told, "route": name, "former": former, "reason": reason, **(details or {})}
            announcing.route_set(connection, RouteRecord(name=name, **changed), action, former, reason)
            append_audit(connection, action, kind, adapter if kind == "adapter" else name, said)
        return RouteRecord(name=name, **changed)

    def lift(self, name: str, version: int, to: int) -> RouteRecord:
        """The same content under a higher version; as it is now, if somebody has changed it since."""
        now = datetime.now(UTC)
        actor = current_principal().name
        reason = "the same under a higher version: a replica was ahead of this database"
        with self._engine.begin() as connection:
            this = sa.and_(routes.c.name == name, routes.c.version == version)
            lifted = sa.update(routes).where(this).values(version=to, update_time=now, update_by=actor)
            done = connection.execute(lifted).rowcount
            found = RouteRecord(**connection.execute(ROUTES.where(routes.c.name == name)).one()._mapping)
            if done:
                content: dict[str, Any] = {"adapter": found.adapter, "canary_adapter": found.canary_adapter}
                content = {**content, "canary_share": found.canary_share, "version": to}
                entry = {**content, "name": name, "time": now, "actor": actor, "reason": reason}
                connection.execute(sa.insert(route_history).values(**entry))
                append_audit(connection, "route.lift", "route", name, {**content, "reason": reason})
        return found

    def referred(self, history_kept: int) -> frozenset[str]:
        """Every adapter that a route, a canary or the last entries of a route's history name."""
        with self._engine.connect() as connection:
            return referred(connection, history_kept)
