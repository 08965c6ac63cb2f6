"""``SqlRegistry``: adapters, their histories and the routes, on SQLAlchemy Core.

A change of state, the entry of the history that tells it and the audit log's entry are one transaction. A
change names what it expects to find (an adapter's state, a route's version): of two that change the same
thing at the same time one does, and the other gets ConflictError.
"""

from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime

import sqlalchemy as sa

from services.common.errors import ConflictError, PreconditionError
from services.orchestrator.expecting import check_expected
from services.orchestrator.identity import current_principal
from services.orchestrator.listing import ListOrder, Page
from services.orchestrator.records import RunStatus
from services.orchestrator.registry.lifecycle import check_move, check_servable
from services.orchestrator.registry.records import (
    AdapterApproval,
    AdapterChange,
    AdapterRecord,
    AdapterState,
    NewAdapter,
)
from services.orchestrator.registry.retention import PRUNABLE
from services.orchestrator.store import announcing
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.engine import insert_or_ignore
from services.orchestrator.store.paging import read_page
from services.orchestrator.store.registry_rows import (
    adapter_of,
    append_history,
    lock,
    read,
    referred,
    serving,
    set_state,
    unknown,
)
from services.orchestrator.store.replicas import SqlReplicas
from services.orchestrator.store.routes import SqlRoutes
from services.orchestrator.store.tables import runs
from services.orchestrator.store.tables_operations import (
    adapter_approvals,
    adapter_history,
    adapters,
)
from services.orchestrator.store.transactions import Transactions

_ACTIONS = {
    AdapterState.TRAINED: "adapter.register",
    AdapterState.PROVEN: "adapter.prove",
    AdapterState.CANDIDATE: "adapter.nominate",
    AdapterState.RETIRED: "adapter.retire",
    AdapterState.REJECTED: "adapter.reject",
}


class SqlRegistry:
    """The registry in the database of the runs. Every method is one short transaction, from any thread."""

    def __init__(self, engine: Transactions, *, require_approval: bool = False) -> None:
        self._engine = engine
        self.require_approval = require_approval
        self.replicas = SqlReplicas(engine)
        self.routes = SqlRoutes(engine)

    def register(self, new: NewAdapter) -> AdapterRecord:
        """Insert as trained; what is registered already stays as it is, and is returned.

        ConflictError: the name stands for another content.
        """
        now = datetime.now(UTC)
        reason = f"iteration {new.iteration}" + (f" of arm {new.arm}" if new.arm else "")
        row = {
            **asdict(new),
            "state": AdapterState.TRAINED.value,
            "reason": reason,
            "create_time": now,
            "update_time": now,
        }
        with self._engine.begin() as connection:
            if insert_or_ignore(connection, adapters, [row]):
                append_history(connection, new.name, AdapterState.TRAINED, reason, now)
                details = {"sha256": new.sha256, "run_id": new.run_id, "arm": new.arm}
                announcing.adapter_registered(connection, read(connection, new.name), again=False)
                append_audit(connection, "adapter.register", "adapter", new.name, details)
            record = read(connection, new.name)
            if record.prune_time is not None and record.sha256 == new.sha256 and lock(connection, new.name):
                # A retry has trained it again: its files are there.
                again = sa.update(adapters).where(adapters.c.name == new.name)
                connection.execute(again.values(prune_time=None, update_time=now))
                announcing.adapter_registered(connection, record, again=True)
                append_audit(connection, "adapter.register", "adapter", new.name, {"again": True})
                record = read(connection, new.name)
        if record.sha256 != new.sha256:
            raise ConflictError(
                f"adapter name {new.name} stands for sha256 {record.sha256[:12]}…, not {new.sha256[:12]}…"
            )
        return record

    def get(self, name: str) -> AdapterRecord:
        """NotFoundError if there is none."""
        with self._engine.connect() as connection:
            return read(connection, name)

    def page(
        self,
        state: AdapterState | None = None,
        run_id: str = "",
        page_size: int = 50,
        page_token: str = "",
        *,
        order: ListOrder = ListOrder.NEWEST,
    ) -> tuple[list[AdapterRecord], str]:
        """``page_size`` (1 to 200) of them, and the next page's token ("" on the last)."""
        query = sa.select(adapters)
        if state is not None:
            query = query.where(adapters.c.state == state.value)
        if run_id:
            query = query.where(adapters.c.run_id == run_id)
        with self._engine.connect() as connection:
            return read_page(
                connection,
                query,
                (adapters.c.create_time, adapters.c.name),
                Page(page_size, page_token, order),
                {"state": state, "run_id": run_id},
                adapter_of,
            )

    def named(self, names: Collection[str]) -> dict[str, AdapterRecord]:
        """Those of these adapters that are known, by name."""
        query = sa.select(adapters).where(adapters.c.name.in_(list(names)))
        with self._engine.connect() as connection:
            return {row.name: adapter_of(row) for row in connection.execute(query)}

    def of_run(self, run_id: str) -> list[AdapterRecord]:
        """The adapters of a run, by name."""
        query = sa.select(adapters).where(adapters.c.run_id == run_id).order_by(adapters.c.name)
        with self._engine.connect() as connection:
            return [adapter_of(row) for row in connection.execute(query)]

    def routed(self) -> frozenset[str]:
        """Every adapter that a route names."""
        return self.routes.routed()

    def history(self, name: str) -> list[AdapterChange]:
        """Oldest first."""
        table = adapter_history.c
        columns = (table.number, table.time, table.state, table.actor, table.reason)
        query = sa.select(*columns).where(table.name == name).order_by(table.number)
        with self._engine.connect() as connection:
            return [
                AdapterChange(number, time, AdapterState(state), actor, reason)
                for number, time, state, actor, reason in connection.execute(query)
            ]

    def approvals(self, name: str) -> list[AdapterApproval]:
        """Oldest first."""
        table = adapter_approvals.c
        query = sa.select(table.actor, table.time, table.comment).where(table.name == name)
        with self._engine.connect() as connection:
            return [AdapterApproval(*row) for row in connection.execute(query.order_by(table.time))]

    def move(
        self, name: str, to: AdapterState, reason: str, *, only_from: Collection[AdapterState] | None = None
    ) -> bool:
        """Change the state; False, and nothing is written, if it has that state, is none of ``only_from``, or
        is not registered. What a route names is not rejected: False, and its reason tells.

        PreconditionError if there is no way from its state to that one and ``only_from`` is not given; then
        also NotFoundError.
        """
        with self._engine.begin() as connection:
            if not lock(connection, name) and only_from is not None:
                return False
            record = read(connection, name)
            if record.state is to or (only_from is not None and record.state not in only_from):
                return False
            if to is AdapterState.REJECTED and (named := serving(connection, name)):
                # It has a share of the public: people must end that, and see here why.
                told = f"not rejected while route {', '.join(named)} names it: {reason}"
                if record.reason != told:
                    set_state(connection, record, record.state, told)
                    append_audit(connection, "adapter.note", "adapter", name, {"reason": told})
                return False
            check_move(name, record.state, to)
            set_state(connection, record, to, reason)
            announcing.adapter_moved(connection, record, to, reason, require_approval=self.require_approval)
            append_audit(
                connection, _ACTIONS[to], "adapter", name, {"reason": reason, "run_id": record.run_id}
            )
            return True

    def note(self, name: str, reason: str) -> bool:
        """A new reason for the state that it has; False if that is its reason already, or it is unknown."""
        with self._engine.begin() as connection:
            if not lock(connection, name):
                return False
            record = read(connection, name)
            if record.reason == reason:
                return False
            set_state(connection, record, record.state, reason)
            append_audit(connection, "adapter.note", "adapter", name, {"reason": reason})
            return True

    def approve(self, name: str, comment: str) -> bool:
        """Record the caller's approval; False if it is recorded already."""
        row = {"name": name, "actor": current_principal().name, "comment": comment}
        with self._engine.begin() as connection:
            if not lock(connection, name):
                raise unknown(name)
            record = read(connection, name)
            check_expected("adapter", name, record.etag)
            check_servable(record)
            made = insert_or_ignore(connection, adapter_approvals, [{**row, "time": datetime.now(UTC)}])
            if made:
                announcing.adapter_approved(connection, record)
                append_audit(connection, "adapter.approve", "adapter", name, {"comment": comment})
            return bool(made)

    def reject(self, name: str, reason: str) -> None:
        """PreconditionError if a route serves it, in whole or as its canary."""
        with self._engine.begin() as connection:
            if not lock(connection, name):
                raise unknown(name)
            record = read(connection, name)
            check_expected("adapter", name, record.etag)
            if routes := serving(connection, name):
                raise PreconditionError(
                    f"adapter {name} is what route {', '.join(routes)} serves, and cannot be rejected; roll"
                    " the route back, or end its canary, first"
                )
            if record.state is AdapterState.REJECTED:
                return
            check_move(name, record.state, AdapterState.REJECTED)
            set_state(connection, record, AdapterState.REJECTED, reason)
            announcing.adapter_moved(connection, record, AdapterState.REJECTED, reason)
            append_audit(connection, "adapter.reject", "adapter", name, {"reason": reason})

    def unpruned(self) -> list[AdapterRecord]:
        """Every adapter whose files are there."""
        with self._engine.connect() as connection:
            return [adapter_of(row) for row in connection.execute(sa.select(adapters).where(_UNPRUNED))]

    def pruned_since(self, time: datetime) -> list[AdapterRecord]:
        """Adapters that were pruned after a moment."""
        with self._engine.connect() as connection:
            query = sa.select(adapters).where(adapters.c.prune_time > time)
            return [adapter_of(row) for row in connection.execute(query)]

    def counts(self) -> dict[AdapterState, int]:
        """How many adapters are in each state."""
        query = sa.select(adapters.c.state, sa.func.count()).group_by(adapters.c.state)
        with self._engine.connect() as connection:
            found = {AdapterState(state): count for state, count in connection.execute(query)}
        return {state: found.get(state, 0) for state in AdapterState}

    def open_runs(self) -> frozenset[str]:
        """Ids of the runs that have not ended."""
        with self._engine.connect() as connection:
            return frozenset(connection.execute(_OPEN_RUNS).scalars())

    def claim_pruning(self, name: str, reason: str, history_kept: int) -> bool:
        """Mark an adapter as pruned, before its files go; False if something speaks against it by now."""
        with self._engine.begin() as connection:
            if not lock(connection, name):
                return False
            record = read(connection, name)
            if record.prune_time is not None or record.state not in PRUNABLE:
                return False
            if name in referred(connection, history_kept):
                return False
            # A retry may have opened its run again since somebody looked.
            if connection.execute(_OPEN_RUNS.where(runs.c.run_id == record.run_id)).first() is not None:
                return False
            set_state(connection, record, record.state, reason, prune_time=datetime.now(UTC))
            append_audit(connection, "adapter.prune", "adapter", name, {"uri": record.uri, "reason": reason})
            return True


_OPEN_RUNS = sa.select(runs.c.run_id).where(
    runs.c.status.not_in([status.value for status in RunStatus if status.ended])
)
_UNPRUNED = adapters.c.prune_time.is_(None)
