"""A run whose artifact store is full says so, keeps what it has drawn, and goes on when there is space."""

import pytest

from services.common.errors import OverloadedError
from services.orchestrator.loop.workflow import realign_model
from services.orchestrator.ports import RunStatus
from tests.disks import resize, small_disk
from tests.fakes.studies import study_json


@pytest.mark.parametrize("size_bytes", [8192, 40_960])
async def test_run_full_disk_then_space_goes_on_without_drawing_anew(world, size_bytes: int) -> None:
    with small_disk(world.folder / "artifacts", size_bytes) as disk:
        with pytest.raises(OverloadedError, match="No space left on device; free some space"):
            await realign_model(world.context(study_json()), world.record)
        drawn = world.store.completions("r-1")
        assert drawn
        assert not list(disk.rglob(".part-*"))
        resize(disk, 100_000_000)
        # What a retry does: the step that failed is run again, those before it are not.
        [failed] = [name for name, envelope in world.recorded.items() if envelope["error"]]
        del world.recorded[failed]
        await world.run(world.context(study_json()))
        assert world.report().overall.after is not None
        assert world.drawn_twice() == []
        kept = world.store.completions("r-1")
        assert [one for one in kept if one in drawn] == drawn


async def test_run_full_disk_ends_with_the_reason_and_the_remedy(world) -> None:
    with small_disk(world.folder / "artifacts", 8192):
        await world.run(world.context(study_json()))
        run = world.store.get_run("r-1")
        assert (run.status, run.error_code) == (RunStatus.FAILED, "OVERLOADED")
        assert "free some space" in run.error_message
        assert str(world.folder) in run.error_message
