"""What runs draw and find: completions, and small results under keys."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from services.common.errors import NotFoundError
from services.orchestrator.ports import CompletionRecord
from services.orchestrator.store.engine import insert_or_ignore, upsert
from services.orchestrator.store.jsontext import finite
from services.orchestrator.store.outage import Patience, through_outages
from services.orchestrator.store.tables import completions, run_values


class RunResults:
    """The part of ``SqlRunStore`` that keeps results."""

    patience: Patience
    _writing: Callable[[], AbstractContextManager[sa.Connection]]
    _reading: Callable[[], AbstractContextManager[sa.Connection]]

    @through_outages
    def add_completions(self, run_id: str, records: Sequence[CompletionRecord]) -> None:
        """Insert; a key (arm, topic, index, draw) that is stored already is left as it is."""
        if not records:
            return
        rows = [_completion_row(run_id, record) for record in records]
        with self._writing() as connection:
            try:
                insert_or_ignore(connection, completions, rows)
            except IntegrityError as error:
                raise NotFoundError(f"there is no run {run_id!r}") from error

    @through_outages
    def completions(
        self, run_id: str, arm: str | None = None, topic_id: str | None = None
    ) -> list[CompletionRecord]:
        """Ordered by arm, topic, index, draw; of one arm or topic if they are given."""
        table = completions.c
        columns = [column for column in completions.columns if column.name != "run_id"]
        query = sa.select(*columns).where(table.run_id == run_id)
        if arm is not None:
            query = query.where(table.arm == arm)
        if topic_id is not None:
            query = query.where(table.topic_id == topic_id)
        query = query.order_by(table.arm, table.topic_id, table.item_index, table.draw)
        with self._reading() as connection:
            return [CompletionRecord(*row) for row in connection.execute(query)]

    @through_outages
    def put_value(self, run_id: str, key: str, value: Any) -> None:
        """Store a JSON-able value under a key; overwrites. Numbers that are not finite become null."""
        with self._writing() as connection:
            try:
                upsert(connection, run_values, {"run_id": run_id, "value_key": key, "value": finite(value)})
            except IntegrityError as error:
                raise NotFoundError(f"there is no run {run_id!r}") from error

    @through_outages
    def get_value(self, run_id: str, key: str) -> Any:
        """The value, or None."""
        query = sa.select(run_values.c.value).where(
            run_values.c.run_id == run_id, run_values.c.value_key == key
        )
        with self._reading() as connection:
            return connection.execute(query).scalar()


def _completion_row(run_id: str, record: CompletionRecord) -> dict[str, Any]:
    row = asdict(record)
    row["item_index"] = row.pop("index")
    return {"run_id": run_id, **row}
