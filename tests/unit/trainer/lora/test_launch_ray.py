"""What is asked of a Ray cluster before any worker is."""

import pytest

from services.common.errors import PreconditionError
from services.trainer.lora.launch_ray import check_room


@pytest.mark.parametrize(
    ("unit", "resources"),
    [("GPU", {"CPU": 64.0, "GPU": 2.0}), ("CPU", {"CPU": 2.0, "GPU": 8.0}), ("GPU", {})],
)
def test_own_cluster_without_room_for_the_fewest_workers_is_refused(
    unit: str, resources: dict[str, float]
) -> None:
    room = int(resources.get(unit, 0))
    with pytest.raises(PreconditionError, match=f"needs 3 workers .*each a {unit}.* has {room}; lower it"):
        check_room(3, resources, unit)


def test_own_cluster_with_just_enough_room_is_taken() -> None:
    check_room(2, {"CPU": 2.0}, "CPU")
