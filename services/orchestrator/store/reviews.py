"""``SqlReviews``: reviews, their items and ratings on SQLAlchemy Core.

Every change begins with a write to the review's row, which locks it until the commit: two reviewers who ask
at the same time get their items one after the other, and no item gets more reviewers than it wants.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from services.common.errors import ConflictError, NotFoundError, PreconditionError
from services.orchestrator.analysis.human_review import FrozenItem
from services.orchestrator.identity import current_principal
from services.orchestrator.listing import Page
from services.orchestrator.review.records import Given, Item, Review, ReviewState, Said, Whole
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.engine import insert_or_ignore
from services.orchestrator.store.paging import read_page
from services.orchestrator.store.review_rows import (
    check_reviewer,
    given_to,
    item_seen,
    lock,
    open_row,
    read,
    shown,
)
from services.orchestrator.store.tables_reviews import review_items, review_ratings, reviews
from services.orchestrator.store.transactions import Transactions

GIVEN_FOR = timedelta(minutes=30)
"""How long an item that was given and not rated counts for its reviewer; then another may get it."""


class SqlReviews:
    """Reviews in the database of the runs. Every method is one short transaction, from any thread."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def create(
        self,
        row: dict[str, Any],
        items: Sequence[FrozenItem],
        topics: dict[str, str],
        idempotency_key: str,
        digest: str,
    ) -> tuple[str, bool]:
        """Insert a review with its items; (the id of the one that the key made, False) if there is one.

        ConflictError: the key made a review with another request.
        """
        who = current_principal().name
        key = hashlib.sha256(f"{who}\0{idempotency_key}".encode()).hexdigest() if idempotency_key else None
        now = datetime.now(UTC)
        whole = {
            **row,
            "state": ReviewState.OPEN.value,
            "create_by": who,
            "create_time": now,
            "close_by": "",
            "close_time": None,
            "version": 1,
            "revision": 0,
            "decision": "",
            "results": None,
            "request_key": key,
            "request_sha256": digest,
        }
        with self._transactions.begin() as connection:
            if insert_or_ignore(connection, reviews, [whole]) == 0:
                found = connection.execute(
                    sa.select(reviews.c.review_id, reviews.c.request_sha256).where(
                        reviews.c.request_key == key
                    )
                ).first()
                if found is None:
                    raise ConflictError(f"review id {row['review_id']} is taken; try again")
                if found.request_sha256 != digest:
                    raise ConflictError(
                        f"idempotency key {idempotency_key!r} made review {found.review_id} with another"
                        " request; use a new key for a new review",
                        details={"review_id": found.review_id},
                    )
                return str(found.review_id), False
            rows = []
            for item in items:
                data = item.model_dump()
                data["item_index"] = data.pop("index")
                rows.append({"review_id": row["review_id"], "topic": topics[item.topic_id], **data})
            connection.execute(sa.insert(review_items), rows)
            details = {
                "run_id": row["run_id"],
                "items": len(items),
                "items_sha256": row["items_sha256"],
                "reviewers_per_item": row["reviewers_per_item"],
            }
            append_audit(connection, "review.create", "review", row["review_id"], details)
        return str(row["review_id"]), True

    def get(self, review_id: str) -> Review:
        """With its progress; NotFoundError if there is none."""
        with self._transactions.connect() as connection:
            return shown(connection, read(connection, review_id), datetime.now(UTC) - GIVEN_FOR)

    def whole(self, review_id: str) -> Whole:
        """Everything of its row, arms too."""
        with self._transactions.connect() as connection:
            columns = dict(read(connection, review_id)._mapping)
        data = {name: columns[name] for name in Whole.__slots__}
        return Whole(
            **{
                **data,
                "state": ReviewState(data["state"]),
                "arms": tuple(data["arms"]),
                "seed": int(data["seed"]),
            }
        )

    def page(
        self, run_id: str, state: ReviewState | None, page_size: int, page_token: str
    ) -> tuple[list[Review], str]:
        """Newest first, ``page_size`` of them, and the next page's token ("" on the last)."""
        query = sa.select(reviews)
        if run_id:
            query = query.where(reviews.c.run_id == run_id)
        if state is not None:
            query = query.where(reviews.c.state == state.value)
        by = (reviews.c.create_time, reviews.c.review_id)
        filters = {"run_id": run_id, "state": state}
        stale = datetime.now(UTC) - GIVEN_FOR
        with self._transactions.connect() as connection:
            page = Page(page_size, page_token)
            return read_page(connection, query, by, page, filters, lambda row: shown(connection, row, stale))

    def next_item(self, review_id: str) -> Item | None:
        """What the caller has and has not rated, or a new item of its own random order; None if none is left.

        Nothing is left in a review that is closed. PreconditionError: the caller may not rate in it.
        """
        who = current_principal().name
        now = datetime.now(UTC)
        with self._transactions.begin() as connection:
            row = lock(connection, review_id)
            check_reviewer(row, who)
            if row.state != ReviewState.OPEN.value:
                return None
            held = given_to(connection, review_id, who)
            waiting = [one for one in held if one.state == Given.GIVEN.value]
            if waiting:
                again = sa.and_(
                    review_ratings.c.review_id == review_id,
                    review_ratings.c.reviewer == who,
                    review_ratings.c.number == waiting[0].number,
                )
                if self._has_room(connection, row, waiting[0].number, who, now):
                    connection.execute(sa.update(review_ratings).where(again).values(give_time=now))
                    return item_seen(connection, review_id, waiting[0].number, waiting[0])
                # It waited too long: others have filled its places.
                connection.execute(sa.delete(review_ratings).where(again))
                held = [one for one in held if one is not waiting[0]]
            had = {one.number for one in held}
            numbers = range(1, row.items + 1)
            for number in sorted(numbers, key=lambda one: _order(row.seed, review_id, who, one)):
                if number not in had and self._has_room(connection, row, number, who, now):
                    break
            else:
                return None
            place = max((one.place for one in held), default=0) + 1
            given = {
                "review_id": review_id,
                "number": number,
                "reviewer": who,
                "state": Given.GIVEN.value,
                "rating": 0,
                "comment": "",
                "place": place,
                "give_time": now,
                "rate_time": None,
            }
            connection.execute(sa.insert(review_ratings).values(**given))
            return item_seen(connection, review_id, number, None)

    def items_of_mine(self, review_id: str) -> list[Item]:
        """What the caller was given, in that order."""
        with self._transactions.connect() as connection:
            read(connection, review_id)
            held = given_to(connection, review_id, current_principal().name)
            return [item_seen(connection, review_id, one.number, one) for one in held]

    def say(self, review_id: str, number: int, state: Given, rating: int, comment: str) -> tuple[Item, bool]:
        """The caller's word on an item that it was given; (the item, whether every rating is there now).

        NotFoundError: it was not given that item. ConflictError: it waited too long and others have rated it.
        """
        who = current_principal().name
        now = datetime.now(UTC)
        mine = sa.and_(
            review_ratings.c.review_id == review_id,
            review_ratings.c.number == number,
            review_ratings.c.reviewer == who,
        )
        with self._transactions.begin() as connection:
            row = open_row(connection, review_id)
            check_reviewer(row, who)
            before = connection.execute(sa.select(review_ratings).where(mine)).first()
            if before is None:
                raise NotFoundError(
                    f"{who} was not given item {number} of review {review_id}: ask for the next item, and"
                    " rate that one"
                )
            if state is Given.RATED and not self._has_room(connection, row, number, who, now):
                raise ConflictError(
                    f"item {number} was given to {who} too long ago and has all its ratings by now;"
                    " ask for the next item"
                )
            if (before.state, before.rating, before.comment) != (state.value, rating, comment):
                said = {"state": state.value, "rating": rating, "comment": comment, "rate_time": now}
                connection.execute(sa.update(review_ratings).where(mine).values(**said))
                action = "review.rate" if state is Given.RATED else "review.flag"
                # Not the words: they are a reviewer's, and the log is for good.
                told = {"number": number, **({"rating": rating} if state is Given.RATED else {})}
                append_audit(connection, action, "review", review_id, told)
            after = connection.execute(sa.select(review_ratings).where(mine)).one()
            rated = sa.select(sa.func.count()).where(
                review_ratings.c.review_id == review_id, review_ratings.c.state == Given.RATED.value
            )
            there = int(connection.execute(rated).scalar_one())
            complete = there >= row.items * row.reviewers_per_item
            return item_seen(connection, review_id, number, after), complete

    def close(self, review_id: str) -> Whole:
        """No rating is taken any more; what is closed stays so. PreconditionError if nobody rated."""
        with self._transactions.begin() as connection:
            row = lock(connection, review_id)
            if row.state == ReviewState.OPEN.value:
                rated = sa.and_(
                    review_ratings.c.review_id == review_id, review_ratings.c.state == Given.RATED.value
                )
                if connection.execute(sa.select(review_ratings.c.number).where(rated)).first() is None:
                    raise PreconditionError(f"review {review_id} has no rating: there is nothing to close")
                values = {
                    "state": ReviewState.CLOSED.value,
                    "close_by": current_principal().name,
                    "close_time": datetime.now(UTC),
                }
                connection.execute(
                    sa.update(reviews).where(reviews.c.review_id == review_id).values(**values)
                )
                append_audit(connection, "review.close", "review", review_id, {"run_id": row.run_id})
        return self.whole(review_id)

    def frozen(self, review_id: str) -> tuple[list[FrozenItem], list[Said]]:
        """The items by number, and everything that was said, by item and in the order of the ratings."""
        items = sa.select(review_items).where(review_items.c.review_id == review_id)
        said = sa.select(review_ratings).where(review_ratings.c.review_id == review_id)
        with self._transactions.connect() as connection:
            found = [
                FrozenItem(
                    number=row.number,
                    arm=row.arm,
                    topic_id=row.topic_id,
                    index=row.item_index,
                    text=row.text,
                    reference=row.reference,
                    metric=row.metric,
                )
                for row in connection.execute(items.order_by(review_items.c.number))
            ]
            words = [
                Said(row.number, row.reviewer, Given(row.state), row.rating, row.comment, row.rate_time)
                for row in connection.execute(
                    said.order_by(review_ratings.c.number, review_ratings.c.reviewer)
                )
            ]
        return found, words

    def _has_room(
        self, connection: sa.Connection, row: sa.Row[Any], number: int, who: str, now: datetime
    ) -> bool:
        """Whether fewer others than wanted have rated an item, or have it to rate."""
        held = sa.or_(
            review_ratings.c.state == Given.RATED.value,
            sa.and_(
                review_ratings.c.state == Given.GIVEN.value, review_ratings.c.give_time > now - GIVEN_FOR
            ),
        )
        others = sa.select(sa.func.count()).where(
            review_ratings.c.review_id == row.review_id,
            review_ratings.c.number == number,
            review_ratings.c.reviewer != who,
            held,
        )
        return int(connection.execute(others).scalar_one()) < int(row.reviewers_per_item)


def _order(seed: str, review_id: str, reviewer: str, number: int) -> str:
    """A random order of the items, another one for every reviewer, and always the same for that one."""
    return hashlib.sha256(f"{seed}\0{review_id}\0{reviewer}\0{number}".encode()).hexdigest()
