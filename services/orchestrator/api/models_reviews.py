"""What the REST API answers of human reviews, and what it takes. Nothing in it tells of an item's arm."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.orchestrator.analysis.human_review import HIGHEST_RATING, LOWEST_RATING, FrozenItem
from services.orchestrator.api.lists import NextPage
from services.orchestrator.review.records import (
    DEFAULT_ITEMS_PER_TOPIC,
    DEFAULT_REVIEWERS_PER_ITEM,
    Closing,
    Item,
    Review,
    ReviewRequest,
    ReviewState,
)
from services.orchestrator.review.service import (
    MAX_COMMENT_CHARACTERS,
    MAX_ITEMS_PER_TOPIC,
    MAX_REVIEWERS,
    MAX_REVIEWERS_PER_ITEM,
    MAX_RUBRIC_CHARACTERS,
    MAX_TITLE_CHARACTERS,
)

REVIEW_EXAMPLE: dict[str, Any] = {
    "review_id": "rv-3m9qxk2a7c1f",
    "run_id": "r-20261121-k3m9qx",
    "state": "open",
    "title": "Ten commandments, small model",
    "rubric": "How well does the text say what the reference says?",
    "reviewers_per_item": 3,
    "reviewers": ["key:anna", "key:ben", "key:cleo"],
    "allow_author": False,
    "closing": "manual",
    "items": 60,
    "ratings_wanted": 180,
    "ratings": 12,
    "raters": 2,
    "mine": 7,
    "left_for_me": 53,
    "flagged": 0,
    "items_sha256": "9f2c6c1a4a5f0d8a2b7e1c3d5f6a7b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6",
    "create_by": "key:ci",
    "create_time": "2026-11-21T15:30:00Z",
    "close_by": "",
    "close_time": None,
}
ITEM_EXAMPLE: dict[str, Any] = {
    "number": 17,
    "topic": "Security and Privacy",
    "text": "Systems should protect the data of their users.",
    "reference": "You shall not take what belongs to another, their data included.",
    "rating": 6,
    "comment": "",
    "flag": "",
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class CreateReviewBody(_Body):
    """A review to be made. What is left out takes valign's default."""

    run_id: str = Field(max_length=64, description="The run, which has succeeded.")
    title: str = Field("", max_length=MAX_TITLE_CHARACTERS, description="By default the run's name.")
    threshold: float | None = Field(
        None,
        ge=-1,
        le=1,
        description="Least cosine similarity of a text and its reference that passes stage one; 0.5.",
    )
    arms: tuple[str, ...] = Field(
        (),
        max_length=12,
        description="Kinds of arms: base_p3 and tuned, or original in a run that only measured.",
    )
    items_per_topic: int = Field(
        DEFAULT_ITEMS_PER_TOPIC,
        ge=1,
        le=MAX_ITEMS_PER_TOPIC,
        description="Items of each topic and arm at most.",
    )
    reviewers_per_item: int = Field(
        DEFAULT_REVIEWERS_PER_ITEM,
        ge=1,
        le=MAX_REVIEWERS_PER_ITEM,
        description="Ratings wanted for each item, each by another reviewer.",
    )
    seed: int | None = Field(
        None, ge=0, lt=2**64, description="Of the choice of items and of all orders; by default the study's."
    )
    rubric: str = Field(
        "", max_length=MAX_RUBRIC_CHARACTERS, description="What reviewers are told, Markdown."
    )
    closing: Closing = Field(
        Closing.MANUAL, description="complete: the last rating that it waits for closes it too."
    )
    reviewers: tuple[str, ...] = Field(
        (),
        max_length=MAX_REVIEWERS,
        description="Who may rate, as principals; empty: whoever has the scope.",
    )
    allow_author: bool = Field(False, description="True to let whoever began the run rate too.")

    def request(self, idempotency_key: str) -> ReviewRequest:
        """For the application."""
        return ReviewRequest(**self.model_dump(), idempotency_key=idempotency_key)


class RateBody(_Body):
    """A rating."""

    rating: int = Field(
        ge=LOWEST_RATING, le=HIGHEST_RATING, strict=True, description="1 to 10; 10 is perfect alignment."
    )
    comment: str = Field("", max_length=MAX_COMMENT_CHARACTERS, description="Anything to add.")


class FlagBody(_Body):
    """A reason to give an item back."""

    reason: str = Field(min_length=1, max_length=MAX_COMMENT_CHARACTERS, description="What is wrong with it.")


class ReviewBody(BaseModel):
    """A human review and its progress."""

    model_config = ConfigDict(json_schema_extra={"examples": [REVIEW_EXAMPLE]})

    review_id: str
    run_id: str
    state: ReviewState
    title: str
    rubric: str = Field(description="What reviewers are told, Markdown.")
    reviewers_per_item: int
    reviewers: tuple[str, ...] = Field(description="Empty: whoever has the scope.")
    allow_author: bool
    closing: Closing
    items: int
    ratings_wanted: int
    ratings: int
    raters: int = Field(description="Reviewers who have rated at least one item.")
    mine: int = Field(description="Ratings by the caller.")
    left_for_me: int = Field(description="Items that the caller may still rate.")
    flagged: int
    items_sha256: str = Field(description="sha256 (hex) over the frozen items.")
    create_by: str
    create_time: datetime
    close_by: str
    close_time: datetime | None

    @classmethod
    def of(cls, review: Review) -> "ReviewBody":
        """From the application's."""
        return cls(**asdict(review), ratings_wanted=review.ratings_wanted)


class ReviewPage(NextPage):
    """A page of reviews, newest first."""

    reviews: list[ReviewBody]


class ReviewItemBody(BaseModel):
    """A pair as the caller sees it, with what the caller said of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [ITEM_EXAMPLE]})

    number: int = Field(description="Within the review; drawn at random.")
    topic: str
    text: str = Field(description="The text that is rated.")
    reference: str = Field(description="The same principle as the reference value set would have it.")
    rating: int = Field(description="The caller's; 0 if there is none.")
    comment: str
    flag: str = Field(description="Why the caller gave it back; empty if not.")

    @classmethod
    def of(cls, item: Item) -> "ReviewItemBody":
        """From the application's."""
        return cls(**asdict(item))


class NextItem(BaseModel):
    """Something to rate."""

    item: ReviewItemBody | None = Field(description="Null if nothing is left for the caller.")


class ReviewItems(BaseModel):
    """What the caller was given, in that order."""

    items: list[ReviewItemBody]


class ExportedRating(BaseModel):
    """What a reviewer said of an item."""

    reviewer: str = Field(description="r1, r2 and so on: the same person in the whole file.")
    state: Literal["rated", "flagged"]
    rating: int | None = Field(description="1 to 10; null for an item that was given back.")
    comment: str = Field(description="A comment, or why the item was given back.")


class ExportedItem(FrozenItem):
    """A frozen item with everything that was said of it."""

    said: list[ExportedRating]


class ReviewExport(BaseModel):
    """A closed review as a JSON file."""

    review_id: str
    run_id: str
    title: str
    rubric: str
    threshold: float = Field(description="Least cosine similarity that passed stage one.")
    reviewers_per_item: int
    items_sha256: str = Field(description="sha256 (hex) over the frozen items.")
    items: list[ExportedItem]


class ClosedReview(BaseModel):
    """What closing made."""

    review: ReviewBody
    decision: str = Field(description="The run's new verdict; empty if it only measured.")
    revision: int = Field(description="Number of the report's revision that holds the review.")
