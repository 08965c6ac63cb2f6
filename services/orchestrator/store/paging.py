"""Pages of any list that is ordered by a time and a key, on SQLAlchemy Core."""

from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa

from services.common.errors import InvalidInputError
from services.orchestrator.listing import MAX_PAGE_SIZE, ListOrder, Page, binding
from services.orchestrator.store import tokens

Record = TypeVar("Record")


def read_page(
    connection: sa.Connection,
    query: sa.Select[Any],
    by: tuple[sa.Column[Any], sa.Column[Any]],
    page: Page,
    filters: dict[str, Any],
    read: Callable[[sa.Row[Any]], Record],
) -> tuple[list[Record], str]:
    """The page's records, and the next page's token ("" on the last).

    Args:
        query: what is listed, filtered, without order or limit; it selects both columns of ``by``.
        by: time and unique key that order the list.
        filters: by name, what ``query`` was filtered by: the token is bound to it.
    """
    if not 1 <= page.size <= MAX_PAGE_SIZE:
        raise InvalidInputError(f"page_size must be from 1 to {MAX_PAGE_SIZE}, not {page.size}")
    bound_to = binding(page.order, filters)
    time, key = by
    newest = page.order is ListOrder.NEWEST
    if page.token:
        at, last = tokens.decode(page.token, bound_to)
        after = sa.or_(time < at, sa.and_(time == at, key < last))
        before = sa.or_(time > at, sa.and_(time == at, key > last))
        query = query.where(after if newest else before)
    query = query.order_by(time.desc(), key.desc()) if newest else query.order_by(time, key)
    rows = connection.execute(query.limit(page.size + 1)).all()
    kept = rows[: page.size]
    token = ""
    if len(rows) > page.size:
        token = tokens.encode(kept[-1]._mapping[time.name], kept[-1]._mapping[key.name], bound_to)
    return [read(row) for row in kept], token
