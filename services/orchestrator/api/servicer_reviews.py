"""Human reviews over gRPC: convert, call the application, convert."""

from typing import Any

from services.common.errors import InvalidInputError
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.api.convert import struct, timestamp
from services.orchestrator.application import Application
from services.orchestrator.review.records import (
    DEFAULT_ITEMS_PER_TOPIC,
    DEFAULT_REVIEWERS_PER_ITEM,
    Closing,
    Item,
    Review,
    ReviewRequest,
    ReviewState,
)

_DEFAULT_PAGE_SIZE = 50
_STATES = {ReviewState.OPEN: pb.REVIEW_STATE_OPEN, ReviewState.CLOSED: pb.REVIEW_STATE_CLOSED}
_FROM_STATE: dict[int, ReviewState | None] = {
    int(pb.REVIEW_STATE_UNSPECIFIED): None,
    **{int(value): state for state, value in _STATES.items()},
}
_CLOSINGS = {Closing.MANUAL: pb.REVIEW_CLOSING_MANUAL, Closing.COMPLETE: pb.REVIEW_CLOSING_COMPLETE}
_FROM_CLOSING: dict[int, Closing] = {
    int(pb.REVIEW_CLOSING_UNSPECIFIED): Closing.MANUAL,
    **{int(value): closing for closing, value in _CLOSINGS.items()},
}


class ReviewServicer:
    """The part of ``OrchestratorServicer`` that speaks of human reviews."""

    _application: Application

    async def CreateReview(self, request: pb.CreateReviewRequest, context: Any) -> pb.CreateReviewResponse:
        """Freeze the items."""
        if request.closing not in _FROM_CLOSING:
            raise InvalidInputError(
                f"closing {request.closing} is not known; known are {sorted(_FROM_CLOSING)}"
            )
        asked = ReviewRequest(
            run_id=request.run_id,
            title=request.title,
            threshold=request.threshold if request.HasField("threshold") else None,
            arms=tuple(request.arms),
            items_per_topic=request.items_per_topic or DEFAULT_ITEMS_PER_TOPIC,
            reviewers_per_item=request.reviewers_per_item or DEFAULT_REVIEWERS_PER_ITEM,
            seed=request.seed if request.HasField("seed") else None,
            rubric=request.rubric,
            closing=_FROM_CLOSING[request.closing],
            reviewers=tuple(request.reviewers),
            allow_author=request.allow_author,
            idempotency_key=request.idempotency_key,
        )
        review, created = await self._application.platform.reviews.create(asked)
        return pb.CreateReviewResponse(review=_review(review), created=created)

    async def ListReviews(self, request: pb.ListReviewsRequest, context: Any) -> pb.ListReviewsResponse:
        """A page of reviews."""
        if request.state not in _FROM_STATE:
            raise InvalidInputError(f"state {request.state} is not known; known are {sorted(_FROM_STATE)}")
        found, token = await self._application.platform.reviews.page(
            request.run_id,
            _FROM_STATE[request.state],
            request.page_size or _DEFAULT_PAGE_SIZE,
            request.page_token,
        )
        return pb.ListReviewsResponse(reviews=[_review(one) for one in found], next_page_token=token)

    async def GetReview(self, request: pb.GetReviewRequest, context: Any) -> pb.GetReviewResponse:
        """One review and its progress."""
        found = await self._application.platform.reviews.get(request.review_id)
        return pb.GetReviewResponse(review=_review(found))

    async def NextReviewItem(
        self, request: pb.NextReviewItemRequest, context: Any
    ) -> pb.NextReviewItemResponse:
        """Something to rate for the caller."""
        found = await self._application.platform.reviews.next_item(request.review_id)
        return pb.NextReviewItemResponse(item=None if found is None else _item(found))

    async def ListReviewItems(
        self, request: pb.ListReviewItemsRequest, context: Any
    ) -> pb.ListReviewItemsResponse:
        """What the caller was given."""
        found = await self._application.platform.reviews.my_items(request.review_id)
        return pb.ListReviewItemsResponse(items=[_item(one) for one in found])

    async def RateReviewItem(
        self, request: pb.RateReviewItemRequest, context: Any
    ) -> pb.RateReviewItemResponse:
        """The caller's rating."""
        item = await self._application.platform.reviews.rate(
            request.review_id, _number(request.number), request.rating, request.comment
        )
        return pb.RateReviewItemResponse(item=_item(item))

    async def FlagReviewItem(
        self, request: pb.FlagReviewItemRequest, context: Any
    ) -> pb.FlagReviewItemResponse:
        """Give an item back."""
        item = await self._application.platform.reviews.flag(
            request.review_id, _number(request.number), request.reason
        )
        return pb.FlagReviewItemResponse(item=_item(item))

    async def CloseReview(self, request: pb.CloseReviewRequest, context: Any) -> pb.CloseReviewResponse:
        """End a review."""
        review, decision, revision = await self._application.platform.reviews.close(request.review_id)
        return pb.CloseReviewResponse(review=_review(review), decision=decision, revision=revision)

    async def GetReviewResults(
        self, request: pb.GetReviewResultsRequest, context: Any
    ) -> pb.GetReviewResultsResponse:
        """Its numbers."""
        found = await self._application.platform.reviews.results(request.review_id)
        return pb.GetReviewResultsResponse(results=struct(found))

    async def ExportReview(self, request: pb.ExportReviewRequest, context: Any) -> pb.ExportReviewResponse:
        """The frozen items with their ratings."""
        content, media_type = await self._application.platform.reviews.export(
            request.review_id, request.format or "json"
        )
        return pb.ExportReviewResponse(content=content, content_type=media_type)


def _number(value: int) -> int:
    # A database's integer has 31 bits and a sign; no review has more items.
    return min(value, 2**31 - 1)


def _item(item: Item) -> pb.ReviewItem:
    return pb.ReviewItem(
        number=item.number,
        topic=item.topic,
        text=item.text,
        reference=item.reference,
        rating=item.rating,
        comment=item.comment,
        flag=item.flag,
    )


def _review(review: Review) -> pb.Review:
    return pb.Review(
        review_id=review.review_id,
        run_id=review.run_id,
        state=_STATES[review.state],
        title=review.title,
        rubric=review.rubric,
        reviewers_per_item=review.reviewers_per_item,
        reviewers=review.reviewers,
        allow_author=review.allow_author,
        closing=_CLOSINGS[review.closing],
        items=review.items,
        ratings_wanted=review.ratings_wanted,
        ratings=review.ratings,
        raters=review.raters,
        mine=review.mine,
        left_for_me=review.left_for_me,
        flagged=review.flagged,
        items_sha256=review.items_sha256,
        create_by=review.create_by,
        create_time=timestamp(review.create_time),
        close_by=review.close_by,
        close_time=None if review.close_time is None else timestamp(review.close_time),
    )
