"""What reviews need of a database and of a place for files."""

from collections.abc import Sequence
from typing import Any, Protocol

from services.common.artifacts import Artifact
from services.orchestrator.analysis.human_review import FrozenItem
from services.orchestrator.review.records import (
    Given,
    Item,
    NewRevision,
    Review,
    ReviewState,
    Said,
    Whole,
)


class ReviewStore(Protocol):
    """See ``store.reviews.SqlReviews``. Blocking: async callers use a thread."""

    def create(
        self,
        row: dict[str, Any],
        items: Sequence[FrozenItem],
        topics: dict[str, str],
        idempotency_key: str,
        digest: str,
    ) -> tuple[str, bool]: ...
    def get(self, review_id: str) -> Review: ...
    def whole(self, review_id: str) -> Whole: ...
    def page(
        self, run_id: str, state: ReviewState | None, page_size: int, page_token: str
    ) -> tuple[list[Review], str]: ...
    def next_item(self, review_id: str) -> Item | None: ...
    def items_of_mine(self, review_id: str) -> list[Item]: ...
    def say(
        self, review_id: str, number: int, state: Given, rating: int, comment: str
    ) -> tuple[Item, bool]: ...
    def close(self, review_id: str) -> Whole: ...
    def frozen(self, review_id: str) -> tuple[list[FrozenItem], list[Said]]: ...


class RevisionStore(Protocol):
    """See ``store.review_revisions.SqlReviewRevisions``."""

    def revisions(self, run_id: str) -> list[dict[str, Any]]: ...
    def finish(self, review: Whole, replaced: tuple[str, str], new: NewRevision) -> bool: ...


class Artifacts(Protocol):
    """The artifact store."""

    def get_bytes(self, uri: str, sha256: str | None = None) -> bytes: ...
    def put_bytes(self, key: str, data: bytes) -> Artifact: ...
    def exists(self, uri: str) -> bool: ...
    def uri(self, key: str) -> str: ...
