"""How a job is computed, from the settings to its process."""

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
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValidationError, match=match):
        TrainerSettings(**changes)


def test_child_environment_sends_no_usage_reports() -> None:
    assert TrainerSettings().child_environment["RAY_USAGE_STATS_ENABLED"] == "0"
