"""The client against the real API."""

import io
from typing import Any

import pytest

from services.client import UnreachableError, errors
from services.client.models import AdapterState, Decision, RunStatus
from tests.contract.client.conftest import QUICK, Both
from tests.fakes.orchestrator import World
from tests.fakes.registry import add
from tests.fakes.studies import study_json
from tests.seeded import seed
from tests.verdicts import play

STUDY = "name: from-a-client\n"
TASK = b'{"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}\n'


@pytest.fixture
async def client(both: Both, url: str) -> Any:
    made = both.make(url, retry=QUICK)
    yield made
    await both.close(made)


async def test_runs_begin_once_by_key_and_are_watched_to_their_verdict(
    client: Any, both: Both, here: World
) -> None:
    play(here, "hold")
    run = await both.get(client.runs.create(STUDY, idempotency_key="k"))
    again = await both.get(client.runs.create(STUDY, idempotency_key="k"))
    assert (run.run_id, run.name) == (again.run_id, "from-a-client")
    events = await both.get(client.runs.watch(run.run_id))
    assert [event.number for event in events] == [1, 2, 3, 4]
    assert [event.kind for event in await both.get(client.runs.watch(run.run_id, after=3))] == [
        "run.succeeded"
    ]
    seen: list[str] = []
    ended = await both.get(client.runs.wait(run.run_id, lambda event: seen.append(event.kind)))
    assert (ended.status, ended.ended, seen[-1]) == (RunStatus.SUCCEEDED, True, "run.succeeded")
    verdict = await both.get(client.runs.verdict(run.run_id))
    assert (verdict.decision, bool(verdict.headline)) == (Decision.HOLD, True)
    assert (await both.get(client.runs.latest(verdict="hold"))).run_id == run.run_id
    with pytest.raises(errors.NotFoundError):
        await both.get(client.runs.latest(verdict="reject"))


async def test_lists_go_over_all_pages(client: Any, both: Both, here: World) -> None:
    for number in range(5):
        here.store.create_run(f"r-{number}", "a" if number else "b", study_json())
    found = await both.get(client.runs.list(name="a", page_size=2))
    assert [run.run_id for run in found] == ["r-4", "r-3", "r-2", "r-1"]
    page = await both.get(client.runs.page(page_size=2, order_by="create_time"))
    assert ([run.run_id for run in page.runs], bool(page.next_page_token)) == (["r-0", "r-1"], True)
    add(here.store.registry, *(f"a-{number}" for number in range(3)))
    found = await both.get(client.adapters.list(state=AdapterState.CANDIDATE, page_size=1))
    assert [one.name for one in found] == ["a-2", "a-1", "a-0"]


async def test_steering_takes_etags(client: Any, both: Both, here: World) -> None:
    here.store.create_run("r-1", "a", study_json())
    run = await both.get(client.runs.get("r-1"))
    paused = await both.get(client.runs.pause("r-1", etag=run.etag))
    with pytest.raises(errors.PreconditionError, match="has changed since"):
        await both.get(client.runs.cancel("r-1", etag=run.etag))
    resumed = await both.get(client.runs.resume("r-1", etag=paused.etag))
    assert not resumed.pause_requested
    assert (await both.get(client.runs.cancel("r-1"))).cancel_requested
    assert await both.get(client.runs.steps("r-1")) == []


async def test_adapters_and_routes(client: Any, both: Both, here: World) -> None:
    add(here.store.registry, "a", "b", "c")
    whole = await both.get(client.adapters.get("a"))
    route = await both.get(client.adapters.promote("a", etag=whole.adapter.etag))
    assert (route.name, route.adapter, route.etag) == ("valign", "a", "1")
    await both.get(client.adapters.promote("b"))
    route = await both.get(client.routes.set_canary("valign", adapter="c", share=0.1))
    assert route.canary_share == 0.1
    route = await both.get(client.routes.roll_back(etag=route.etag, reason="worse"))
    assert route.adapter == "a"
    assert len((await both.get(client.routes.get())).history) == 4
    assert [one.name for one in await both.get(client.routes.list())] == ["valign"]
    assert (await both.get(client.adapters.reject("c", "rude"))).state is AdapterState.REJECTED
    assert await both.get(client.adapters.prune(dry_run=True)) == []
    with pytest.raises(errors.PreconditionError):
        await both.get(client.adapters.promote("c"))


async def test_results_of_a_run(client: Any, both: Both, here: World) -> None:
    await seed(here)
    report = await both.get(client.runs.report("r-trained"))
    assert report["run_id"] == "r-trained"
    assert await both.get(client.runs.verdict("r-measured")) is None
    assert (await both.get(client.runs.report_html("r-trained"))).startswith("<!doctype")
    file = io.BytesIO()
    sha256 = await both.get(client.runs.bundle("r-trained", file.write))
    assert (len(sha256), file.getvalue()[:2]) == (64, b"PK")
    assert await both.get(client.runs.principles("r-trained", arm="original"))
    compared = await both.get(client.runs.compare(["r-measured", "r-again"]))
    assert compared["kind"]
    with pytest.raises(errors.NotFoundError):
        await both.get(client.runs.bundle("r-failed", file.write))


async def test_catalogue_assets_and_keys(client: Any, both: Both) -> None:
    studies = await both.get(client.studies.shipped())
    text = await both.get(client.studies.shipped_text(studies[0].id))
    assert (await both.get(client.studies.check(text)))["name"]
    sets = await both.get(client.data.reference_sets())
    assert (await both.get(client.data.reference_set(sets[0].id)))["id"] == sets[0].id
    assert await both.get(client.data.prompt_sets())
    diff = await both.get(client.data.diff_reference_sets({"id": sets[0].id}, {"id": sets[0].id}))
    assert diff
    asset = await both.get(client.assets.add("task", "sums", TASK))
    assert await both.get(client.assets.content(asset.sha256)) == TASK
    assert [one.sha256 for one in await both.get(client.assets.list("task"))] == [asset.sha256]
    assert (await both.get(client.assets.get(asset.sha256))).name == "sums"
    assert await both.get(client.assets.rulers()) == []
    assert (await both.get(client.values.get()))["values"]
    made = await both.get(client.api_keys.create("ci", ["run"]))
    assert made.secret.startswith("valign_")
    assert [key.name for key in await both.get(client.api_keys.list())] == ["ci"]
    assert (await both.get(client.api_keys.revoke(made.api_key.key_id))).revoke_time
    entries = await both.get(client.audit_log.entries(action="api_key.create"))
    assert [entry.target for entry in entries] == [made.api_key.key_id]
    assert (await both.get(client.audit_log.verify())).intact
    assert (await both.get(client.caller())).name == "local"
    assert await both.get(client.system()) == []


async def test_errors_are_a_tree_by_code(client: Any, both: Both) -> None:
    with pytest.raises(errors.InvalidInputError) as wrong:
        await both.get(client.studies.check("name: x\nsede: 1\n"))
    assert wrong.value.places[0]["line"] == 2
    assert (wrong.value.status, wrong.value.code, bool(wrong.value.request_id)) == (
        422,
        "INVALID_INPUT",
        True,
    )
    with pytest.raises(errors.NotFoundError, match="no run"):
        await both.get(client.runs.get("r-none"))
    with pytest.raises(errors.ConflictError):
        await both.get(client.runs.create("name: a\n", idempotency_key="same"))
        await both.get(client.runs.create("name: b\n", idempotency_key="same"))


async def test_nothing_there_is_unreachable(both: Both) -> None:
    client = both.make("http://127.0.0.1:9", retry=QUICK)
    with pytest.raises(UnreachableError, match="no orchestrator answers at http"):
        await both.get(client.runs.get("r-1"))
    with pytest.raises(UnreachableError):
        await both.get(client.runs.watch("r-1", give_up_after_s=0.0))
    await both.close(client)
