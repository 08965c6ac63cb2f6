"""``client.reviews`` against the real API, from the frozen items to the file of ratings."""

import json
from typing import Any

import pytest

from services.client import errors
from services.orchestrator.api.models_reviews import ReviewExport
from services.orchestrator.review.closing import Closer
from services.orchestrator.review.service import Reviews
from tests.bundles import store_run
from tests.contract.client.conftest import QUICK, Both
from tests.evidence import make_evidence
from tests.fakes.orchestrator import World


@pytest.fixture(scope="module")
def evidence() -> Any:
    return make_evidence(model="faithful", inputs=20)


@pytest.fixture
async def client(both: Both, here: World, evidence: Any, url: str) -> Any:
    store_run(here.store, here.artifacts, evidence)
    made = both.make(url, retry=QUICK)
    yield made
    await both.close(made)


@pytest.fixture
def here(here: World) -> World:
    platform = here.store.platform
    # Drawing the page takes seconds; tests of the report have the real one.
    closer = Closer(
        platform.reviews, platform.review_revisions, here.store, here.artifacts, lambda report: "page"
    )
    reviews = Reviews(platform.reviews, here.store, here.artifacts, closer)
    object.__setattr__(here.application.platform, "reviews", reviews)
    return here


async def test_review_from_its_items_to_its_results(client: Any, both: Both) -> None:
    asked: dict[str, Any] = {"threshold": -1.0, "items_per_topic": 1, "reviewers_per_item": 1}
    made = await both.get(
        client.reviews.create("r-1", title="one", allow_author=True, idempotency_key="k", **asked)
    )
    again = await both.get(
        client.reviews.create("r-1", title="one", allow_author=True, idempotency_key="k", **asked)
    )
    assert (again.review_id, made.state, made.closed, made.ratings_wanted) == (
        made.review_id,
        "open",
        False,
        made.items,
    )
    with pytest.raises(errors.ConflictError):
        await both.get(client.reviews.create("r-1", title="two", idempotency_key="k"))
    first = await both.get(client.reviews.next_item(made.review_id))
    flagged = await both.get(client.reviews.flag(made.review_id, first.number, "cut off"))
    assert (flagged.number, flagged.flag) == (first.number, "cut off")
    while (item := await both.get(client.reviews.next_item(made.review_id))) is not None:
        rated = await both.get(client.reviews.rate(made.review_id, item.number, 7, comment="good"))
        assert (rated.rating, rated.comment, rated.text) == (7, "good", item.text)
    mine = await both.get(client.reviews.items(made.review_id))
    assert (len(mine), mine[0].flag) == (made.items, "cut off")
    assert (await both.get(client.reviews.get(made.review_id))).mine == made.items - 1
    with pytest.raises(errors.PreconditionError, match="is open"):
        await both.get(client.reviews.results(made.review_id))
    closed = await both.get(client.reviews.close(made.review_id))
    assert (closed.review.closed, closed.revision) == (True, 2)
    results = await both.get(client.reviews.results(made.review_id))
    assert (results.ratings, results.raters, results.flagged) == (made.items - 1, 1, 1)
    export = await both.get(client.reviews.export(made.review_id))
    # What the document says of the file is what is in it.
    assert len(ReviewExport.model_validate_json(export).items) == made.items
    assert set(json.loads(export)) == set(ReviewExport.model_fields)
    assert (await both.get(client.reviews.export(made.review_id, "csv"))).startswith(b"number,arm,")


async def test_reviews_are_listed_over_all_pages(client: Any, both: Both) -> None:
    made = [
        (await both.get(client.reviews.create("r-1", threshold=-1.0, items_per_topic=1))).review_id
        for _ in range(3)
    ]
    found = await both.get(client.reviews.list(page_size=1, run_id="r-1", state="open"))
    assert [one.review_id for one in found] == made[::-1]
    assert await both.get(client.reviews.list(state="closed")) == []
    page = await both.get(client.reviews.page(page_size=2))
    assert (len(page.reviews), bool(page.next_page_token)) == (2, True)
    with pytest.raises(errors.InvalidInputError, match="other filters"):
        await both.get(client.reviews.page(state="open", page_token=page.next_page_token))
    with pytest.raises(errors.NotFoundError):
        await both.get(client.reviews.get("rv-none"))
