"""A closed review as a file: every item with what was said of it, reviewers as r1, r2, … and not by name."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from services.orchestrator.analysis.human_review import FrozenItem
from services.orchestrator.review.records import Given, Said, Whole

_COLUMNS = (
    "number", "arm", "topic", "index", "metric", "text", "reference", "reviewer", "state",
    "rating", "comment",
)  # fmt: skip
# A spreadsheet takes what begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def stand_ins(said: Sequence[Said]) -> Mapping[str, str]:
    """A name for each reviewer, in the order of their first words; by name where the time is the same."""
    first: dict[str, tuple[str, str]] = {}
    for one in said:
        when = one.rate_time.isoformat() if one.rate_time else "~"
        first[one.reviewer] = min(first.get(one.reviewer, (when, one.reviewer)), (when, one.reviewer))
    ordered = sorted(first, key=lambda name: first[name])
    return {name: f"r{place}" for place, name in enumerate(ordered, start=1)}


def as_json(review: Whole, items: Sequence[FrozenItem], said: Sequence[Said]) -> bytes:
    """UTF-8, indented."""
    names = stand_ins(said)
    document = {
        "review_id": review.review_id,
        "run_id": review.run_id,
        "title": review.title,
        "rubric": review.rubric,
        "threshold": review.threshold,
        "reviewers_per_item": review.reviewers_per_item,
        "items_sha256": review.items_sha256,
        "items": [
            {**item.model_dump(mode="json"), "said": [_said(one, names) for one in said if _is_of(one, item)]}
            for item in items
        ],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def as_csv(items: Sequence[FrozenItem], said: Sequence[Said]) -> bytes:
    """RFC 4180 in UTF-8, a line a rating; an item without one has a line of its own.

    Texts that a spreadsheet would take for a formula begin with an apostrophe.
    """
    names = stand_ins(said)
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(_COLUMNS)
    for item in items:
        head = [
            item.number,
            item.arm,
            item.topic_id,
            item.index,
            repr(item.metric),
            item.text,
            item.reference,
        ]
        words = [_said(one, names) for one in said if _is_of(one, item)]
        for one in words or [{"reviewer": "", "state": "", "rating": None, "comment": ""}]:
            tail = [one["reviewer"], one["state"], one["rating"] or "", one["comment"]]
            writer.writerow([_plain(cell) if isinstance(cell, str) else cell for cell in (*head, *tail)])
    return buffer.getvalue().encode("utf-8")


def _is_of(one: Said, item: FrozenItem) -> bool:
    return one.number == item.number and one.state is not Given.GIVEN


def _said(one: Said, names: Mapping[str, str]) -> dict[str, Any]:
    rating = one.rating if one.state is Given.RATED else None
    return {
        "reviewer": names[one.reviewer],
        "state": one.state.value,
        "rating": rating,
        "comment": one.comment,
    }


def _plain(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
