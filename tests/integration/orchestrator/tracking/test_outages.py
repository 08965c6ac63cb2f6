"""MLflow away, hanging or refusing; the orchestrator's process killed in the middle of a run."""

import asyncio
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from services.common.errors import NotReadyError
from services.orchestrator.ports import RunStatus
from services.orchestrator.tracking.mirror import READER
from services.orchestrator.tracking.probe import MlflowProbe
from tests.chaos.orchestrators import Orchestrator, orchestrator
from tests.chaos.proxy import Proxy
from tests.fakes.fake_services import fake_services
from tests.fakes.studies import study_json
from tests.integration.orchestrator.tracking.conftest import Place
from tests.mlflow_server import MlflowProcess

TOPICS = ("privacy", "fairness")

_UP_TO_DATE = "valign_orchestrator_mlflow_lag_events 0.0"


def probe_of(place: Place) -> MlflowProbe:
    return MlflowProbe(place.server.uri, place.store.platform.tracking, place.store.platform.outbox)


async def test_server_that_is_away_loses_nothing_and_is_asked_less_often(place: Place) -> None:
    await place.step()
    assert (await probe_of(place).look()).serving
    place.create_run()
    away = place.new_mirror(mlflow_registry_uri=place.server.uri)
    away._runs._server.tracking_uri = "http://127.0.0.1:1"
    for _ in range(5):
        await away.step()
    assert away._away.failures == 1
    with pytest.raises(NotReadyError, match="mirroring to MLflow fails since"):
        await probe_of(place).look()
    place.store.add_event("r-1", "training.progress", {"iteration": 1, "step": 1, "loss": 0.5})
    place.store.change_status("r-1", RunStatus.CANCELLED, "run.cancelled")
    away._runs._server.tracking_uri = place.server.uri
    away._runs._server._made = None
    await asyncio.sleep(1.1)
    await away.step()
    assert place.store.platform.tracking.state().failure == ""
    (run,) = place.runs()
    assert run.info.status == "KILLED"
    assert run.data.metrics["training/i1/loss"] == 0.5
    facts = await probe_of(place).look()
    assert facts.version.startswith("0 events behind, last mirrored 20")


async def test_server_that_hangs_is_given_up_in_bounded_time(place: Place) -> None:
    await place.step()
    place.create_run()
    proxy = Proxy(place.server.uri.removeprefix("http://"))
    await proxy.start()
    proxy.silent = True
    mirror = place.new_mirror()
    mirror._runs._server.tracking_uri = f"http://{proxy.address}"
    began_s = time.monotonic()
    await mirror.step()
    # Connected, and never answered: the client's own limit (5 s here) ends it.
    assert time.monotonic() - began_s < 15
    assert "timed out" in place.store.platform.tracking.state().failure
    await proxy.stop()


class _Refusing(BaseHTTPRequestHandler):
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def refusing() -> Iterator[tuple[str, list[str]]]:
    """A server that takes no credential, and what it was shown."""
    seen: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Refusing,), {"seen": seen}))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()
    thread.join()


async def test_server_that_refuses_the_credential_says_which_setting(
    place: Place, refusing: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, seen = refusing
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-token-of-ours")
    place.create_run()
    mirror = place.new_mirror()
    mirror._runs._server.tracking_uri = uri
    await mirror.step()
    assert seen == ["Bearer a-token-of-ours"]
    failure = place.store.platform.tracking.state().failure
    assert "VALIGN_ORCHESTRATOR_MLFLOW_TOKEN" in failure
    assert "a-token-of-ours" not in failure


async def test_run_of_an_older_report_holds_no_other_back(place: Place) -> None:
    await place.step()
    place.create_run("r-1")
    place.create_run("r-2")
    broken = place.artifacts.put_bytes("runs/r-1/report.json", b"{}")
    place.store.change_status("r-1", RunStatus.SUCCEEDED, "run.succeeded", report_uri=broken.uri)
    await place.mirror.step()
    found = {run.data.tags["valign.run_id"]: run.info.status for run in place.runs()}
    assert found == {"r-1": "FINISHED", "r-2": "SCHEDULED"}
    assert "another version of valign" in place.store.platform.tracking.state().failure
    await place.mirror.step()
    assert "another version of valign" in place.store.platform.tracking.state().failure
    outbox = place.store.platform.outbox
    assert outbox.read_by(READER) == outbox.head()


async def test_leader_that_is_none_any_more_leaves_no_second_run(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped while MLflow made its run; by now another leads."""
    await place.step()
    place.create_run()
    old, tracking = place.new_mirror(), place.store.platform.tracking
    place.store.leases.acquire("me", None)
    bound = place.store.bound(1).platform.tracking
    place.store.leases.acquire("another", place.store.leases.read())
    old._runs._tracking = bound
    await old.step()
    assert place.runs() == []
    assert old._away.failures == 1
    place.new_mirror()
    await place.step()
    assert len(place.runs()) == 1
    assert tracking.run("r-1") is not None


def lines_of(found: Orchestrator) -> str:
    return (found.folder / "orchestrator.log").read_text()


async def test_process_killed_in_the_middle_and_a_server_that_is_away_double_nothing(
    place: Place, mlflow_server: MlflowProcess
) -> None:
    """A real orchestrator: its run begins with MLflow away, it is killed, and goes on with MLflow there."""
    folder = place.folder / "process"
    folder.mkdir()
    proxy = Proxy(mlflow_server.uri.removeprefix("http://"))
    await proxy.start()
    settings = {
        "MLFLOW_TRACKING_URI": f"http://{proxy.address}",
        "MLFLOW_EXPERIMENT": place.name,
        "MLFLOW_MODEL_PREFIX": place.name,
        "MLFLOW_INTERVAL_S": "0.2",
        "MLFLOW_TIMEOUT_S": "2",
    }
    proxy.silent = True
    async with fake_services() as fakes:
        fakes.trainer.step_s = 0.15
        targets = dict.fromkeys(("generator", "embedder", "trainer"), fakes.target)
        async with orchestrator(folder, targets, settings=settings) as found:
            run_id = await found.create_run(study_json(principles=12, iterations=2))
            await found.until_stage(run_id, "realign")
            assert place.runs() == []
            proxy.silent = False
            deadline = time.monotonic() + 60
            while not place.runs():
                assert time.monotonic() < deadline, lines_of(found)
                await asyncio.sleep(0.1)
            assert (await found.run(run_id))["status"] == "running"
            await asyncio.to_thread(found.service.kill)
            fakes.trainer.step_s = 0.01
            await found.start()
            run = await found.until_ended(run_id)
            assert run["status"] == "succeeded", run
            deadline = time.monotonic() + 60
            while (mirrored := place.runs())[0].info.status != "FINISHED":
                assert time.monotonic() < deadline, lines_of(found)
                await asyncio.sleep(0.2)
            system = (await found.http.get("/v1/system")).json()["services"]
            # Told once the last event is dealt with, which is after the run.
            while _UP_TO_DATE not in (await found.http.get("/metrics")).text:
                assert time.monotonic() < deadline, lines_of(found)
                await asyncio.sleep(0.2)
            assert await found.terminate() == 0
            assert "leader.step_failed" not in lines_of(found)
    await proxy.stop()
    (one,) = mirrored
    for topic in TOPICS:
        history = place.client.get_metric_history(one.info.run_id, f"value_difference/{topic}")
        assert sorted(point.step for point in history) == [0, 1, 2]
    names = {file.path for file in place.client.list_artifacts(one.info.run_id)}
    assert {"study.json", "report.json", "report.html", "model-card.md"} <= names
    assert one.data.tags["valign.decision"] in ("promote", "hold", "reject")
    (mlflow,) = [service for service in system if service["name"] == "mlflow"]
    assert mlflow["target"] == f"http://{proxy.address}"
