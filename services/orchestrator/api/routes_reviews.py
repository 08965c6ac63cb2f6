"""Human reviews over REST."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Response, status

from services.common.errors import ErrorCode
from services.orchestrator.analysis.human_review import HumanReview
from services.orchestrator.api.lists import PageSize, PageToken
from services.orchestrator.api.models_reviews import (
    ClosedReview,
    CreateReviewBody,
    FlagBody,
    NextItem,
    RateBody,
    ReviewBody,
    ReviewItemBody,
    ReviewItems,
    ReviewPage,
)
from services.orchestrator.api.problems import problems
from services.orchestrator.application import MAX_KEY_CHARACTERS, Application
from services.orchestrator.listing import DEFAULT_PAGE_SIZE
from services.orchestrator.review.records import ReviewState

_INVALID, _GONE, _NOT_NOW = ErrorCode.INVALID_INPUT, ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION
_ONE = "/reviews/{review_id}"
Number = Annotated[int, Path(description="Number of an item that the caller was given.", ge=1, le=2**31 - 1)]
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The frozen items with their ratings.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/csv": {"schema": {"type": "string"}},
        },
    }
}


def router(application: Application) -> APIRouter:
    """The routes under /v1/reviews."""
    routes = APIRouter(tags=["reviews"])
    _add_reviews(routes, application)
    _add_ratings(routes, application)
    return routes


def _add_reviews(routes: APIRouter, application: Application) -> None:
    reviews = application.platform.reviews

    @routes.post(
        "/reviews",
        summary="Create a review",
        operation_id="createReview",
        status_code=status.HTTP_201_CREATED,
        responses={
            200: {"description": "The review that this idempotency key made before.", "model": ReviewBody},
            **problems(_INVALID, _GONE, ErrorCode.CONFLICT, _NOT_NOW),
        },
    )
    async def create_review(
        body: CreateReviewBody,
        response: Response,
        idempotency_key: Annotated[
            str,
            Header(
                description=f"At most {MAX_KEY_CHARACTERS} characters. The same key with the same request "
                "gives the same review.",
            ),
        ] = "",
    ) -> ReviewBody:
        """Freeze pairs of a run that has succeeded, for people to rate blind."""
        review, created = await reviews.create(body.request(idempotency_key))
        if not created:
            response.status_code = status.HTTP_200_OK
        return ReviewBody.of(review)

    @routes.get("/reviews", summary="List reviews", operation_id="listReviews", responses=problems(_INVALID))
    async def list_reviews(
        run_id: Annotated[str, Query(description="Only this run's.")] = "",
        state: Annotated[ReviewState | None, Query(description="Only this state.")] = None,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
        page_token: PageToken = "",
    ) -> ReviewPage:
        """Reviews and their progress, newest first, a page at a time."""
        found, token = await reviews.page(run_id, state, page_size, page_token)
        return ReviewPage(reviews=[ReviewBody.of(one) for one in found], next_page_token=token)

    @routes.get(_ONE, summary="Get a review", operation_id="getReview", responses=problems(_GONE))
    async def get_review(review_id: str) -> ReviewBody:
        """One review and how far it is."""
        return ReviewBody.of(await reviews.get(review_id))

    @routes.post(
        f"{_ONE}/close",
        summary="Close a review",
        operation_id="closeReview",
        responses=problems(_GONE, ErrorCode.CONFLICT, _NOT_NOW),
    )
    async def close_review(review_id: str) -> ClosedReview:
        """End it: a new revision of the run's report holds the review, and the gate decides again."""
        review, decision, revision = await reviews.close(review_id)
        return ClosedReview(review=ReviewBody.of(review), decision=decision, revision=revision)

    @routes.get(
        f"{_ONE}/results",
        summary="Get a review's results",
        operation_id="getReviewResults",
        responses=problems(_GONE, _NOT_NOW),
    )
    async def get_review_results(review_id: str) -> HumanReview:
        """Agreement, correlation with the metric, ratings by arm; once the review is closed."""
        return HumanReview.model_validate(await reviews.results(review_id))

    @routes.get(
        f"{_ONE}/export",
        summary="Export a review",
        operation_id="exportReview",
        responses={**_FILE, **problems(_INVALID, _GONE, _NOT_NOW)},
        response_class=Response,
    )
    async def export_review(
        review_id: str,
        form: Annotated[Literal["json", "csv"], Query(alias="format", description="What to write.")] = "json",
    ) -> Response:
        """The frozen items with their ratings and comments; reviewers are r1, r2, and so on."""
        content, media_type = await reviews.export(review_id, form)
        return Response(content, media_type=media_type)


def _add_ratings(routes: APIRouter, application: Application) -> None:
    reviews = application.platform.reviews

    @routes.post(
        f"{_ONE}/next",
        summary="Get something to rate",
        operation_id="nextReviewItem",
        responses=problems(_GONE, _NOT_NOW),
    )
    async def next_review_item(review_id: str) -> NextItem:
        """The item that the caller has and has not rated, or the next of its own random order."""
        found = await reviews.next_item(review_id)
        return NextItem(item=None if found is None else ReviewItemBody.of(found))

    @routes.get(
        f"{_ONE}/items",
        summary="List one's own items",
        operation_id="listReviewItems",
        responses=problems(_GONE),
    )
    async def list_review_items(review_id: str) -> ReviewItems:
        """What the caller was given, with what it said."""
        return ReviewItems(items=[ReviewItemBody.of(one) for one in await reviews.my_items(review_id)])

    @routes.put(
        f"{_ONE}/items/{{number}}/rating",
        summary="Rate an item",
        operation_id="rateReviewItem",
        responses=problems(_INVALID, _GONE, ErrorCode.CONFLICT, _NOT_NOW),
    )
    async def rate_review_item(review_id: str, number: Number, body: RateBody) -> ReviewItemBody:
        """Keep the caller's rating of an item; until the review closes it can be changed."""
        return ReviewItemBody.of(await reviews.rate(review_id, number, body.rating, body.comment))

    @routes.put(
        f"{_ONE}/items/{{number}}/flag",
        summary="Flag an item",
        operation_id="flagReviewItem",
        responses=problems(_INVALID, _GONE, ErrorCode.CONFLICT, _NOT_NOW),
    )
    async def flag_review_item(review_id: str, number: Number, body: FlagBody) -> ReviewItemBody:
        """Give an item back without a rating, with a reason; another reviewer may get it."""
        return ReviewItemBody.of(await reviews.flag(review_id, number, body.reason))
