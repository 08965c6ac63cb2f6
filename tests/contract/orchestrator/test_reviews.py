"""Human reviews over REST and gRPC, from the frozen items to the new revision of the report."""

import asyncio
import csv
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from services.common.errors import ConflictError, ForbiddenError, InvalidInputError, PreconditionError
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.access.authenticate import Access
from services.orchestrator.api import build_http_app
from services.orchestrator.api.servicer import OrchestratorServicer
from services.orchestrator.audit.checking import check_bundle
from services.orchestrator.audit.files import ZipFiles
from services.orchestrator.audit.recompute import table
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.registry.records import AdapterState, NewAdapter
from services.orchestrator.review.closing import Closer
from services.orchestrator.review.records import Closing, Given, Item, ReviewRequest
from services.orchestrator.review.service import Reviews
from services.orchestrator.study import GateSettings
from tests.bundles import RunWorld, store_run
from tests.evidence import make_evidence
from tests.fakes.orchestrator import World, world
from tests.fakes.servers import http_server

ADAPTER = "r-1-i2-0badcafe"
GATE = {"human_review": {"required": True, "min_reviewers": 2, "min_items": 10, "min_difference": 0.5}}
AUTHOR = Principal("key:author", frozenset({Scope.RUN}))
Rate = Callable[[Item], int]


def _reviewer(name: str) -> Principal:
    return Principal(f"key:{name}", frozenset({Scope.REVIEW}))


@pytest.fixture(scope="module")
def evidence() -> Any:
    return make_evidence(model="faithful", inputs=60, probes=True, gate=_gate())


def _gate() -> dict[str, Any]:
    return GateSettings.model_validate(GATE).model_dump(mode="json")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        platform = made.store.platform
        # Drawing the page takes seconds; a test of the report has the real one.
        closer = Closer(
            platform.reviews, platform.review_revisions, made.store, made.artifacts, lambda report: "page"
        )
        reviews = Reviews(platform.reviews, made.store, made.artifacts, closer)
        object.__setattr__(made.application.platform, "reviews", reviews)
        yield made


@pytest.fixture
def run(here: World, evidence: Any) -> RunWorld:
    with acting_as(AUTHOR):
        made = store_run(here.store, here.artifacts, evidence)
        new = NewAdapter(ADAPTER, "a" * 64, "file:///a", "r-1", "", 2, "m", "f" * 64, 8, False, AUTHOR.name)
        here.store.registry.register(new)
        here.store.registry.move(ADAPTER, AdapterState.PROVEN, "proven")
    return made


@pytest.fixture
def reviews(here: World) -> Reviews:
    return here.application.platform.reviews


def _by_arm(here: World, review_id: str) -> dict[int, str]:
    items, _ = here.store.platform.reviews.frozen(review_id)
    return {item.number: item.arm for item in items}


async def _all_rate(reviews: Reviews, review_id: str, rate: Rate, *names: str) -> None:
    for name in names:
        with acting_as(_reviewer(name)):
            while (item := await reviews.next_item(review_id)) is not None:
                await reviews.rate(review_id, item.number, rate(item))


async def _created(reviews: Reviews, **changes: Any) -> str:
    request = ReviewRequest("r-1", **{"threshold": -1.0, "items_per_topic": 12, **changes})
    with acting_as(AUTHOR):
        review, _ = await reviews.create(request)
    return review.review_id


async def test_close_tuned_rated_above_base_promotes_and_everything_follows(
    here: World, run: RunWorld, reviews: Reviews, tmp_path: Path
) -> None:
    assert run.report.analysis is not None
    assert run.report.analysis.verdict is not None
    assert run.report.analysis.verdict.decision == "hold"
    assert "needs human review: `valign reviews create RUN`" in run.report.analysis.verdict.reasons[0].text
    review_id = await _created(reviews)
    arms = _by_arm(here, review_id)
    better = {number: 8 if arm == "tuned" else 4 for number, arm in arms.items()}
    await _all_rate(reviews, review_id, lambda one: better[one.number] + one.number % 3, "a", "b", "c")
    with acting_as(AUTHOR):
        review, decision, revision = await reviews.close(review_id)
        assert await reviews.close(review_id) == (review, decision, revision)
    assert (decision, revision) == ("promote", 2)
    report = await here.application.report("r-1")
    assert report["revision"]["number"] == 2
    assert report["human_review"]["agreement"]["ordinal"]["value"] == 1.0
    assert report["human_review"]["differences"][0]["difference"]["value"] == pytest.approx(4, abs=0.7)
    assert report["analysis"]["verdict"]["decision"] == "promote"
    # The report of before stays.
    entry = here.store.platform.review_revisions.revisions("r-1")[0]
    before = json.loads(here.artifacts.get_bytes(entry["replaced_report_uri"]))
    assert before["analysis"]["verdict"]["decision"] == "hold"
    assert here.store.registry.get(ADAPTER).state is AdapterState.CANDIDATE
    told = [
        event
        for event in here.store.platform.outbox.after(0)
        if event.type in ("review.closed", "run.verdict")
    ]
    assert [event.type for event in told] == ["review.closed", "run.verdict"]
    assert told[1].data["decision"] == "promote"
    bundle = await here.application.bundle("r-1")
    path = tmp_path / "bundle.zip"
    path.write_bytes(here.artifacts.get_bytes(bundle.uri))
    with path.open("rb") as file:
        outcome = check_bundle(ZipFiles(file))
    assert outcome.ok, table(outcome)
    assert "## Human review" in await here.application.model_card("r-1")


async def test_close_tuned_rated_below_base_rejects(here: World, run: RunWorld, reviews: Reviews) -> None:
    review_id = await _created(reviews, closing=Closing.COMPLETE, reviewers_per_item=2)
    arms = _by_arm(here, review_id)
    await _all_rate(reviews, review_id, lambda one: 3 if arms[one.number] == "tuned" else 7, "a", "b")
    report = await here.application.report("r-1")
    assert report["analysis"]["verdict"]["decision"] == "reject"
    assert here.store.registry.get(ADAPTER).state is AdapterState.REJECTED


async def test_close_reviewers_who_disagree_holds(here: World, run: RunWorld, reviews: Reviews) -> None:
    review_id = await _created(reviews, reviewers_per_item=2)
    arms = _by_arm(here, review_id)
    base = {number: 6 if arm == "tuned" else 3 for number, arm in arms.items()}
    await _all_rate(reviews, review_id, lambda one: base[one.number] + one.number * 7 % 4, "a")
    await _all_rate(reviews, review_id, lambda one: base[one.number] - 2 + 5 * (one.number % 2), "b")
    with acting_as(AUTHOR):
        _, decision, _ = await reviews.close(review_id)
    report = await here.application.report("r-1")
    held = {one["rule"] for one in report["analysis"]["verdict"]["reasons"] if one["outcome"] == "hold"}
    assert (decision, "human_review_agreement" in held) == ("hold", True)


async def test_reviewers_are_answered_nothing_that_names_an_arm(
    here: World, run: RunWorld, reviews: Reviews
) -> None:
    review_id = await _created(reviews, items_per_topic=2, reviewers_per_item=1)
    answers = []
    async with _served(here, _reviewer("a")) as client:
        shown = (await client.get(f"/v1/reviews/{review_id}")).text
        assert not any(word in shown for word in ("base_p3", "tuned", "arms", "metric", "threshold"))
        while (found := await client.post(f"/v1/reviews/{review_id}/next")).json()["item"] is not None:
            answers.append(found)
            number = found.json()["item"]["number"]
            said = await client.put(f"/v1/reviews/{review_id}/items/{number}/rating", json={"rating": 5})
            assert said.json() == {**found.json()["item"], "rating": 5}
    assert {frozenset(found.json()["item"]) for found in answers} == {
        frozenset(("number", "topic", "text", "reference", "rating", "comment", "flag"))
    }
    fixed = [{k: v for k, v in found.headers.items() if k not in _PER_CALL} for found in answers]
    assert all(headers == fixed[0] for headers in fixed)


async def test_numbers_and_order_of_items_are_independent_of_the_arm(
    here: World, run: RunWorld, reviews: Reviews
) -> None:
    by_number, by_order = [], []
    for seed in range(10):
        review_id = await _created(reviews, seed=seed, items_per_topic=6, reviewers_per_item=1)
        arms = _by_arm(here, review_id)
        numbers = []
        with acting_as(_reviewer("a")):
            while (item := await reviews.next_item(review_id)) is not None:
                numbers.append(item.number)
                await reviews.rate(review_id, item.number, 5)
        assert sorted(numbers) == sorted(arms)
        tuned = np.array([arms[number] == "tuned" for number in numbers])
        assert 0 < tuned.sum() < len(tuned)
        for found, places in ((by_number, np.array(numbers)), (by_order, np.arange(len(numbers)))):
            found.append((places[tuned].mean() - places[~tuned].mean()) / len(numbers))
    # The mean of ten differences of random places has a standard error of about 0.03.
    assert abs(np.mean(by_number)) < 0.13
    assert abs(np.mean(by_order)) < 0.13


_PER_CALL = {"x-request-id", "content-length", "date"}


async def test_next_item_many_at_once_no_item_gets_more_reviewers_than_wanted(
    here: World, run: RunWorld, reviews: Reviews
) -> None:
    review_id = await _created(reviews, items_per_topic=1, reviewers_per_item=2)

    async def one(name: str) -> None:
        with acting_as(_reviewer(name)):
            while (item := await reviews.next_item(review_id)) is not None:
                await reviews.rate(review_id, item.number, 5)

    await asyncio.gather(*(one(f"r{number}") for number in range(6)))
    _, said = here.store.platform.reviews.frozen(review_id)
    counts = Counter(one.number for one in said if one.state is Given.RATED)
    assert set(counts.values()) == {2}
    assert len(counts) == (await reviews.get(review_id)).items


async def test_rate_over_both_faces_and_changed_until_closed(
    here: World, run: RunWorld, reviews: Reviews
) -> None:
    made = await _created(reviews, items_per_topic=1, reviewers_per_item=1)
    stub_of = OrchestratorServicer(here.application)
    with acting_as(_reviewer("a")):
        item = (await stub_of.NextReviewItem(pb.NextReviewItemRequest(review_id=made), None)).item
        again = (await stub_of.NextReviewItem(pb.NextReviewItemRequest(review_id=made), None)).item
        assert again == item
        rate = pb.RateReviewItemRequest(review_id=made, number=item.number, rating=7, comment="good")
        assert (await stub_of.RateReviewItem(rate, None)).item.rating == 7
    async with _served(here, _reviewer("a")) as client:
        path = f"/v1/reviews/{made}"
        changed = await client.put(f"{path}/items/{item.number}/rating", json={"rating": 3})
        assert (changed.json()["rating"], changed.json()["comment"]) == (3, "")
        assert (await client.get(f"{path}/items")).json()["items"] == [changed.json()]
        for body in ({"rating": 0}, {"rating": 11}, {"rating": 5.5}, {"rating": "5"}, {}):
            answer = await client.put(f"{path}/items/{item.number}/rating", json=body)
            assert answer.status_code == 422, body
        for comment in ("\x1b[2J", "a\x00b", "x" * 2001, "\x9b"):
            body = {"rating": 5, "comment": comment}
            answer = await client.put(f"{path}/items/{item.number}/rating", json=body)
            assert answer.status_code == 422
        assert (await client.put(f"{path}/items/99999/rating", json={"rating": 5})).status_code == 404
        # Nobody sees results before the end, and who may only rate does not see runs.
        assert (await client.get("/v1/runs/r-1/report")).status_code == 403
        assert (await client.get(f"{path}/results")).status_code == 403
    with acting_as(AUTHOR):
        with pytest.raises(PreconditionError, match="is open"):
            await reviews.results(made)
        with pytest.raises(ForbiddenError):
            await reviews.next_item(made)
    with acting_as(Principal(AUTHOR.name, frozenset({Scope.REVIEW}))), pytest.raises(PreconditionError):
        await reviews.next_item(made)
    with acting_as(AUTHOR):
        await reviews.close(made)
    with acting_as(_reviewer("a")), pytest.raises(PreconditionError, match="is closed"):
        await reviews.rate(made, item.number, 9)
    results = await reviews.results(made)
    assert results["ratings"] == 1
    assert results["agreement"]["ordinal"] is None


async def test_flag_frees_the_place_and_export_names_no_reviewer(
    here: World, run: RunWorld, reviews: Reviews
) -> None:
    made = await _created(reviews, items_per_topic=1, reviewers_per_item=1)
    with acting_as(_reviewer("anna")):
        first = await reviews.next_item(made)
        assert first is not None
        assert (await reviews.flag(made, first.number, "=cut off")).flag == "=cut off"
    await _all_rate(reviews, made, lambda one: 5, "ben")
    with acting_as(AUTHOR):
        review, _, _ = await reviews.close(made)
    assert (review.ratings, review.flagged) == (review.items, 1)
    text, kind = await reviews.export(made, "csv")
    lines = list(csv.DictReader(io.StringIO(text.decode())))
    assert kind.startswith("text/csv")
    assert {line["reviewer"] for line in lines} == {"r1", "r2"}
    assert [line["comment"] for line in lines if line["state"] == "flagged"] == ["'=cut off"]
    data = json.loads((await reviews.export(made))[0])
    assert len(data["items"]) == review.items
    assert b"anna" not in (await reviews.export(made))[0]


async def test_create_again_with_the_key_is_the_same_review(
    here: World, run: RunWorld, reviews: Reviews
) -> None:
    request = ReviewRequest("r-1", threshold=-1.0, idempotency_key="k")
    with acting_as(AUTHOR):
        first, created = await reviews.create(request)
        second, again = await reviews.create(request)
        assert (first.review_id, created, again) == (second.review_id, True, False)
        with pytest.raises(ConflictError):
            await reviews.create(replace(request, items_per_topic=1))
        with pytest.raises(PreconditionError, match="lower the threshold"):
            await reviews.create(ReviewRequest("r-1", threshold=1.0))
        with pytest.raises(InvalidInputError, match="no texts of an arm"):
            await reviews.create(ReviewRequest("r-1", arms=("nothing",)))
    with acting_as(_reviewer("a")), pytest.raises(ForbiddenError):
        await reviews.create(request)


@dataclass(frozen=True, slots=True)
class _Who:
    """Every token is this principal's."""

    principal: Principal

    async def principal_of(self, token: str) -> Principal:
        return self.principal


@asynccontextmanager
async def _served(here: World, principal: Principal) -> AsyncIterator[httpx.AsyncClient]:
    app = build_http_app(here.application, access=Access(required=True, oidc=_Who(principal)))
    async with http_server(app) as url:
        headers = {"authorization": "Bearer any"}
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, headers=headers) as client:
            yield client
