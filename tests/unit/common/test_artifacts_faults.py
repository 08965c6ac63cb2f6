"""What a full disk, a read-only one, and an object store that fails become: errors of the table."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.common.artifacts import ArtifactStore
from services.common.errors import (
    InvalidInputError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
)
from tests.disks import small_disk
from tests.s3 import S3, Fault, s3_server

SMALL_BYTES = 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    with small_disk(tmp_path / "disk", SMALL_BYTES) as made:
        yield made


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    with s3_server(monkeypatch) as made:
        yield made


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_full_disk_is_overloaded_names_the_place_and_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    store = ArtifactStore(str(disk / "store"))
    kept = store.put_bytes("kept", b"x" * 1000)
    big = tmp_path / "big"
    big.write_bytes(b"x" * 2 * SMALL_BYTES)
    for put in (
        lambda: store.put_bytes("runs/big", big.read_bytes()),
        lambda: store.put_file("runs/big", big),
    ):
        with pytest.raises(
            OverloadedError, match=r"runs/big cannot be written: No space left .* free some space"
        ):
            put()
    assert _files(disk) == ["kept"]
    assert store.get_bytes(kept.uri, kept.sha256) == b"x" * 1000
    # There is space again: the same call succeeds.
    assert store.put_bytes("runs/big", b"x" * 500_000).size_bytes == 500_000


def test_full_disk_replacing_keeps_what_was_there(disk: Path) -> None:
    store = ArtifactStore(str(disk))
    kept = store.put_bytes("x", b"old")
    with pytest.raises(OverloadedError):
        store.put_bytes("x", b"new" * SMALL_BYTES)
    assert store.get_bytes(kept.uri, kept.sha256) == b"old"


def test_full_disk_put_folder_is_none_and_succeeds_later(disk: Path, tmp_path: Path) -> None:
    store = ArtifactStore(str(disk / "store"))
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * 700_000)
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"a" * 100_000)
    (source / "b").write_bytes(b"b" * 400_000)
    with pytest.raises(OverloadedError, match="No space left"):
        store.put_folder("adapters/a", source, {})
    assert not store.exists(store.uri("adapters/a/manifest.json"))
    ballast.unlink()
    artifact = store.put_folder("adapters/a", source, {})
    store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")
    assert store.sweep(-10) == []


def test_full_disk_of_the_cache_is_overloaded_and_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "store"))
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"a" * 2 * SMALL_BYTES)
    artifact = store.put_folder("adapters/a", source, {})
    with pytest.raises(OverloadedError, match=f"{disk}.*No space left"):
        store.fetch_folder(artifact.uri, artifact.sha256, disk / "cache" / "a")
    assert _files(disk) == []
    assert list((disk / "cache").iterdir()) == []


def test_read_only_disk_is_a_precondition(disk: Path) -> None:
    store = ArtifactStore(str(disk / "store"))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(PreconditionError, match="Read-only"):
        store.put_bytes("x", b"1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_right_to_read_is_a_precondition(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    artifact = store.put_bytes("x", b"1")
    (tmp_path / "x").chmod(0)
    with pytest.raises(PreconditionError, match="Permission denied"):
        store.get_bytes(artifact.uri, artifact.sha256)


def _outside(tmp_path: Path) -> Path:
    made = tmp_path / "outside"
    made.mkdir()
    (made / "secret").write_bytes(b"secret")
    return made


@pytest.mark.parametrize(
    "plant",
    [
        lambda place, outside: place.symlink_to(outside / "secret"),
        lambda place, outside: place.symlink_to("nowhere"),
        lambda place, outside: os.mkfifo(place),
        lambda place, outside: os.mknod(place, 0o020666, os.makedev(1, 5)),
    ],
    ids=["link", "dangling-link", "fifo", "device"],
)
def test_read_what_is_no_plain_file_is_refused_at_once(
    tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    outside = _outside(tmp_path)
    store = ArtifactStore(str(tmp_path / "store"))
    store.put_bytes("d/other", b"1")
    try:
        plant(tmp_path / "store" / "d" / "x", outside)
    except PermissionError as error:
        pytest.skip(f"making a device needs more rights: {error}")
    for read in (
        lambda: store.get_bytes(store.uri("d/x"), "0" * 64),
        lambda: list(store.read_parts(store.uri("d/x"), "0" * 64)),
        lambda: store.check(store.uri("d/x"), "0" * 64),
    ):
        with pytest.raises(InvalidInputError, match="plain file"):
            read()
    # A put replaces it, and does not write through it.
    store.put_bytes("d/x", b"mine")
    assert (outside / "secret").read_bytes() == b"secret"


def test_folder_that_is_a_link_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    outside = _outside(tmp_path)
    store = ArtifactStore(str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "d").symlink_to(outside)
    with pytest.raises(InvalidInputError, match="link"):
        store.get_bytes(store.uri("d/secret"), "0" * 64)
    with pytest.raises(InvalidInputError, match="link"):
        store.put_bytes("d/new", b"1")
    store.delete(store.uri("d"))
    assert _files(outside) == ["secret"]


@pytest.mark.parametrize("fault", ["500", "slow-down", "dead"])
def test_s3_that_fails_is_not_ready_in_every_way_and_later_succeeds(
    s3: S3, fault: Fault, tmp_path: Path
) -> None:
    store = ArtifactStore(s3.root_uri)
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_bytes(b"a")
    folder = store.put_folder("a", source, {})
    one = store.put_bytes("x", b"1")
    calls: list[Callable[[], object]] = [
        lambda: store.get_bytes(one.uri, one.sha256),
        lambda: store.put_bytes("y", b"2"),
        lambda: store.put_folder("b", source, {}),
        lambda: store.fetch_folder(folder.uri, folder.sha256, tmp_path / "cache" / "a"),
        lambda: store.exists(one.uri),
        lambda: store.delete(one.uri),
        lambda: store.sweep(0),
    ]
    for call in calls:
        s3.fault = fault
        with pytest.raises(NotReadyError, match="try again"):
            call()
        s3.fault = ""
        call()


def test_s3_that_dies_in_the_middle_of_a_read_is_not_ready(s3: S3, tmp_path: Path) -> None:
    store = ArtifactStore(s3.root_uri)
    data = os.urandom(9_000_000)
    one = store.put_bytes("x", data)
    s3.fault, s3.only = "cut", frozenset({"GET"})
    for read in (
        lambda: store.get_bytes(one.uri, one.sha256),
        lambda: list(store.read_parts(one.uri, one.sha256)),
    ):
        with pytest.raises(NotReadyError, match="try again"):
            read()
    # The first ranges come, a later one does not.
    s3.after = 1
    got = 0
    with pytest.raises(NotReadyError):
        for part in store.read_parts(one.uri, one.sha256):
            got += len(part)
    assert 0 < got < len(data)
    s3.fault = ""
    assert store.get_bytes(one.uri, one.sha256) == data


def test_s3_that_dies_in_the_middle_of_a_folder_leaves_no_folder(s3: S3, tmp_path: Path) -> None:
    store = ArtifactStore(s3.root_uri)
    source = tmp_path / "source"
    source.mkdir()
    for name in "abcd":
        (source / name).write_bytes(name.encode())
    s3.fault, s3.only, s3.after = "dead", frozenset({"PUT"}), 3
    with pytest.raises(NotReadyError):
        store.put_folder("adapters/a", source, {})
    s3.fault = ""
    assert not store.exists(store.uri("adapters/a/manifest.json"))
    assert store.sweep(3600) == []
    artifact = store.put_folder("adapters/a", source, {})
    store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")


def test_s3_that_gives_other_bytes_is_damaged_and_named(s3: S3, tmp_path: Path) -> None:
    store = ArtifactStore(s3.root_uri)
    one = store.put_bytes("x", b"hello")
    s3.fault, s3.only = "flip", frozenset({"GET"})
    with pytest.raises(PreconditionError, match="x is damaged: its sha256 is"):
        store.get_bytes(one.uri, one.sha256)


def test_s3_that_refuses_is_a_precondition(s3: S3) -> None:
    store = ArtifactStore(s3.root_uri)
    one = store.put_bytes("x", b"1")
    s3.fault = "denied"
    with pytest.raises(PreconditionError, match="credentials"):
        store.put_bytes("y", b"2")
    with pytest.raises(PreconditionError, match="credentials"):
        store.get_bytes(one.uri, one.sha256)


def test_s3_without_the_bucket_or_a_server_says_so(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PreconditionError, match="bucket"):
        ArtifactStore("s3://another-bucket/x").put_bytes("y", b"2")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(NotReadyError, match="try again"):
        ArtifactStore(s3.root_uri).put_bytes("y", b"2")


def test_sweep_aborts_old_uploads(s3: S3) -> None:
    import boto3

    client = boto3.client("s3")
    bucket = s3.root_uri.split("/")[2]
    client.create_multipart_upload(Bucket=bucket, Key="root/big")
    client.create_multipart_upload(Bucket=bucket, Key="elsewhere/big")
    store = ArtifactStore(s3.root_uri)
    assert store.sweep(-10) == ["big"]
    left = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == ["elsewhere/big"]
    client.close()


def test_large_object_goes_up_in_parts_and_comes_back(s3: S3, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(1024) * 110_000)
    store = ArtifactStore(s3.root_uri)
    artifact = store.put_file("big", big)
    assert sum(request.startswith("POST") for request in s3.requests) == 2  # begin and complete
    assert sum(len(part) for part in store.read_parts(artifact.uri, artifact.sha256)) == 1024 * 110_000
