"""Human reviews as the API answers them."""

from datetime import datetime
from typing import Any

from services.client.models import Model


class Review(Model):
    """A human review and its progress. ``mine`` and ``left_for_me`` are the caller's own."""

    review_id: str
    run_id: str
    state: str
    title: str
    rubric: str
    reviewers_per_item: int
    reviewers: list[str]
    allow_author: bool
    closing: str
    items: int
    ratings_wanted: int
    ratings: int
    raters: int
    mine: int
    left_for_me: int
    flagged: int
    items_sha256: str
    create_by: str
    create_time: datetime
    close_by: str
    close_time: datetime | None = None

    @property
    def closed(self) -> bool:
        """Whether its ratings are final."""
        return self.state == "closed"


class ReviewPage(Model):
    """A page of reviews."""

    reviews: list[Review]
    next_page_token: str = ""


class ReviewItem(Model):
    """A pair as the caller sees it. ``rating`` is the caller's own, 0 if there is none."""

    number: int
    topic: str
    text: str
    reference: str
    rating: int
    comment: str
    flag: str


class ClosedReview(Model):
    """What closing made: the run's new verdict ("" if it only measured), and the report's revision."""

    review: Review
    decision: str
    revision: int


class ReviewResults(Model):
    """What a closed review found. The parts are those of ``human_review`` in report.json."""

    review_id: str
    items_sha256: str
    threshold: float
    reviewers_per_item: int
    items: int
    ratings: int
    raters: int
    author_rated: bool
    flagged: int
    stage_one: list[dict[str, Any]]
    agreement: dict[str, Any]
    agreement_by_topic: dict[str, Any]
    correlation: dict[str, Any]
    correlation_by_topic: dict[str, Any]
    arms: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    rated: list[dict[str, Any]]
    file: str = ""
    file_sha256: str = ""
