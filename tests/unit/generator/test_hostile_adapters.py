"""An adapter is data from a stranger: whatever is in its folder, it is refused, and nothing of it stays."""

import json
import os
import resource
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.artifacts import ArtifactStore
from services.common.errors import ErrorCode, ValignError
from services.generator.adapter_files import check_adapter
from services.generator.adapters import Adapters
from services.generator.types import LoraHandle
from tests.fakes.fake_engine import INFO, FakeEngine
from tests.fakes.hostile_adapters import (
    CONFIG,
    FOLDERS,
    MANIFESTS,
    METAS,
    WEIGHTS,
    Planted,
    good_files,
    plant,
)

MOST_MEMORY_BYTES = 200 * 1024 * 1024
REFUSALS = {ErrorCode.PRECONDITION, ErrorCode.INVALID_INPUT, ErrorCode.NOT_FOUND}


class Rig:
    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "store"
        self.cache = tmp_path / "cache"
        self.engine = FakeEngine()
        self.adapters = Adapters(
            self.engine, ArtifactStore(str(self.root)), self.cache, max_bytes=200_000_000, tolerance=0.01
        )

    async def refused(self, planted: Planted) -> ValignError:
        """The error of a load; the service holds nothing of it afterwards, and loads a right one."""
        before = psutil.Process().memory_info().rss
        with pytest.raises(ValignError) as caught:
            await self.adapters.load("evil", planted.uri, planted.sha256)
        grown = psutil.Process().memory_info().rss - before
        assert caught.value.code in REFUSALS, caught.value
        # It must travel: in a status of gRPC, in a log line, in a document of REST.
        caught.value.message.encode("utf-8")
        assert len(caught.value.message) < 3000
        assert grown < MOST_MEMORY_BYTES
        assert not self.cache.exists() or list(self.cache.iterdir()) == []
        assert self.engine.loras == {}
        good = plant(self.root, good_files(), key="adapters/good")
        await self.adapters.load("good", good.uri, good.sha256)
        await self.adapters.unload("good")
        return caught.value


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path)
    await made.engine.start()
    yield made
    assert not Path("/tmp/valign-unpickled").exists()


async def test_good_folder_of_the_same_making_is_loaded(rig: Rig) -> None:
    planted = plant(rig.root, good_files())
    await rig.adapters.load("good", planted.uri, planted.sha256)


@pytest.mark.parametrize("case", FOLDERS)
async def test_load_hostile_files_are_refused(rig: Rig, case: str) -> None:
    await rig.refused(plant(rig.root, FOLDERS[case]()))


@pytest.mark.parametrize("case", METAS)
async def test_load_hostile_metadata_is_refused(rig: Rig, case: str) -> None:
    await rig.refused(plant(rig.root, good_files(), meta_changes=METAS[case]))


@pytest.mark.parametrize("case", MANIFESTS)
async def test_load_hostile_manifest_is_refused(rig: Rig, case: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    await rig.refused(plant(rig.root, {}, manifest=MANIFESTS[case]()))


async def test_refusals_keep_the_peak_of_memory_low(rig: Rig) -> None:
    for case in ("header of 100 MB", "header of millions of lists"):
        planted = plant(rig.root, FOLDERS[case](), key=f"adapters/{case.replace(' ', '-')}")
        # What made the folder has been counted by now: the peak may rise by what the load takes alone.
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await rig.refused(planted)
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) * 1024 < MOST_MEMORY_BYTES


def _link(place: Path, outside: Path) -> None:
    shutil.copy(place, outside / "weights")
    place.unlink()
    place.symlink_to(outside / "weights")


def _link_loop(place: Path, outside: Path) -> None:
    place.unlink()
    place.symlink_to(place.name)


def _link_to_proc(place: Path, outside: Path) -> None:
    place.unlink()
    place.symlink_to("/proc/self/environ")


def _fifo(place: Path, outside: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def _device(place: Path, outside: Path) -> None:
    place.unlink()
    try:
        os.mknod(place, 0o020666, os.makedev(1, 5))
    except PermissionError as error:
        pytest.skip(f"making a device needs more rights: {error}")


def _folder(place: Path, outside: Path) -> None:
    place.unlink()
    place.mkdir()


def _sparse(place: Path, outside: Path) -> None:
    os.truncate(place, 2**40)


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, "manifest.json"])
@pytest.mark.parametrize("change", [_link, _link_loop, _link_to_proc, _fifo, _device, _folder, _sparse])
async def test_load_what_is_no_plain_file_is_refused(
    rig: Rig, tmp_path: Path, change: Callable[[Path, Path], None], name: str
) -> None:
    planted = plant(rig.root, good_files())
    (tmp_path / "outside").mkdir()
    change(planted.folder / name, tmp_path / "outside")
    await rig.refused(planted)


async def test_load_folder_that_is_a_link_is_refused(rig: Rig, tmp_path: Path) -> None:
    planted = plant(rig.root, good_files())
    planted.folder.rename(tmp_path / "outside")
    planted.folder.symlink_to(tmp_path / "outside")
    assert "link" in (await rig.refused(planted)).message


async def test_load_hard_link_is_a_private_copy(rig: Rig, tmp_path: Path) -> None:
    """Its other name may be anywhere; what is loaded has the hash that was asked for, and stays as it is."""
    planted = plant(rig.root, good_files())
    (tmp_path / "outside").hardlink_to(planted.folder / WEIGHTS)
    await rig.adapters.load("linked", planted.uri, planted.sha256)
    (tmp_path / "outside").write_bytes(b"changed")
    [folder] = rig.cache.iterdir()
    assert (folder / WEIGHTS).read_bytes() == good_files()[WEIGHTS]
    assert (folder / WEIGHTS).stat().st_nlink == 1
    assert (folder / WEIGHTS).stat().st_mode & 0o777 == 0o400


async def test_load_folder_changed_after_the_check_is_loaded_as_it_was_checked(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = plant(rig.root, good_files())
    seen: list[bytes] = []

    async def add_lora(lora: LoraHandle) -> None:
        # The check is over: the stranger changes the store before the engine reads.
        (planted.folder / WEIGHTS).write_bytes(b"evil")
        seen.append((lora.folder / WEIGHTS).read_bytes())
        rig.engine.loras[lora.lora_id] = lora

    monkeypatch.setattr(rig.engine, "add_lora", add_lora)
    await rig.adapters.load("a", planted.uri, planted.sha256)
    assert seen == [good_files()[WEIGHTS]]


async def test_load_file_that_grows_while_it_is_read_is_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = plant(rig.root, good_files())
    store = rig.adapters._store
    real = store._size

    def size(name: str) -> int:
        found = real(name)
        (planted.folder / WEIGHTS).write_bytes(b"\0" * 1000)
        os.truncate(planted.folder / WEIGHTS, 2**40)
        return found

    monkeypatch.setattr(store, "_size", size)
    await rig.refused(planted)


def _mutate(data: bytes, place: int, how: str, byte: int) -> bytes:
    place %= max(1, len(data))
    match how:
        case "flip":
            return data[:place] + bytes([byte]) + data[place + 1 :]
        case "cut":
            return data[:place]
        case "insert":
            return data[:place] + bytes([byte]) * 9 + data[place:]
        case _:
            return data[:place] + data[place:] * 2


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([WEIGHTS, CONFIG, "meta"]),
            st.integers(0, 2000),
            st.sampled_from(["flip", "cut", "insert", "double"]),
            st.integers(0, 255),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_check_adapter_any_change_of_a_right_folder_is_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int, str, int]]
) -> None:
    base = tmp_path_factory.mktemp("fuzz")
    files, told = good_files(), plant(base / "a", {}).folder.joinpath("manifest.json").read_bytes()
    for name, place, how, byte in changes:
        if name == "meta":
            told = _mutate(told, place, how, byte)
        else:
            files[name] = _mutate(files[name], place, how, byte)
    try:
        meta: Any = json.loads(told)["meta"]
    except (ValueError, KeyError, TypeError):
        meta = None
    if isinstance(meta, dict):
        digests = plant(base / "b", files)
        manifest = json.loads((digests.folder / "manifest.json").read_bytes())
        told = json.dumps({"files": manifest["files"], "meta": meta}).encode()
    planted = plant(base / "b", files, manifest=told)
    store = ArtifactStore(str(base / "b"))
    try:
        manifest = store.fetch_folder(planted.uri, planted.sha256, base / "dest")
        check_adapter("a", base / "dest", manifest.files, manifest.meta, INFO)
    except ValignError as error:
        # Any other kind of error fails the test.
        error.message.encode("utf-8")
    finally:
        shutil.rmtree(base)
