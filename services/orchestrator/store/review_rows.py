"""What changes of reviews share: rows that are read, locked and shown within a transaction."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services.common.errors import NotFoundError, PreconditionError
from services.orchestrator.identity import current_principal
from services.orchestrator.review.records import Closing, Given, Item, Review, ReviewState
from services.orchestrator.store.tables_reviews import review_items, review_ratings, reviews


def read(connection: sa.Connection, review_id: str) -> sa.Row[Any]:
    """NotFoundError if there is none."""
    row = connection.execute(sa.select(reviews).where(reviews.c.review_id == review_id)).first()
    if row is None:
        raise unknown(review_id)
    return row


def unknown(review_id: str) -> NotFoundError:
    """The error for a review that there is not."""
    return NotFoundError(f"there is no review {review_id[:80]!r}; see `valign reviews list`")


def lock(connection: sa.Connection, review_id: str) -> sa.Row[Any]:
    """Lock the review's row until the commit, by a write, and read it."""
    this = reviews.c.review_id == review_id
    if connection.execute(sa.update(reviews).where(this).values(version=reviews.c.version + 1)).rowcount == 0:
        raise unknown(review_id)
    return read(connection, review_id)


def open_row(connection: sa.Connection, review_id: str) -> sa.Row[Any]:
    """Locked, and open; PreconditionError if it is closed."""
    row = lock(connection, review_id)
    if row.state != ReviewState.OPEN.value:
        raise PreconditionError(f"review {review_id} is closed: its ratings are final")
    return row


def check_reviewer(row: sa.Row[Any], who: str) -> None:
    """PreconditionError if this caller may not rate in this review."""
    if row.reviewers and who not in row.reviewers:
        raise PreconditionError(f"{who} is none of the reviewers that review {row.review_id} names")
    if who == row.author and not row.allow_author:
        hint = (
            " Without credentials everybody is 'local': give each reviewer an API key, or create the review"
            " with allow_author"
            if who == "local"
            else ""
        )
        raise PreconditionError(
            f"{who} began run {row.run_id} and does not rate its texts: that takes other people.{hint}"
        )


def given_to(connection: sa.Connection, review_id: str, who: str) -> list[sa.Row[Any]]:
    """What a reviewer was given, in that order."""
    mine = sa.and_(review_ratings.c.review_id == review_id, review_ratings.c.reviewer == who)
    query = sa.select(review_ratings).where(mine).order_by(review_ratings.c.place)
    return list(connection.execute(query))


def item_seen(connection: sa.Connection, review_id: str, number: int, said: sa.Row[Any] | None) -> Item:
    """An item as a reviewer sees it: what is read here is all that an answer can tell."""
    columns = (review_items.c.topic, review_items.c.text, review_items.c.reference)
    this = sa.and_(review_items.c.review_id == review_id, review_items.c.number == number)
    topic, text, reference = connection.execute(sa.select(*columns).where(this)).one()
    if said is None:
        return Item(number, topic, text, reference)
    flagged = said.state == Given.FLAGGED.value
    return Item(
        number,
        topic,
        text,
        reference,
        rating=said.rating,
        comment="" if flagged else said.comment,
        flag=said.comment if flagged else "",
    )


def shown(connection: sa.Connection, row: sa.Row[Any], stale: datetime) -> Review:
    """The review with its progress, for the current principal. ``stale``: what was given before is free."""
    who = current_principal().name
    said = connection.execute(
        sa.select(
            review_ratings.c.number,
            review_ratings.c.reviewer,
            review_ratings.c.state,
            review_ratings.c.give_time,
        ).where(review_ratings.c.review_id == row.review_id)
    ).all()
    rated = [one for one in said if one.state == Given.RATED.value]
    taken: dict[int, int] = {}
    had = set()
    for one in said:
        if one.reviewer == who:
            if one.state != Given.GIVEN.value:
                had.add(one.number)
        elif one.state == Given.RATED.value or (one.state == Given.GIVEN.value and one.give_time > stale):
            taken[one.number] = taken.get(one.number, 0) + 1
    full = {number for number, count in taken.items() if count >= row.reviewers_per_item}
    may = row.state == ReviewState.OPEN.value and (not row.reviewers or who in row.reviewers)
    left = row.items - len(had | full) if may and (who != row.author or row.allow_author) else 0
    return Review(
        review_id=row.review_id,
        run_id=row.run_id,
        state=ReviewState(row.state),
        title=row.title,
        rubric=row.rubric,
        reviewers_per_item=row.reviewers_per_item,
        reviewers=tuple(row.reviewers),
        allow_author=row.allow_author,
        closing=Closing(row.closing),
        items=row.items,
        ratings=len(rated),
        raters=len({one.reviewer for one in rated}),
        mine=sum(one.reviewer == who for one in rated),
        left_for_me=left,
        flagged=sum(one.state == Given.FLAGGED.value for one in said),
        items_sha256=row.items_sha256,
        create_by=row.create_by,
        create_time=row.create_time,
        close_by=row.close_by,
        close_time=row.close_time,
    )
