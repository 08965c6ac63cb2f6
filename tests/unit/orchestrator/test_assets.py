"""The asset library on a real store and a real artifact folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.artifacts import ArtifactStore, sha256_bytes
from services.common.errors import InvalidInputError, NotFoundError, PreconditionError
from services.orchestrator.assets import MAX_ASSET_BYTES, AssetKind, AssetLibrary, AssetRecord, read_asset
from tests.fakes.orchestrator import migrated_store
from tests.fakes.studies import study_json

TASK = b'{"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}\n'
OTHER = TASK.replace(b"2 + 2", b"1 + 3")


@pytest.fixture
def files(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


@pytest.fixture
def library(tmp_path: Path, files: ArtifactStore) -> Iterator[AssetLibrary]:
    store, _ = migrated_store(tmp_path)
    yield AssetLibrary(store.assets, files)
    store.close()


async def test_put_keeps_bytes_and_record_under_the_hash(library: AssetLibrary, files: ArtifactStore) -> None:
    record = await library.put("task", "sums", TASK)
    assert (record.sha256, record.kind, record.name) == (sha256_bytes(TASK), AssetKind.TASK, "sums")
    assert record.size_bytes == len(TASK)
    assert record.create_time.tzinfo is not None
    assert await library.get(record.sha256) == record
    assert await library.content(record.sha256) == read_asset(files, record.sha256) == TASK


async def test_put_same_content_again_keeps_the_first_record(library: AssetLibrary) -> None:
    first = await library.put("task", "sums", TASK)
    assert await library.put("task", "later-name", TASK) == first
    assert await library.list() == [first]


async def test_list_newest_first_and_by_kind(library: AssetLibrary) -> None:
    first, second = await library.put("task", "sums", TASK), await library.put("task", "sums", OTHER)
    assert await library.list("task") == [second, first]
    with pytest.raises(InvalidInputError, match="no kind of asset is called 'song'; there are: task"):
        await library.list("song")


@pytest.mark.parametrize(
    ("kind", "name", "data", "says"),
    [
        ("task", "sums", b"{", "line 1"),
        ("task", "", TASK, "name is 1 to 80"),
        ("task", "a" * 81, TASK, "name is 1 to 80"),
        ("task", "../x", TASK, "name is 1 to 80"),
        ("task", "big", b"x" * (MAX_ASSET_BYTES + 1), "at most"),
        ("song", "sums", TASK, "no kind"),
    ],
)
async def test_put_wrong_asset_is_refused_and_leaves_nothing(
    library: AssetLibrary, kind: str, name: str, data: bytes, says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        await library.put(kind, name, data)
    assert await library.list() == []


async def test_content_that_was_changed_is_refused(library: AssetLibrary, files: ArtifactStore) -> None:
    record = await library.put("task", "sums", TASK)
    files.put_bytes(f"assets/{record.sha256}", OTHER)
    with pytest.raises(PreconditionError, match="is damaged"):
        await library.content(record.sha256)


@pytest.mark.parametrize("name", ["0" * 64, "", "../../etc/passwd", "x\x00"])
async def test_unknown_asset_is_not_found(library: AssetLibrary, files: ArtifactStore, name: str) -> None:
    with pytest.raises(NotFoundError):
        await library.get(name)
    with pytest.raises(NotFoundError):
        await library.content(name)
    with pytest.raises(NotFoundError):
        read_asset(files, name)


async def test_require_study_with_its_assets_passes(library: AssetLibrary) -> None:
    record = await library.put("task", "sums", TASK)
    await library.require(study_json())
    await library.require(study_json(guards={"tasks": [{"name": "mine", "sha256": record.sha256}]}))


async def test_require_names_every_asset_that_is_missing(library: AssetLibrary) -> None:
    tasks = [{"name": f"task-{number}", "sha256": f"{number}" * 64} for number in range(2)]
    with pytest.raises(InvalidInputError, match="task 'task-0' with sha256 000000000000") as refused:
        await library.require(study_json(guards={"tasks": tasks}))
    paths = [fault["path"] for fault in refused.value.details["errors"]]
    assert paths == ["guards.tasks[0].sha256", "guards.tasks[1].sha256"]


async def test_store_two_at_once_keep_one(tmp_path: Path) -> None:
    store, _ = migrated_store(tmp_path)
    library = AssetLibrary(store.assets, ArtifactStore(str(tmp_path / "a")))
    first = await library.put("task", "sums", TASK)
    second = AssetRecord(first.sha256, AssetKind.TASK, "other", 1, first.create_time)
    assert store.assets.add_asset(second) == first
    store.close()
