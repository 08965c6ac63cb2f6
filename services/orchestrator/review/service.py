"""What people can do with human reviews, once: REST and gRPC are thin faces of ``Reviews``.

Whoever rates is told nothing of an arm: not in an item, its number or its order, and not by a review. Whoever
began the run does not rate its texts unless the review says so, and results are shown to nobody before the
review is closed: looking at them while ratings come in would un-blind, and invite to stop when they please.
"""

import asyncio
import hashlib
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import structlog

from services.common.errors import InvalidInputError, NotFoundError, PreconditionError, ValignError
from services.orchestrator.analysis.human_review import HIGHEST_RATING, LOWEST_RATING, items_sha256
from services.orchestrator.analysis.stage_one import freeze
from services.orchestrator.identity import Scope, require
from services.orchestrator.ports import RunStatus, RunStore
from services.orchestrator.review.closing import Closer
from services.orchestrator.review.evidence import read_evidence, read_report
from services.orchestrator.review.export import as_csv, as_json
from services.orchestrator.review.records import (
    DEFAULT_ARMS,
    DEFAULT_RUBRIC,
    DEFAULT_THRESHOLD,
    Closing,
    Given,
    Item,
    Review,
    ReviewRequest,
    ReviewState,
    Whole,
)
from services.orchestrator.review.storing import Artifacts, ReviewStore
from services.orchestrator.store.jsontext import canonical

MAX_PAGE_SIZE = 200
MAX_COMMENT_CHARACTERS = 2000
MAX_RUBRIC_CHARACTERS = 8000
MAX_TITLE_CHARACTERS = 200
MAX_REVIEWERS = 100
MAX_KEY_CHARACTERS = 255
MAX_ITEMS_PER_TOPIC = 200
MAX_REVIEWERS_PER_ITEM = 20
_ID = re.compile(r"rv-[0-9a-z]{12}")
_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"

log = structlog.get_logger(__name__)


class Reviews:
    """Reviews of runs. ``store`` keeps them; reports are read from ``runs`` and ``artifacts``."""

    def __init__(self, store: ReviewStore, runs: RunStore, artifacts: Artifacts, closer: Closer) -> None:
        self._store = store
        self._runs = runs
        self._artifacts = artifacts
        self._closer = closer

    async def create(self, request: ReviewRequest) -> tuple[Review, bool]:
        """Freeze pairs of a run; (the review that the key made, False) if there is one.

        Raises:
            NotFoundError: there is no such run.
            PreconditionError: it has not succeeded, or no text passes the threshold.
            InvalidInputError: an arm that the run has no texts of, or a number outside its range.
            ConflictError: the key made a review with another request.
        """
        require(Scope.RUN)
        _check(request)
        return await asyncio.to_thread(self._create, request)

    async def page(
        self, run_id: str = "", state: ReviewState | None = None, page_size: int = 50, page_token: str = ""
    ) -> tuple[list[Review], str]:
        """A page of reviews, newest first, and the next page's token ("" on the last)."""
        if page_size < 1:
            raise InvalidInputError(f"page_size must be from 1 to {MAX_PAGE_SIZE}, not {page_size}")
        if run_id and not _RUN_ID.fullmatch(run_id):
            return [], ""
        size = min(page_size, MAX_PAGE_SIZE)
        return await asyncio.to_thread(self._store.page, run_id, state, size, page_token)

    async def get(self, review_id: str) -> Review:
        """One review and its progress."""
        return await asyncio.to_thread(self._store.get, _known(review_id))

    async def next_item(self, review_id: str) -> Item | None:
        """Something to rate for the caller; None if nothing is left. PreconditionError if it may not rate."""
        require(Scope.REVIEW)
        return await asyncio.to_thread(self._store.next_item, _known(review_id))

    async def my_items(self, review_id: str) -> list[Item]:
        """What the caller was given, with what it said."""
        require(Scope.REVIEW)
        return await asyncio.to_thread(self._store.items_of_mine, _known(review_id))

    async def rate(self, review_id: str, number: int, rating: int, comment: str = "") -> Item:
        """The caller's rating, 1 to 10, of an item that it was given; until the review closes it can change.

        Raises NotFoundError, ConflictError and PreconditionError as ``SqlReviews.say`` does.
        """
        require(Scope.REVIEW)
        if not LOWEST_RATING <= rating <= HIGHEST_RATING:
            raise InvalidInputError(
                f"a rating is a whole number from {LOWEST_RATING} to {HIGHEST_RATING}, not {rating}"
            )
        words = _text(comment, "comment", MAX_COMMENT_CHARACTERS)
        return await self._say(review_id, number, Given.RATED, rating, words)

    async def flag(self, review_id: str, number: int, reason: str) -> Item:
        """Give an item back without a rating: another reviewer may get it."""
        require(Scope.REVIEW)
        words = _text(reason, "reason", MAX_COMMENT_CHARACTERS)
        if not words.strip():
            raise InvalidInputError("flagging an item needs a reason: say what is wrong with it")
        return await self._say(review_id, number, Given.FLAGGED, 0, words)

    async def close(self, review_id: str) -> tuple[Review, str, int]:
        """End a review: its ratings are final, a new revision of the report holds it, the gate decides again.

        One that is closed stays as it is; one whose revision could not be written gets it now. Returns the
        review, the decision ("" of a run that only measured) and the number of the revision.
        """
        require(Scope.RUN)
        whole = await self._close(_known(review_id))
        return await self.get(review_id), whole.decision, whole.revision

    async def results(self, review_id: str) -> Mapping[str, Any]:
        """As ``human_review`` in report.json. PreconditionError until the review is closed."""
        whole = await self._closed(review_id)
        return dict(whole.results or {})

    async def export(self, review_id: str, form: str = "json") -> tuple[bytes, str]:
        """(content, media type) of the frozen items with their ratings, reviewers as r1, r2, …

        InvalidInputError for a form that is neither "json" nor "csv"; PreconditionError until it is closed.
        """
        if form not in ("json", "csv"):
            raise InvalidInputError(f"format is json or csv, not {form[:40]!r}")
        whole = await self._closed(review_id)
        items, said = await asyncio.to_thread(self._store.frozen, whole.review_id)
        if form == "csv":
            return as_csv(items, said), "text/csv; charset=utf-8"
        return as_json(whole, items, said), "application/json"

    def _create(self, request: ReviewRequest) -> tuple[Review, bool]:
        run_id = request.run_id
        if not _RUN_ID.fullmatch(run_id):
            raise NotFoundError(f"there is no run {run_id[:80]!r}")
        run = self._runs.get_run(run_id)
        if run.status is not RunStatus.SUCCEEDED or not run.report_uri:
            raise PreconditionError(
                f"run {run_id} is {run.status.value}: the texts of a run that has succeeded are reviewed"
            )
        report = read_report(self._runs, self._artifacts, run)
        evidence = read_evidence(self._artifacts, run_id, report)
        arms = request.arms or (DEFAULT_ARMS if report.adapter is not None else ("original",))
        threshold = DEFAULT_THRESHOLD if request.threshold is None else request.threshold
        seed = int(run.study["seed"]) if request.seed is None else request.seed
        try:
            items, _ = freeze(
                evidence,
                arms=arms,
                threshold=threshold,
                items_per_topic=request.items_per_topic,
                seed=seed,
            )
        except ValueError as error:
            raise InvalidInputError(str(error)) from error
        if not items:
            raise PreconditionError(
                f"no text of run {run_id} reaches a cosine similarity of {threshold:g}: lower the threshold"
            )
        row = {
            "review_id": "rv-" + "".join(secrets.choice(_LETTERS) for _ in range(12)),
            "run_id": run_id,
            "title": request.title or run.name[:MAX_TITLE_CHARACTERS],
            "rubric": request.rubric or DEFAULT_RUBRIC,
            "threshold": float(threshold),
            "arms": list(arms),
            "items_per_topic": request.items_per_topic,
            "reviewers_per_item": request.reviewers_per_item,
            "seed": str(seed),
            "closing": request.closing.value,
            "reviewers": list(request.reviewers),
            "allow_author": request.allow_author,
            "author": run.created_by,
            "items": len(items),
            "items_sha256": items_sha256(items),
        }
        titles = {topic.id: topic.title for topic in report.topics}
        digest = hashlib.sha256(canonical(asdict(replace(request, idempotency_key="")))).hexdigest()
        made, created = self._store.create(row, items, titles, request.idempotency_key, digest)
        return self._store.get(made), created

    async def _say(self, review_id: str, number: int, state: Given, rating: int, words: str) -> Item:
        known = _known(review_id)
        item, complete = await asyncio.to_thread(self._store.say, known, number, state, rating, words)
        if complete and (await self.get(known)).closing is Closing.COMPLETE:
            try:
                await self._close(known)
            except ValignError as error:
                # The rating is kept; whoever may close it tries again and is told.
                log.error("review.not_closed", review_id=known, code=error.code.value, reason=error.message)
        return item

    async def _close(self, review_id: str) -> Whole:
        whole = await asyncio.to_thread(self._store.close, review_id)
        if not whole.revision:
            log.info("review.closing", review_id=review_id, run_id=whole.run_id)
            whole = await asyncio.to_thread(self._closer.finish, whole)
        return whole

    async def _closed(self, review_id: str) -> Whole:
        whole = await asyncio.to_thread(self._store.whole, _known(review_id))
        if whole.state is not ReviewState.CLOSED:
            raise PreconditionError(
                f"review {review_id} is open: what was said is shown to nobody before it is closed"
            )
        if not whole.revision:
            raise PreconditionError(
                f"review {review_id} is closed and its revision of the report is not written: close it again"
            )
        return whole


def _known(review_id: str) -> str:
    # A database may choke on some texts (PostgreSQL: NUL); no review is called like that.
    if not _ID.fullmatch(review_id):
        raise NotFoundError(f"there is no review {review_id[:80]!r}; see `valign reviews list`")
    return review_id


def _check(request: ReviewRequest) -> None:
    threshold = request.threshold
    if threshold is not None and not (math.isfinite(threshold) and -1 <= threshold <= 1):
        raise InvalidInputError(f"threshold is a cosine similarity in [-1, 1], not {threshold:g}")
    for name, value, most in (
        ("items_per_topic", request.items_per_topic, MAX_ITEMS_PER_TOPIC),
        ("reviewers_per_item", request.reviewers_per_item, MAX_REVIEWERS_PER_ITEM),
    ):
        if not 1 <= value <= most:
            raise InvalidInputError(f"{name} is from 1 to {most}, not {value}")
    if request.seed is not None and not 0 <= request.seed < 2**64:
        raise InvalidInputError(f"seed is from 0 to 2**64 - 1, not {request.seed}")
    if len(set(request.arms)) != len(request.arms) or len(request.arms) > 12:
        raise InvalidInputError("arms are at most 12 different kinds")
    _text(request.title, "title", MAX_TITLE_CHARACTERS)
    _text(request.rubric, "rubric", MAX_RUBRIC_CHARACTERS)
    if len(request.reviewers) > MAX_REVIEWERS or len(set(request.reviewers)) != len(request.reviewers):
        raise InvalidInputError(f"reviewers are at most {MAX_REVIEWERS} different principals")
    for reviewer in request.reviewers:
        if not reviewer or len(reviewer) > 255 or not reviewer.isprintable():
            raise InvalidInputError(f"{reviewer[:80]!r} is no principal; `valign whoami` shows one")
    if request.reviewers and len(request.reviewers) < request.reviewers_per_item:
        raise InvalidInputError(
            f"{request.reviewers_per_item} ratings an item are wanted and {len(request.reviewers)} reviewers"
            " are named: name more, or ask for fewer"
        )
    key = request.idempotency_key
    if len(key) > MAX_KEY_CHARACTERS or not (key.isprintable() or not key):
        raise InvalidInputError(f"an idempotency key is at most {MAX_KEY_CHARACTERS} printable characters")


def _text(value: str, what: str, most: int) -> str:
    if len(value) > most:
        raise InvalidInputError(f"{what} has {len(value)} characters; at most {most} are kept")
    if any((ord(one) < 32 and one not in "\n\t") or 127 <= ord(one) < 160 for one in value):
        raise InvalidInputError(f"{what} has control characters in it; write plain text")
    if any(0xD800 <= ord(one) < 0xE000 for one in value):
        raise InvalidInputError(f"{what} has half a character in it; write plain text")
    return value
