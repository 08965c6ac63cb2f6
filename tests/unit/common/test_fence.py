"""The fence: the highest epoch stays, lower ones are refused."""

from pathlib import Path

import pytest

from services.common.errors import InvalidInputError, NotReadyError, PreconditionError
from services.common.rpc.fence import Epoch, Fence, epoch_metadata, leading


def _headers(number: object, lineage: str = "ab") -> dict[str, str | bytes]:
    return {"valign-epoch": str(number), "valign-epoch-of": lineage}


def test_check_lower_epoch_is_refused_and_says_both() -> None:
    fence = Fence()
    fence.check("Generate", _headers(7))
    fence.check("Generate", _headers(7))
    fence.check("Generate", _headers(8))
    with pytest.raises(PreconditionError, match="epoch 7 is over, 8 is known") as caught:
        fence.check("LoadAdapter", _headers(7))
    assert caught.value.details == {"epoch": 7, "known_epoch": 8}


def test_check_reading_methods_and_calls_without_an_epoch_pass() -> None:
    fence = Fence()
    fence.check("Generate", _headers(8))
    for method in ("Describe", "GetTraining", "ListAdapters", "WatchTraining"):
        fence.check(method, _headers(1))
    fence.check("Generate", {})


def test_check_epochs_of_another_database_are_their_own() -> None:
    fence = Fence()
    fence.check("Generate", _headers(8))
    fence.check("Generate", _headers(1, "cd"))


@pytest.mark.parametrize(
    "headers", [_headers("x"), _headers("-1"), _headers("9" * 40), _headers(""), _headers(1, "../x")]
)
def test_check_what_is_no_epoch_is_invalid(headers: dict[str, str | bytes]) -> None:
    with pytest.raises(InvalidInputError):
        Fence().check("Generate", headers)


def test_check_with_a_file_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state" / "epochs.json"
    Fence(file).check("StartTraining", _headers(5))
    with pytest.raises(PreconditionError, match=r"remove .*epochs\.json"):
        Fence(file).check("StartTraining", _headers(4))
    Fence(file).check("StartTraining", _headers(6))


def test_check_with_a_damaged_file_names_it(tmp_path: Path) -> None:
    file = tmp_path / "epochs.json"
    file.write_text("{")
    with pytest.raises(PreconditionError, match=r"epochs\.json cannot be read"):
        Fence(file).check("StartTraining", _headers(4))


def test_check_many_databases_keeps_a_bounded_number() -> None:
    fence = Fence()
    for number in range(200):
        fence.check("Generate", _headers(2, f"{number:x}"))
    fence.check("Generate", _headers(1, "0"))
    with pytest.raises(PreconditionError):
        fence.check("Generate", _headers(1, f"{199:x}"))


def test_epoch_metadata_is_of_the_block_alone() -> None:
    assert epoch_metadata() == ()
    with leading(Epoch(3, "ab")):
        assert dict(epoch_metadata()) == {"valign-epoch": "3", "valign-epoch-of": "ab"}
    assert epoch_metadata() == ()


def test_check_epoch_that_cannot_be_kept_is_not_ready_and_not_taken(tmp_path: Path) -> None:
    fence = Fence(tmp_path / "state" / "epochs.json")
    (tmp_path / "state").mkdir()
    # In the way of the part that is written first.
    (tmp_path / "state" / ".epochs.json.part").mkdir()
    for _ in range(2):
        with pytest.raises(NotReadyError, match="epoch 3 cannot be kept"):
            fence.check("StartTraining", _headers(3))
    (tmp_path / "state" / ".epochs.json.part").rmdir()
    fence.check("StartTraining", _headers(3))
