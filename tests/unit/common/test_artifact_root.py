"""Where the artifact store lies, as settings write it."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.common.artifact_root import local_folder
from services.common.artifacts import ArtifactStore
from services.common.errors import InvalidInputError
from services.generator.settings import GeneratorSettings
from services.orchestrator.settings import OrchestratorSettings
from services.trainer.settings import TrainerSettings

HALVES = [
    ("file:/srv/store", "write file:///srv/store, or /srv/store if"),
    ("File:/srv/store", "write file:///srv/store, or /srv/store if"),
    ("file:store", "write file://store, or store if"),
    ("s3:/bucket/x", r"write s3://bucket/x, or \./s3:/bucket/x if"),
]


@pytest.mark.parametrize(
    ("root", "folder"),
    [
        ("store", "{}/store"),
        ("/srv/store", "/srv/store"),
        ("file:///srv/store", "/srv/store"),
        ("file://store", "{}/store"),
        ("./s3:/bucket", "{}/s3:/bucket"),
        ("stores/2026:05", "{}/stores/2026:05"),
        ("a:b", "{}/a:b"),
        ("s3://bucket/x", None),
        ("memory://x", None),
    ],
)
def test_local_folder_is_absolute_and_none_for_another_place(
    root: str, folder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_folder(root) == (None if folder is None else Path(folder.format(tmp_path)))


@pytest.mark.parametrize(("root", "remedy"), HALVES)
def test_half_a_uri_is_refused_with_the_whole_one(root: str, remedy: str) -> None:
    with pytest.raises(InvalidInputError, match=remedy):
        local_folder(root)
    with pytest.raises(InvalidInputError, match=remedy):
        ArtifactStore(root)
    with pytest.raises(ValidationError, match=remedy):
        OrchestratorSettings(artifacts=root)
    with pytest.raises(ValidationError, match=remedy):
        GeneratorSettings(model="fake/model", artifacts=root)
    with pytest.raises(ValidationError, match=remedy):
        TrainerSettings(artifacts_uri=root)
