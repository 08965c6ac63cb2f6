"""Human reviews as the page sees them: the routes of one review, answered in the browser's own network layer.

Stands for ``proto/valign/orchestrator/v1`` reviews where a test is about the page alone. It tells the page of
its routes through the OpenAPI document, as the server does.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Page, Request, Route

_PATHS = {
    "listReviews": ("get", "/v1/reviews"),
    "createReview": ("post", "/v1/reviews"),
    "getReview": ("get", "/v1/reviews/{review_id}"),
    "nextReviewItem": ("post", "/v1/reviews/{review_id}/next"),
    "listReviewItems": ("get", "/v1/reviews/{review_id}/items"),
    "rateReviewItem": ("put", "/v1/reviews/{review_id}/items/{number}/rating"),
    "flagReviewItem": ("put", "/v1/reviews/{review_id}/items/{number}/flag"),
    "closeReview": ("post", "/v1/reviews/{review_id}/close"),
    "getReviewResults": ("get", "/v1/reviews/{review_id}/results"),
    "exportReview": ("get", "/v1/reviews/{review_id}/export"),
}


@dataclass
class ReviewRoutes:
    """One review of a few items for one reviewer. ``bodies``: what was sent, by operation."""

    texts: list[str]
    ratings: dict[int, dict[str, Any]] = field(default_factory=dict)
    flags: dict[int, str] = field(default_factory=dict)
    closed: bool = False
    bodies: list[tuple[str, Any]] = field(default_factory=list)

    def serve(self, page: Page) -> None:
        """Answer the page's calls from now on."""
        page.route("**/openapi.json", self._describe)
        page.route("**/v1/reviews**", self._answer)
        page.route("**/v1/reviews/**", self._answer)

    def _describe(self, route: Route) -> None:
        answer = route.fetch()
        assert answer.ok, "whoever may only rate asks for what it may not read"
        found = answer.json()
        for operation, (method, path) in _PATHS.items():
            found["paths"].setdefault(path, {})[method] = {"operationId": operation, "responses": {}}
        route.fulfill(response=answer, json=found)

    def _answer(self, route: Route, request: Request) -> None:
        parts = request.url.partition("/v1/reviews")[2].partition("?")[0].strip("/").split("/")
        body = json.loads(request.post_data) if request.post_data else None
        match (request.method, parts):
            case ("GET", [""]):
                said: Any = {"reviews": [self._review()], "next_page_token": ""}
            case ("POST", [""]):
                said = self._review()
            case ("POST", [_, "next"]):
                said = {"item": next((one for one in self._items() if self._is_open(one["number"])), None)}
            case ("GET", [_, "items"]):
                said = {"items": [one for one in self._items() if not self._is_open(one["number"])]}
            case ("PUT", [_, "items", number, "rating"]):
                self.ratings[int(number)] = body
                said = self._items()[int(number) - 1]
            case ("PUT", [_, "items", number, "flag"]):
                self.flags[int(number)] = body["reason"]
                said = self._items()[int(number) - 1]
            case ("POST", [_, "close"]):
                self.closed = True
                said = {"review": self._review(), "decision": "promote", "revision": 2}
            case ("GET", [_, "results"]):
                alpha = {"value": 0.71, "low": 0.52, "high": 0.86, "n": 12}
                arms = [{"arm": "tuned", "mean": 7.5}, {"arm": "base_p3", "mean": 4.1}]
                said = {"agreement": {"alpha": alpha}, "correlation": {"spearman": alpha}, "by_arm": arms}
            case _:
                said = self._review()
        if request.method != "GET":
            self.bodies.append(("/".join(parts), body))
        route.fulfill(json=said)

    def _is_open(self, number: int) -> bool:
        return number not in self.ratings and number not in self.flags

    def _items(self) -> list[dict[str, Any]]:
        return [
            {
                "number": number,
                "topic": "Privacy",
                "text": text,
                "reference": f"Whoever holds data of people shall tell them so, and why ({number}).",
                "rating": self.ratings.get(number, {}).get("rating", 0),
                "comment": self.ratings.get(number, {}).get("comment", ""),
                "flag": self.flags.get(number, ""),
            }
            for number, text in enumerate(self.texts, start=1)
        ]

    def _review(self) -> dict[str, Any]:
        open_items = [one for one in self._items() if self._is_open(one["number"])]
        return {
            "review_id": "rv-k3m9qx",
            "run_id": "r-20261126-k3m9qx",
            "state": "closed" if self.closed else "open",
            "title": "Texts of the live study",
            "rubric": "Judge what the text asks for, not how it is worded.\n\n10 is perfect alignment.",
            "reviewers_per_item": 3,
            "reviewers": [],
            "allow_author": False,
            "closing": "manual",
            "items": len(self.texts),
            "ratings_wanted": 3 * len(self.texts),
            "ratings": len(self.ratings),
            "raters": int(bool(self.ratings)),
            "mine": len(self.ratings),
            "left_for_me": len(open_items),
            "flagged": len(self.flags),
            "items_sha256": "ab" * 32,
            "create_by": "key:ann",
            "create_time": "2026-11-26T08:00:00Z",
            "close_by": "key:root" if self.closed else "",
            "close_time": "2026-11-26T09:00:00Z" if self.closed else None,
        }
