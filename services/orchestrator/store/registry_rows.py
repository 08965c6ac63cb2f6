"""What changes of adapters and routes share: rows that are read, locked and moved within a transaction."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.common.errors import ConflictError, NotFoundError
from services.orchestrator.expecting import check_expected
from services.orchestrator.identity import current_principal
from services.orchestrator.registry.lifecycle import check_move, check_servable, previous_of
from services.orchestrator.registry.records import BASE, AdapterRecord, AdapterState, RouteChange, RouteRecord
from services.orchestrator.store.tables_operations import adapter_history, adapters, route_history, routes

ROUTES = sa.select(*routes.columns)


def unknown(name: str) -> NotFoundError:
    """The error for an adapter that is not registered."""
    return NotFoundError(f"there is no adapter {name[:80]!r} in the registry; see `valign adapters list`")


def adapter_of(row: sa.Row[Any]) -> AdapterRecord:
    """The record of a whole row."""
    columns = dict(row._mapping)
    return AdapterRecord(**{**columns, "state": AdapterState(columns["state"])})


def read(connection: sa.Connection, name: str) -> AdapterRecord:
    """NotFoundError if there is none."""
    row = connection.execute(sa.select(adapters).where(adapters.c.name == name)).first()
    if row is None:
        raise unknown(name)
    return adapter_of(row)


def lock(connection: sa.Connection, name: str) -> bool:
    """Lock the adapter's row until the commit, by a write that changes nothing; False if there is none."""
    this = adapters.c.name == name
    touched = connection.execute(sa.update(adapters).where(this).values(reason=adapters.c.reason))
    return bool(touched.rowcount)


def set_state(
    connection: sa.Connection, record: AdapterRecord, to: AdapterState, reason: str, **columns: Any
) -> None:
    """A state (or a new reason for the same one), and its entry in the history. The row must be locked."""
    now = datetime.now(UTC)
    this = sa.and_(adapters.c.name == record.name, adapters.c.state == record.state.value)
    # A note is no change of state: the age of an adapter counts from its last one.
    times = {"update_time": now} if to is not record.state else {}
    values = {"state": to.value, "reason": reason, **times, **columns}
    connection.execute(sa.update(adapters).where(this).values(**values))
    append_history(connection, record.name, to, reason, now)


def append_history(
    connection: sa.Connection, name: str, state: AdapterState, reason: str, now: datetime
) -> None:
    """The next entry of an adapter's history, by the current principal. The row must be locked."""
    last = sa.select(sa.func.max(adapter_history.c.number)).where(adapter_history.c.name == name)
    number = int(connection.execute(last).scalar() or 0) + 1
    entry = {"name": name, "number": number, "time": now, "state": state.value, "reason": reason}
    connection.execute(sa.insert(adapter_history).values(**entry, actor=current_principal().name))


def serving(connection: sa.Connection, name: str) -> list[str]:
    """Routes that name an adapter."""
    found = [RouteRecord(**row._mapping) for row in connection.execute(ROUTES.order_by(routes.c.name))]
    return [route.name for route in found if name in route.adapters]


def served_at(connection: sa.Connection, name: str, version: int) -> str:
    """The adapter that a route had in one version; the base model before the first."""
    this = sa.and_(route_history.c.name == name, route_history.c.version == version)
    return str(connection.execute(sa.select(route_history.c.adapter).where(this)).scalar() or BASE)


def check_state(connection: sa.Connection, name: str, expected: AdapterState | None) -> None:
    """Lock an adapter that a route shall name; it must be servable, and in the state that was expected."""
    if not lock(connection, name):
        raise unknown(name)
    record = read(connection, name)
    check_expected("adapter", name, record.etag)
    check_servable(record)
    if expected is not None and record.state is not expected:
        raise ConflictError(
            f"adapter {name} has become {record.state.value} just now; look at it, and try again"
        )


def serve_instead(connection: sa.Connection, adapter: str, former: str, reason: str) -> None:
    """The states of what a route serves now and of what it served; both rows are locked in one order."""
    for name in sorted({adapter, former} - {BASE}):
        if not lock(connection, name):
            continue
        record = read(connection, name)
        if name == adapter and record.state is not AdapterState.PROMOTED:
            check_move(name, record.state, AdapterState.PROMOTED)
            set_state(connection, record, AdapterState.PROMOTED, reason)
        elif name == former and record.state is AdapterState.PROMOTED and not _main_of(connection, name):
            set_state(connection, record, AdapterState.RETIRED, f"replaced: {reason}")


def _main_of(connection: sa.Connection, name: str) -> bool:
    """Whether a route serves the adapter as what it is there for, not as its canary."""
    query = sa.select(routes.c.name).where(routes.c.adapter == name).limit(1)
    return connection.execute(query).first() is not None


def referred(connection: sa.Connection, history_kept: int) -> frozenset[str]:
    """Every adapter that a route or a canary names, the last ``history_kept`` different ones that each route
    has served, the canaries of its last ``history_kept`` entries, and what a roll-back goes to.

    Counted in adapters and not in entries: a canary in many steps is many entries of one adapter.
    """
    names: set[str] = set()
    for row in connection.execute(ROUTES):
        route = RouteRecord(**row._mapping)
        changes = route_changes(connection, route.name)
        served = list(dict.fromkeys(change.adapter for change in reversed(changes)))
        names |= route.adapters | {previous_of(changes)}
        names |= set(served[:history_kept])
        names |= {change.canary_adapter for change in changes[max(0, len(changes) - history_kept) :]}
    return frozenset(names - {BASE})


def route_changes(connection: sa.Connection, name: str) -> list[RouteChange]:
    """A route's history, oldest first."""
    columns = [column for column in route_history.columns if column.name != "name"]
    query = sa.select(*columns).where(route_history.c.name == name).order_by(route_history.c.version)
    return [RouteChange(**row._mapping) for row in connection.execute(query)]
