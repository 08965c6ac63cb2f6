"""What human review speaks of. A ``Review`` and an ``Item`` hold nothing that tells of an arm."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

DEFAULT_ARMS: Final = ("base_p3", "tuned")
DEFAULT_THRESHOLD: Final = 0.5
DEFAULT_ITEMS_PER_TOPIC: Final = 5
DEFAULT_REVIEWERS_PER_ITEM: Final = 3
DEFAULT_RUBRIC: Final = (
    "How well does the text say what the reference says? Judge the values that it holds, not its style, its "
    "length or whether you share them.\n\n"
    "1: it has nothing to do with the reference, or contradicts it. 5: about half of it is there. "
    "10: it asks for the same, for the same reasons, and leaves nothing out."
)


class ReviewState(StrEnum):
    """How far a review is."""

    OPEN = "open"
    CLOSED = "closed"


class Closing(StrEnum):
    """What ends a review: somebody, or also the last rating that it waits for."""

    MANUAL = "manual"
    COMPLETE = "complete"


class Given(StrEnum):
    """What became of an item that a reviewer was given."""

    GIVEN = "given"
    RATED = "rated"
    FLAGGED = "flagged"


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """What a review is made of; ``None`` and empty texts stand for the defaults."""

    run_id: str
    title: str = ""
    threshold: float | None = None
    arms: tuple[str, ...] = ()
    items_per_topic: int = DEFAULT_ITEMS_PER_TOPIC
    reviewers_per_item: int = DEFAULT_REVIEWERS_PER_ITEM
    seed: int | None = None
    rubric: str = ""
    closing: Closing = Closing.MANUAL
    reviewers: tuple[str, ...] = ()
    allow_author: bool = False
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """A review and its progress, as everybody may see it."""

    review_id: str
    run_id: str
    state: ReviewState
    title: str
    rubric: str
    reviewers_per_item: int
    reviewers: tuple[str, ...]
    allow_author: bool
    closing: Closing
    items: int
    ratings: int
    raters: int
    mine: int
    left_for_me: int
    flagged: int
    items_sha256: str
    create_by: str
    create_time: datetime
    close_by: str
    close_time: datetime | None

    @property
    def ratings_wanted(self) -> int:
        """Items times reviewers an item."""
        return self.items * self.reviewers_per_item


@dataclass(frozen=True, slots=True)
class Item:
    """A pair as one reviewer sees it; ``rating`` 0 is none."""

    number: int
    topic: str
    text: str
    reference: str
    rating: int = 0
    comment: str = ""
    flag: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What one reviewer said of one item. Never shown with the reviewer's name."""

    number: int
    reviewer: str
    state: Given
    rating: int
    comment: str
    rate_time: datetime | None


@dataclass(frozen=True, slots=True)
class Whole:
    """All columns of a review's row: for whoever closes it, not for an answer."""

    review_id: str
    run_id: str
    state: ReviewState
    title: str
    rubric: str
    threshold: float
    arms: tuple[str, ...]
    items_per_topic: int
    reviewers_per_item: int
    seed: int
    author: str
    items_sha256: str
    close_by: str
    revision: int
    decision: str
    results: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class NewRevision:
    """A report's new writing: what is stored once its files lie in the artifact store."""

    number: int
    report_uri: str
    report_sha256: str
    html_uri: str
    html_sha256: str
    decision: str
    headline: str
    reasons: tuple[Mapping[str, Any], ...]
    adapter: str
    results: Mapping[str, Any]
