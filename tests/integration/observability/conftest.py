"""One watched system for all tests of this folder: a run whose orchestrator is killed and comes back."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.collector import Collector, collector
from tests.integration.observability.watched import Watched


@dataclass(frozen=True, slots=True)
class Story:
    """What there is to look at: the system still runs, its run has ended.

    ``killed_ns`` is when the first orchestrator was killed, in nanoseconds since 1970.
    """

    system: Watched
    collector: Collector
    run_id: str
    killed_ns: int


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """The orchestrator dies in the middle of generating, and another process goes on with the run."""
    with collector() as found:
        system = Watched(Path(tmp_path_factory.mktemp("watched")), found.target)
        try:
            system.start()
            run_id = system.begin(headers={"X-Request-Id": "asked-by-a-test"})
            system.until_stage(run_id, "realign")
            # Spans that a killed process has not sent are lost; this is about those that it has.
            time.sleep(0.7)
            system.services["orchestrator"].kill()
            killed_ns = time.time_ns()
            system.services["orchestrator"].start()
            system.services["orchestrator"].wait_ready()
            ended = system.until_ended(run_id)
            assert ended["status"] == "succeeded", ended
            yield Story(system, found, run_id, killed_ns)
        finally:
            system.stop()
