"""``SqlTracking``: what MLflow holds of the runs, adapters and routes, and what it does not hold yet."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from services.orchestrator.registry.records import AdapterRecord, AdapterState
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.engine import insert_or_ignore, upsert
from services.orchestrator.store.registry_rows import adapter_of
from services.orchestrator.store.rows import ENDED
from services.orchestrator.store.tables import runs
from services.orchestrator.store.tables_operations import adapter_history, adapters
from services.orchestrator.store.tables_tracking import (
    mlflow_aliases,
    mlflow_runs,
    mlflow_state,
    mlflow_versions,
)
from services.orchestrator.store.transactions import Transactions

_LISTED = (AdapterState.CANDIDATE.value, AdapterState.PROMOTED.value)


@dataclass(frozen=True, slots=True)
class MirroredRun:
    """A run and the MLflow run that it became; ``last_event`` is the last of its events that MLflow holds."""

    run_id: str
    mlflow_run_id: str
    last_event: int


@dataclass(frozen=True, slots=True)
class MirroredVersion:
    """An adapter and the model version that it became; ``told`` numbers an entry of its history."""

    adapter: str
    model: str
    version: str
    created_ms: int
    told: int


@dataclass(frozen=True, slots=True)
class MirroredAlias:
    """An alias as it was last seen or set; ``version`` is empty for none, ``intended`` None if it is set."""

    model: str
    alias: str
    version: str
    intended: str | None
    route_version: int


@dataclass(frozen=True, slots=True)
class DueAdapter:
    """An adapter that MLflow must be told about, and the number of its newest history entry."""

    adapter: AdapterRecord
    change: int


@dataclass(frozen=True, slots=True)
class MirrorState:
    """When mirroring last worked and last failed, and the error."""

    success_time: datetime | None
    failure_time: datetime | None
    failure: str


class SqlTracking:
    """Every method is one short transaction, from any thread."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def begin(self) -> None:
        """Leave out every run that has ended by now, unless it is opened again: for the first start."""
        ended = sa.select(runs.c.run_id, sa.literal(""), runs.c.last_event).where(
            runs.c.status.in_(ENDED), runs.c.run_id.not_in(sa.select(mlflow_runs.c.run_id))
        )
        with self._transactions.begin() as connection:
            connection.execute(
                sa.insert(mlflow_runs).from_select(["run_id", "mlflow_run_id", "last_event"], ended)
            )

    def due_runs(self) -> list[str]:
        """Runs with events that MLflow does not hold, oldest first."""
        mirrored = mlflow_runs.c
        query = (
            sa.select(runs.c.run_id)
            .join(mlflow_runs, mirrored.run_id == runs.c.run_id, isouter=True)
            .where(sa.or_(mirrored.run_id.is_(None), mirrored.last_event < runs.c.last_event))
            .order_by(runs.c.create_time, runs.c.run_id)
        )
        with self._transactions.connect() as connection:
            return list(connection.execute(query).scalars())

    def run(self, run_id: str) -> MirroredRun | None:
        """None if MLflow was never told of it."""
        query = sa.select(mlflow_runs).where(mlflow_runs.c.run_id == run_id)
        with self._transactions.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else MirroredRun(**row._mapping)

    def put_run(self, run: MirroredRun) -> None:
        """Write how far a run is mirrored."""
        with self._transactions.begin() as connection:
            upsert(connection, mlflow_runs, asdict(run))

    def due_adapters(self) -> list[DueAdapter]:
        """Candidates and promoted adapters without a version, and versions whose adapter has changed."""
        newest = (
            sa.select(adapter_history.c.name, sa.func.max(adapter_history.c.number).label("change"))
            .group_by(adapter_history.c.name)
            .subquery()
        )
        told = mlflow_versions.c
        query = (
            sa.select(adapters, newest.c.change)
            .join(newest, newest.c.name == adapters.c.name)
            .join(mlflow_versions, told.adapter == adapters.c.name, isouter=True)
            .where(
                sa.or_(
                    sa.and_(told.adapter.is_(None), adapters.c.state.in_(_LISTED)),
                    told.told < newest.c.change,
                )
            )
            .order_by(adapters.c.update_time, adapters.c.name)
        )
        with self._transactions.connect() as connection:
            found = [dict(row._mapping) for row in connection.execute(query)]
        due = []
        for row in found:
            change = int(row.pop("change"))
            due.append(DueAdapter(AdapterRecord(**{**row, "state": AdapterState(row["state"])}), change))
        return due

    def candidates(self) -> list[AdapterRecord]:
        """Every candidate, oldest change first."""
        query = (
            sa.select(adapters)
            .where(adapters.c.state == AdapterState.CANDIDATE.value)
            .order_by(adapters.c.update_time, adapters.c.name)
        )
        with self._transactions.connect() as connection:
            return [adapter_of(row) for row in connection.execute(query)]

    def versions(self) -> list[MirroredVersion]:
        """Every version that valign has made, by model and adapter."""
        query = sa.select(mlflow_versions).order_by(mlflow_versions.c.model, mlflow_versions.c.adapter)
        with self._transactions.connect() as connection:
            return [MirroredVersion(**row._mapping) for row in connection.execute(query)]

    def put_version(self, version: MirroredVersion) -> None:
        """Write which version an adapter is, and what MLflow was told of it."""
        with self._transactions.begin() as connection:
            upsert(connection, mlflow_versions, asdict(version))

    def forget_version(self, model: str, version: str) -> None:
        """MLflow does not have it any more."""
        this = sa.and_(mlflow_versions.c.model == model, mlflow_versions.c.version == version)
        with self._transactions.begin() as connection:
            connection.execute(sa.delete(mlflow_versions).where(this))

    def forget_model(self, model: str) -> None:
        """MLflow does not have the model any more: none of its versions, none of its aliases."""
        with self._transactions.begin() as connection:
            connection.execute(sa.delete(mlflow_versions).where(mlflow_versions.c.model == model))
            connection.execute(sa.delete(mlflow_aliases).where(mlflow_aliases.c.model == model))

    def aliases(self, model: str) -> dict[str, MirroredAlias]:
        """A model's aliases by name."""
        query = sa.select(mlflow_aliases).where(mlflow_aliases.c.model == model)
        with self._transactions.connect() as connection:
            return {row.alias: MirroredAlias(**row._mapping) for row in connection.execute(query)}

    def put_alias(self, alias: MirroredAlias) -> None:
        """Write what an alias is, or is being set to."""
        with self._transactions.begin() as connection:
            upsert(connection, mlflow_aliases, asdict(alias))

    def audit_refusal(self, target: str, details: dict[str, str]) -> None:
        """Note in the audit log that a promotion asked for in MLflow was refused."""
        with self._transactions.begin() as connection:
            append_audit(connection, "mlflow.refuse", "adapter", target, details)

    def succeeded(self) -> None:
        """Mirroring works now."""
        self._put_state({"success_time": datetime.now(UTC), "failure": ""})

    def failed(self, failure: str) -> None:
        """Mirroring does not work now, and why."""
        self._put_state({"failure_time": datetime.now(UTC), "failure": failure})

    def state(self) -> MirrorState:
        """How the mirror is; without times if it never ran."""
        columns = (mlflow_state.c.success_time, mlflow_state.c.failure_time, mlflow_state.c.failure)
        with self._transactions.connect() as connection:
            row = connection.execute(sa.select(*columns)).first()
        return MirrorState(None, None, "") if row is None else MirrorState(**row._mapping)

    def _put_state(self, values: dict[str, object]) -> None:
        with self._transactions.begin() as connection:
            first = {"id": 1, "success_time": None, "failure_time": None, "failure": "", **values}
            if not insert_or_ignore(connection, mlflow_state, [first]):
                connection.execute(sa.update(mlflow_state).values(**values))
