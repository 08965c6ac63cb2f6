"""How a job is computed, from the settings to its process."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.trainer.compute import Compute
from services.trainer.settings import TrainerSettings


def test_compute_of_the_settings_survives_a_command_line() -> None:
    settings = TrainerSettings(
        backend="ray", workers=4, min_workers=2, sharding="fsdp2", ray_address="head:6379", packing=True
    )
    compute = Compute.from_text(settings.compute.to_text())
    assert compute == settings.compute
    assert (compute.backend, compute.workers, compute.min_workers) == ("ray", 4, 2)
    assert (compute.sharding, compute.ray_address, compute.packing) == ("fsdp2", "head:6379", True)
    assert TrainerSettings().compute == Compute()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"workers": 2}, "one process; set it to torchrun or ray"),
        ({"backend": "ray", "workers": 2, "min_workers": 3}, "MIN_WORKERS is 3, more than"),
        ({"backend": "ray", "quantization": "nf4", "sharding": "fsdp2"}, "SHARDING=ddp"),
        ({"ray_address": "http://head:8265"}, "pattern"),
        ({"sharding": "fsdp2"}, "SHARDING is fsdp2 and VALIGN_TRAINER_BACKEND is local"),
        (
            {"backend": "torchrun", "sharding": "fsdp2"},
            "SHARDING is fsdp2 and VALIGN_TRAINER_WORKERS is 1: .*to 2 or more, or the sharding to ddp",
        ),
        ({"backend": "ray", "sharding": "fsdp2"}, "SHARDING is fsdp2 and VALIGN_TRAINER_WORKERS is 1"),
        ({"artifacts_uri": "file:/srv/store"}, "write file:///srv/store, or /srv/store"),
        ({"ray_address": "head:6379"}, "RAY_ADDRESS is head:6379 and VALIGN_TRAINER_BACKEND is local"),
        (
            {"backend": "torchrun", "workers": 2, "ray_address": "head:6379"},
            "RAY_ADDRESS is head:6379 and VALIGN_TRAINER_BACKEND is torchrun",
        ),
        (
            {"backend": "torchrun", "workers": 4, "min_workers": 2},
            "MIN_WORKERS is 2 and VALIGN_TRAINER_BACKEND is torchrun, .*set it to ray",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        TrainerSettings(**changes)


def test_settings_of_a_ray_job_that_shards_may_go_on_with_one_worker() -> None:
    settings = TrainerSettings(backend="ray", workers=2, min_workers=1, sharding="fsdp2")
    assert settings.compute == Compute(backend="ray", workers=2, sharding="fsdp2")


def test_child_environment_sends_no_usage_reports() -> None:
    assert TrainerSettings().child_environment["RAY_USAGE_STATS_ENABLED"] == "0"


def test_relative_folders_become_whole_ones_that_ray_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow.fs import FileSystem, LocalFileSystem

    monkeypatch.chdir(tmp_path)
    settings = TrainerSettings(artifacts_uri="store")
    assert settings.state_dir == tmp_path / ".valign/trainer"
    assert settings.artifacts_uri == str(tmp_path / "store")
    assert TrainerSettings().artifacts_uri == str(tmp_path / ".valign/artifacts")
    # What Ray Train does with the storage path of a job, and could not with a relative one.
    files, path = FileSystem.from_uri(str(settings.state_dir / "jobs/a/ray"))
    assert isinstance(files, LocalFileSystem)
    assert path == str(tmp_path / ".valign/trainer/jobs/a/ray")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s3://bucket/artifacts", "s3://bucket/artifacts"),
        ("file:///srv/store", "file:///srv/store"),
        ("file://store", "file://{}/store"),
    ],
)
def test_artifacts_uri_of_another_place_stays_as_it_is(
    given: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert TrainerSettings(artifacts_uri=given).artifacts_uri == kept.format(tmp_path)
