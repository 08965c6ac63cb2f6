"""Reviews on both databases: many reviewers at once, words of any kind, and one row for one review."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.common.errors import NotFoundError, PreconditionError
from services.orchestrator.analysis.human_review import FrozenItem
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.review.records import Given
from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.reviews import SqlReviews
from tests.fakes.studies import study_json

ID = "rv-000000000000"


@pytest.fixture
def reviews(store: SqlRunStore) -> SqlReviews:
    store.create_run("r-1", "n", study_json())
    items = [
        FrozenItem(number=n, arm="tuned", topic_id="t", index=n, text=f"قيم {n}", reference="r", metric=0.25)
        for n in range(1, 9)
    ]
    row = {
        "review_id": ID,
        "run_id": "r-1",
        "title": "t",
        "rubric": "r",
        "threshold": 0.5,
        "arms": ["tuned"],
        "items_per_topic": 8,
        "reviewers_per_item": 2,
        "seed": str(2**64 - 1),
        "closing": "manual",
        "reviewers": [],
        "allow_author": False,
        "author": "key:author",
        "items": len(items),
        "items_sha256": "0" * 64,
    }
    made = store.platform.reviews
    assert made.create(row, items, {"t": "Topic"}, "", "d") == (ID, True)
    return made


def _rate_all(reviews: SqlReviews, name: str) -> list[int]:
    numbers = []
    with acting_as(Principal(name, frozenset({Scope.REVIEW}))):
        while (item := reviews.next_item(ID)) is not None:
            numbers.append(item.number)
            reviews.say(ID, item.number, Given.RATED, 5, "健康 😀")
    return numbers


def test_next_item_threads_at_once_no_item_gets_more_reviewers_than_wanted(reviews: SqlReviews) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: _rate_all(reviews, f"key:r{n}"), range(6)))
    counts = Counter(number for numbers in found for number in numbers)
    assert counts == dict.fromkeys(range(1, 9), 2)
    assert reviews.get(ID).ratings == 16
    assert reviews.whole(ID).seed == 2**64 - 1


def test_next_item_orders_differ_by_reviewer_and_stay_the_same_item_until_rated(reviews: SqlReviews) -> None:
    with acting_as(Principal("key:a", frozenset({Scope.REVIEW}))):
        assert reviews.next_item(ID) == reviews.next_item(ID)
    assert _rate_all(reviews, "key:a") != _rate_all(reviews, "key:b")


def test_say_what_was_not_given_or_after_the_close_is_refused(reviews: SqlReviews) -> None:
    with acting_as(Principal("key:a", frozenset({Scope.REVIEW}))):
        with pytest.raises(NotFoundError, match="was not given"):
            reviews.say(ID, 1, Given.RATED, 5, "")
        with pytest.raises(PreconditionError, match="nothing to close"):
            reviews.close(ID)
        item = reviews.next_item(ID)
        assert item is not None
        reviews.say(ID, item.number, Given.RATED, 5, "")
        reviews.close(ID)
        assert reviews.next_item(ID) is None
        with pytest.raises(PreconditionError, match="is closed"):
            reviews.say(ID, item.number, Given.RATED, 6, "")
