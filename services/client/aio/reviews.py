"""Human reviews: people rate a run's texts, blind to which arm wrote them."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

from services.client.aio.transport import AsyncTransport
from services.client.models_reviews import ClosedReview, Review, ReviewItem, ReviewPage, ReviewResults
from services.client.settings import asked


class AsyncReviews:
    """``client.reviews``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._http = transport

    async def create(
        self,
        run_id: str,
        *,
        title: str = "",
        threshold: float | None = None,
        arms: Sequence[str] = (),
        items_per_topic: int | None = None,
        reviewers_per_item: int | None = None,
        seed: int | None = None,
        rubric: str = "",
        closing: str = "",
        reviewers: Sequence[str] = (),
        allow_author: bool = False,
        idempotency_key: str = "",
    ) -> Review:
        """Freeze pairs of a run that has succeeded, for people to rate; what is left out takes the default.

        The same key and request give the same review, also days later. PreconditionError: the run has not
        succeeded, or no text reaches the ``threshold`` of cosine similarity.
        """
        body = {
            "run_id": run_id,
            "title": title,
            "threshold": threshold,
            "arms": [*arms],
            "items_per_topic": items_per_topic,
            "reviewers_per_item": reviewers_per_item,
            "seed": seed,
            "rubric": rubric,
            "closing": closing,
            "reviewers": [*reviewers],
            "allow_author": allow_author,
        }
        given = {name: value for name, value in body.items() if value not in (None, "")}
        return Review.model_validate(
            await self._http.json("POST", "/reviews", key=idempotency_key, json=given)
        )

    async def page(
        self, *, run_id: str = "", state: str = "", page_size: int = 50, page_token: str = ""
    ) -> ReviewPage:
        """One page of reviews, newest first; ``state`` is "open" or "closed"."""
        params = asked({"run_id": run_id, "state": state, "page_size": page_size, "page_token": page_token})
        return ReviewPage.model_validate(await self._http.json("GET", "/reviews", params=params))

    async def list(self, **filters: Any) -> AsyncIterator[Review]:
        """All reviews that the filters of ``page`` let through, read page by page as they are asked for."""
        token = ""
        while True:
            page = await self.page(**filters, page_token=token)
            for review in page.reviews:
                yield review
            token = page.next_page_token
            if not token:
                return

    async def get(self, review_id: str) -> Review:
        """One review and how far it is; NotFoundError if there is none."""
        return Review.model_validate(await self._http.json("GET", _review(review_id)))

    async def next_item(self, review_id: str) -> ReviewItem | None:
        """Something for the caller to rate, the same until it is rated; None if nothing is left.

        PreconditionError: the caller may not rate in it.
        """
        found = (await self._http.json("POST", f"{_review(review_id)}/next"))["item"]
        return None if found is None else ReviewItem.model_validate(found)

    async def items(self, review_id: str) -> Sequence[ReviewItem]:
        """What the caller was given, with what it said of it."""
        body = await self._http.json("GET", f"{_review(review_id)}/items")
        return [ReviewItem.model_validate(one) for one in body["items"]]

    async def rate(self, review_id: str, number: int, rating: int, *, comment: str = "") -> ReviewItem:
        """Keep the caller's rating of an item, 1 to 10; until the review closes it can be changed."""
        path, body = f"{_review(review_id)}/items/{number}/rating", {"rating": rating, "comment": comment}
        return ReviewItem.model_validate(await self._http.json("PUT", path, json=body))

    async def flag(self, review_id: str, number: int, reason: str) -> ReviewItem:
        """Give an item back without a rating; another reviewer may get it."""
        path = f"{_review(review_id)}/items/{number}/flag"
        return ReviewItem.model_validate(await self._http.json("PUT", path, json={"reason": reason}))

    async def close(self, review_id: str) -> ClosedReview:
        """End it: a new revision of the run's report holds the review, and the gate decides again."""
        return ClosedReview.model_validate(await self._http.json("POST", f"{_review(review_id)}/close"))

    async def results(self, review_id: str) -> ReviewResults:
        """What it found; PreconditionError while it is open."""
        return ReviewResults.model_validate(await self._http.json("GET", f"{_review(review_id)}/results"))

    async def export(self, review_id: str, format: str = "json") -> bytes:
        """A closed review's items, ratings and comments as a file, "json" or "csv"; nobody is named in it."""
        path = f"{_review(review_id)}/export"
        return (await self._http.request("GET", path, params={"format": format})).content


def _review(review_id: str) -> str:
    return f"/reviews/{quote(review_id, safe='')}"
