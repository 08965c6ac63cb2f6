"""``SqlReplicas``: what was last seen of each generator replica, and which adapters are on it."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime

import sqlalchemy as sa

from services.orchestrator.registry.records import ReplicaAdapter, ReplicaRecord, ReplicaState
from services.orchestrator.store.engine import upsert
from services.orchestrator.store.tables_operations import replica_adapters, replicas
from services.orchestrator.store.transactions import Transactions


class SqlReplicas:
    """Observations, not orders: nothing here moves a route. Every method is one short transaction."""

    def __init__(self, engine: Transactions) -> None:
        self._engine = engine

    def seen(self, record: ReplicaRecord) -> None:
        """Write what a replica was found to be."""
        with self._engine.begin() as connection:
            upsert(connection, replicas, {**asdict(record), "routes": dict(record.routes)})

    def records(self) -> list[ReplicaRecord]:
        """By target."""
        with self._engine.connect() as connection:
            query = sa.select(*replicas.columns).order_by(replicas.c.target)
            return [ReplicaRecord(**row._mapping) for row in connection.execute(query)]

    def keep_only(self, targets: Collection[str]) -> None:
        """Forget replicas that are not configured any more."""
        with self._engine.begin() as connection:
            gone = replicas.c.target.not_in(list(targets))
            connection.execute(
                sa.delete(replica_adapters).where(replica_adapters.c.target.not_in(list(targets)))
            )
            connection.execute(sa.delete(replicas).where(gone))

    def note(self, entry: ReplicaAdapter) -> None:
        """Write how far an adapter is on a replica."""
        row = {**asdict(entry), "proof": dict(entry.proof), "state": entry.state.value}
        row["update_time"] = datetime.now(UTC)
        nothing = {
            "target": entry.target,
            "serving": False,
            "base_fingerprint": "",
            "routes": {},
            "error": "",
        }
        with self._engine.begin() as connection:
            known = sa.update(replicas).where(replicas.c.target == entry.target)
            if not connection.execute(known.values(error=replicas.c.error)).rowcount:
                upsert(connection, replicas, nothing)
            upsert(connection, replica_adapters, row)

    def forget(self, target: str, adapter: str) -> None:
        """An adapter is not on a replica any more."""
        this = sa.and_(replica_adapters.c.target == target, replica_adapters.c.adapter == adapter)
        with self._engine.begin() as connection:
            connection.execute(sa.delete(replica_adapters).where(this))

    def adapters(self, adapter: str = "") -> list[ReplicaAdapter]:
        """Of one adapter, or all; by target and adapter."""
        table = replica_adapters.c
        query = sa.select(*replica_adapters.columns).order_by(table.target, table.adapter)
        if adapter:
            query = query.where(table.adapter == adapter)
        with self._engine.connect() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query)]
        return [ReplicaAdapter(**{**row, "state": ReplicaState(row["state"])}) for row in rows]
