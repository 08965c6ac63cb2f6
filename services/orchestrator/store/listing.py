"""Lists of runs: the part of ``SqlRunStore`` that filters and pages."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import sqlalchemy as sa

from services.orchestrator.listing import Page, RunFilter, asked_of
from services.orchestrator.records import RunRecord, RunStatus
from services.orchestrator.store.outage import Patience, through_outages
from services.orchestrator.store.paging import read_page
from services.orchestrator.store.rows import RUN_COLUMNS, run_of
from services.orchestrator.store.tables import run_events, runs


class RunListing:
    """Pages of runs."""

    _reading: Callable[[], AbstractContextManager[sa.Connection]]
    patience: Patience

    @through_outages
    def list_runs(
        self,
        status: RunStatus | None = None,
        page_size: int = 50,
        page_token: str = "",
        *,
        where: RunFilter | None = None,
        page: Page | None = None,
    ) -> tuple[list[RunRecord], str]:
        """A page of runs, and the next page's token ("" on the last).

        ``page`` stands for ``page_size`` (1 to 200) and ``page_token`` where it is given.
        """
        where = where or RunFilter()
        query = sa.select(*RUN_COLUMNS).where(*_conditions(status, where))
        with self._reading() as connection:
            return read_page(
                connection,
                query,
                (runs.c.create_time, runs.c.run_id),
                page or Page(page_size, page_token),
                {**asked_of(where), "status": status},
                run_of,
            )


def _conditions(status: RunStatus | None, where: RunFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if status is not None:
        found.append(runs.c.status == status.value)
    if where.name:
        found.append(runs.c.name == where.name)
    if where.created_by:
        found.append(runs.c.created_by == where.created_by)
    if where.created_after is not None:
        found.append(runs.c.create_time >= where.created_after)
    if where.created_before is not None:
        found.append(runs.c.create_time < where.created_before)
    if where.reference_set:
        found.append(runs.c.study["reference_set"]["id"].as_string() == where.reference_set)
    if where.verdict is not None:
        # The event that ended the run tells its verdict; one that was retried has not ended.
        ended = sa.select(run_events.c.number).where(
            run_events.c.run_id == runs.c.run_id,
            run_events.c.kind == "run.succeeded",
            run_events.c.data["decision"].as_string() == where.verdict.value,
            run_events.c.number
            == sa.select(sa.func.max(_other.c.number))
            .where(_other.c.run_id == run_events.c.run_id, _other.c.kind == "run.succeeded")
            .scalar_subquery(),
        )
        found += [runs.c.status == RunStatus.SUCCEEDED.value, ended.exists()]
    return found


_other = run_events.alias("other_events")
