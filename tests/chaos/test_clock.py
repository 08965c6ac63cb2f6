"""A wall clock that jumps a day, forth and back, under a running orchestrator."""

import asyncio
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.chaos.campaign.comparing import differences
from tests.chaos.orchestrators import orchestrator
from tests.fakes.fake_services import fake_services
from tests.fakes.studies import study_json

pytestmark = pytest.mark.chaos

SOURCE = Path(__file__).resolve().parents[1] / "fakes" / "clock_shift.c"
DAY_S = 86_400


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The library that shifts the clock, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, which the library that shifts the clock needs")
    built = tmp_path / "clock_shift.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(built), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return built


async def test_clock_jumps_a_day_forth_and_back_run_ends_with_the_same(tmp_path: Path, library: Path) -> None:
    shift = tmp_path / "shift"
    shift.write_text("0")
    study = study_json(principles=6, iterations=1, guards={"general_prompts": None})
    async with fake_services() as fakes:
        fakes.generator.concurrency, fakes.trainer.steps = 2, 5
        targets = dict.fromkeys(("generator", "embedder", "trainer"), fakes.target)
        environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(shift)}
        async with orchestrator(tmp_path, targets, environment=environment) as process:
            steady = await process.create_run(study)
            assert (await process.until_ended(steady))["status"] == "succeeded"

            fakes.generator.latency_s, fakes.trainer.step_s = 0.15, 0.3
            run_id = await process.create_run(study)
            await process.until_stage(run_id, "uncover")
            await asyncio.sleep(0.5)
            shift.write_text(str(DAY_S))
            await process.until_stage(run_id, "realign")
            await asyncio.sleep(0.5)
            shift.write_text(str(-DAY_S))
            await process.until_stage(run_id, "judge")
            fakes.generator.latency_s = 0.0
            run = await process.until_ended(run_id)

            assert run["status"] == "succeeded", run
            assert differences(await process.result(steady), await process.result(run_id)) == []
            # The jumps were seen: its end lies before its beginning.
            created, ended = (datetime.fromisoformat(run[name]) for name in ("create_time", "end_time"))
            assert timedelta(hours=23) < created - ended < timedelta(hours=25)
            events = process.event_kinds(run_id)
            assert [number for number, _ in events] == list(range(1, len(events) + 1))
            kinds = [kind for _, kind in events]
            assert "service.waiting" not in kinds
            assert kinds[-1] == "run.succeeded"
            # A duration is what a clock that does not jump has counted.
            report = await process.report(run_id)
            assert 0 < report["timings_s"]["total"] < 600
            assert await process.terminate() == 0
