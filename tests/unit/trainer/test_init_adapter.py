"""The adapter to continue from is checked as the generator checks one to serve."""

from pathlib import Path

import pytest

from services.common.errors import PreconditionError
from services.trainer.init_adapter import check_init_adapter
from tests.fakes.hostile_adapters import FOLDERS, good_files

# What makes sense to torch: whether it fits the job's model is told later, by its shapes and settings.
JUDGED_BY_THE_JOB = {
    "missing tensor",
    "layer that is not there",
    "code beside",
    "other weights beside",
    "tokenizer with code",
    "pickle as .pt beside",
}


def _is_judged_later(case: str) -> bool:
    named = case.startswith("tensor name") and case != "tensor name a surrogate"
    return named or case in JUDGED_BY_THE_JOB or case.startswith(("rank", "alpha", "target", "module of"))


def _write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_check_init_adapter_good_gives_its_configuration(tmp_path: Path) -> None:
    assert check_init_adapter(_write(tmp_path, good_files()))["r"] == 4


@pytest.mark.parametrize("case", [case for case in FOLDERS if not _is_judged_later(case)])
def test_check_init_adapter_hostile_is_refused(tmp_path: Path, case: str) -> None:
    with pytest.raises(PreconditionError, match="the adapter to continue from") as caught:
        check_init_adapter(_write(tmp_path, FOLDERS[case]()))
    caught.value.message.encode("utf-8")
    assert len(caught.value.message) < 1000


def test_check_init_adapter_features_are_named(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="rank_pattern"):
        check_init_adapter(_write(tmp_path, FOLDERS["rank pattern"]()))
