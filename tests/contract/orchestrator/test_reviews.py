"""Human reviews over REST, gRPC and the command line, from the frozen items to the new revision of the report."""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from services.common.errors import NotFoundError
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.access.authenticate import Access
from services.orchestrator.api import build_http_app
from services.orchestrator.audit.checking import check_bundle
from services.orchestrator.audit.files import ZipFiles
from services.orchestrator.audit.recompute import table
from services.orchestrator.identity import Principal, Scope, acting_as
from services.orchestrator.registry.records import AdapterState, NewAdapter
from services.orchestrator.review.closing import Closer
from services.orchestrator.review.records import Closing, Item, ReviewRequest
from services.orchestrator.review.service import Reviews
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
    from services.orchestrator.study import GateSettings

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
    assert run.report.analysis is not None and run.report.analysis.verdict is not None
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
    told = [event for event in here.store.platform.outbox.after(0) if event.type in ("review.closed", "run.verdict")]
    assert [event.type for event in told] == ["review.closed", "run.verdict"]
    assert told[1].data["decision"] == "promote"
    bundle = await here.application.bundle("r-1")
    path = tmp_path / "bundle.zip"
    path.write_bytes(here.artifacts.get_bytes(bundle.uri))
    with path.open("rb") as file:
        outcome = check_bundle(ZipFiles(file))
    assert outcome.ok, table(outcome)
    assert "human review" in await here.application.model_card("r-1")


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
    await _all_rate(reviews, review_id, lambda one: base[one.number] + hash((one.number, "a")) % 4, "a")
    await _all_rate(reviews, review_id, lambda one: base[one.number] - 2 + 5 * (one.number % 2), "b")
    with acting_as(AUTHOR):
        _, decision, _ = await reviews.close(review_id)
    report = await here.application.report("r-1")
    held = {one["rule"] for one in report["analysis"]["verdict"]["reasons"] if one["outcome"] == "hold"}
    assert (decision, "human_review_agreement" in held) == ("hold", True)
