"""What a human review is and finds, as pydantic models: the frozen file of its items and ratings, and the
part of report.json that follows from it.

The protocol is the paper's (its section on limitations): pairs pass a threshold of cosine similarity, then
people rate them from 1 to 10, where 10 is perfect alignment.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from pydantic import Field

from services.orchestrator.analysis.results import Estimate, Part

LOWEST_RATING: Final = 1
HIGHEST_RATING: Final = 10
RATINGS: Final = tuple(range(LOWEST_RATING, HIGHEST_RATING + 1))


class FrozenItem(Part):
    """One pair that is rated, and what reviewers are not told of it."""

    number: int = Field(ge=1, description="Number within the review, drawn at random.")
    arm: str = Field(description="Kind of the arm that wrote the text.")
    topic_id: str = Field(description="Topic id.")
    index: int = Field(ge=0, description="Input within the topic.")
    text: str = Field(description="The text that is rated.")
    reference: str = Field(description="Its reference text.")
    metric: float = Field(description="Value difference of the two, 1 - cosine similarity.")


class Rating(Part):
    """One reviewer's rating of one item."""

    number: int = Field(ge=1, description="Number of the item.")
    reviewer: str = Field(description='A name that stands for a person: "r1", "r2" and so on.')
    rating: int = Field(ge=LOWEST_RATING, le=HIGHEST_RATING, description="1 to 10; 10 is perfect alignment.")


class ReviewFile(Part):
    """A closed review: everything that its numbers follow from."""

    format: Literal["valign-review"] = "valign-review"
    format_version: Literal[1] = 1
    review_id: str
    run_id: str
    title: str
    rubric: str
    threshold: float = Field(description="Least cosine similarity that passes stage one.")
    arms: tuple[str, ...] = Field(description="Kinds of arms whose texts are rated.")
    items_per_topic: int = Field(ge=1, le=200)
    seed: int = Field(ge=0)
    reviewers_per_item: int = Field(ge=1)
    author: str = Field(description="The reviewer who began the run; empty if none of them did.")
    flagged: int = Field(ge=0, description="Times that an item was given back without a rating.")
    items_sha256: str
    items: tuple[FrozenItem, ...]
    ratings: tuple[Rating, ...]


class StageOneTopic(Part):
    """Stage one in one topic."""

    passed: int = Field(ge=0, description="Texts whose cosine similarity reaches the threshold.")
    of: int = Field(ge=0, description="Texts that were held against it.")


class StageOne(Part):
    """How many of an arm's texts pass the threshold, of all test inputs that have a text."""

    arm: str = Field(description="Kind of arm.")
    passed: int = Field(ge=0, description="Texts that pass.")
    of: int = Field(ge=0, description="Texts in all.")
    rate: float | None = Field(description="passed / of; null without a text.")
    by_topic: dict[str, StageOneTopic] = Field(description="The same by topic.")


class Agreement(Part):
    """Krippendorff's alpha of the items with at least two ratings. Null with the reason where undefined."""

    items: int = Field(ge=0, description="Items with at least two ratings.")
    ratings: int = Field(ge=0, description="Ratings of these items.")
    ordinal: Estimate | None = Field(description="Alpha for ranks: only the order of ratings counts.")
    interval: Estimate | None = Field(description="Alpha for equal steps between ratings.")
    reading: str = Field(description="In words, by Krippendorff's customary levels .8 and .667.")


class Correlation(Part):
    """Mean rating of an item against its value difference. Below 0: people agree with the metric."""

    items: int = Field(ge=0, description="Items with a rating.")
    spearman: Estimate | None = Field(description="Of the ranks; null where one side does not vary.")
    pearson: Estimate | None = Field(description="Of the numbers; null where one side does not vary.")


class ArmRating(Part):
    """What reviewers gave the texts of an arm: the mean of topic means of the items' mean ratings."""

    arm: str = Field(description="Kind of arm.")
    items: int = Field(ge=0, description="Items with a rating.")
    ratings: int = Field(ge=0, description="Ratings.")
    mean: Estimate | None = Field(description="Mean rating, 1 to 10; null without a rating.")
    by_topic: dict[str, Estimate] = Field(description="The same by topic; exploratory.")


class RatingDifference(Part):
    """Two arms on the inputs of which texts of both were rated."""

    arm: str = Field(description="Kind of arm.")
    against: str = Field(description="The arm that it is held against.")
    difference: Estimate | None = Field(
        description="Mean rating of arm - against, -9 to 9; null if no input has ratings of both."
    )


class RatedItem(Part):
    """One point of the scatter of ratings against the metric."""

    number: int = Field(description="Number of the item.")
    arm: str = Field(description="Kind of arm.")
    topic: str = Field(description="Topic id.")
    metric: float = Field(description="Value difference, 1 - cosine similarity.")
    rating: float = Field(description="Mean rating.")
    ratings: int = Field(ge=1, description="Ratings behind it.")
    by_others: int = Field(ge=0, description="Of them by people other than whoever began the run.")


class HumanReview(Part):
    """A closed human review: stage one, agreement, correlation with the metric, ratings by arm."""

    review_id: str = Field(description="Id of the review.")
    items_sha256: str = Field(description="sha256 (hex) over the frozen items.")
    threshold: float = Field(description="Least cosine similarity that passes stage one.")
    reviewers_per_item: int = Field(ge=1, description="Ratings that were wanted for each item.")
    items: int = Field(ge=0, description="Items that were frozen.")
    ratings: int = Field(ge=0, description="Ratings that were given.")
    raters: int = Field(ge=0, description="Reviewers who gave one.")
    author_rated: bool = Field(description="True if whoever began the run is one of them.")
    flagged: int = Field(ge=0, description="Times that an item was given back without a rating.")
    stage_one: tuple[StageOne, ...] = Field(description="Stage one by arm.")
    agreement: Agreement = Field(description="All items.")
    agreement_by_topic: dict[str, Agreement] = Field(description="By topic; exploratory.")
    correlation: Correlation = Field(description="All items.")
    correlation_by_topic: dict[str, Correlation] = Field(description="By topic; exploratory.")
    arms: tuple[ArmRating, ...] = Field(description="Ratings by arm.")
    differences: tuple[RatingDifference, ...] = Field(description="Arms against each other.")
    rated: tuple[RatedItem, ...] = Field(description="Every item with a rating.")
    file: str = Field(default="", description="Where the frozen file lies in the artifact store.")
    file_sha256: str = Field(default="", description="sha256 (hex) of that file.")


class Revision(Part):
    """Which writing of the report this is: 1 is the run's own, each closed review makes one more."""

    number: int = Field(ge=1, description="1, 2, …")
    time: datetime = Field(description="When it was written.")
    by: str = Field(description="Who closed the review.")
    reason: str = Field(description="Why it was written.")


def items_sha256(items: Iterable[FrozenItem]) -> str:
    """sha256 (hex) over the items in order of their numbers, as canonical JSON."""
    ordered = sorted(items, key=lambda item: item.number)
    text = json.dumps(
        [item.model_dump(mode="json") for item in ordered],
        sort_keys=True,
        ensure_ascii=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(text.encode("ascii")).hexdigest()
