"""The same store in a local folder and on a real S3-speaking server."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.common.artifacts import ArtifactStore, Manifest, sha256_bytes
from services.common.errors import InvalidInputError, NotFoundError, PreconditionError
from tests.s3 import s3_server


@pytest.fixture(params=["local", "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ArtifactStore]:
    if request.param == "local":
        yield ArtifactStore(str(tmp_path / "store"))
        return
    with s3_server(monkeypatch) as s3:
        yield ArtifactStore(s3.root_uri)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.json").write_bytes(b"{}")
    (source / "sub" / "b.bin").write_bytes(b"\x00" * 1000)
    return source


def test_put_bytes_then_every_way_of_reading_gives_the_same(store: ArtifactStore) -> None:
    data = bytes(range(256)) * 12_000
    artifact = store.put_bytes("runs/r-1/big.bin", data)
    assert artifact.uri == store.uri("runs/r-1/big.bin") == f"{store.root_uri}/runs/r-1/big.bin"
    assert (artifact.sha256, artifact.size_bytes) == (sha256_bytes(data), len(data))
    assert store.get_bytes(artifact.uri, artifact.sha256) == data
    parts = list(store.read_parts(artifact.uri, artifact.sha256))
    assert b"".join(parts) == data
    assert max(map(len, parts)) <= 1 << 20
    store.check(artifact.uri, artifact.sha256)


def test_put_file_empty_and_again_with_other_content_is_replaced(
    store: ArtifactStore, tmp_path: Path
) -> None:
    source = tmp_path / "x"
    for data in (b"", b"one", b"two", b"two"):
        source.write_bytes(data)
        artifact = store.put_file("x", source)
        assert store.get_bytes(artifact.uri, artifact.sha256) == data
        assert b"".join(store.read_parts(artifact.uri, artifact.sha256)) == data


def test_read_other_sha_is_refused_and_names_both(store: ArtifactStore) -> None:
    artifact = store.put_bytes("x", b"x" * 3_000_000)
    told = f"{artifact.uri} is damaged: its sha256 is {artifact.sha256}, expected {'0' * 64}"
    with pytest.raises(PreconditionError, match=told):
        store.get_bytes(artifact.uri, "0" * 64)
    with pytest.raises(PreconditionError, match=told):
        store.check(artifact.uri, "0" * 64)
    got = 0
    with pytest.raises(PreconditionError, match=told):
        for part in store.read_parts(artifact.uri, "0" * 64):
            got += len(part)
    assert got < artifact.size_bytes


def test_missing_is_not_found_in_every_way(store: ArtifactStore, tmp_path: Path) -> None:
    store.put_bytes("there/x", b"1")
    for key in ("none", "there", "there/none", "there/x/y"):
        uri = store.uri(key)
        with pytest.raises(NotFoundError):
            store.get_bytes(uri, "0" * 64)
        with pytest.raises(NotFoundError):
            list(store.read_parts(uri, "0" * 64))
        with pytest.raises(NotFoundError):
            store.fetch_folder(uri, "0" * 64, tmp_path / "dest")
    assert not store.exists(store.uri("none"))
    assert store.exists(store.uri("there"))


@pytest.mark.parametrize(
    "uri", ["/etc/passwd", "{root}", "{root}x/y", "{root}//x", "{root}/../x", "", "s3://other/x", "{root}/.x"]
)
def test_outside_is_refused_in_every_way(store: ArtifactStore, tmp_path: Path, uri: str) -> None:
    bad = uri.replace("{root}", store.root_uri)
    for call in (
        lambda: store.get_bytes(bad, "0" * 64),
        lambda: list(store.read_parts(bad, "0" * 64)),
        lambda: store.fetch_folder(bad, "0" * 64, tmp_path / "dest"),
        lambda: store.exists(bad),
        lambda: store.delete(bad),
        lambda: store.check(bad, "0" * 64),
    ):
        with pytest.raises(InvalidInputError, match="not inside"):
            call()


def test_put_folder_then_fetch_gives_it_back_readable_by_its_owner_alone(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    artifact = store.put_folder("adapters/a-{sha8}", folder, {"rank": 16})
    assert artifact.uri.endswith(f"adapters/a-{artifact.sha256[:8]}")
    assert store.put_folder("adapters/a-{sha8}", folder, {"rank": 16}) == artifact
    manifest = store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")
    assert manifest.meta == {"rank": 16}
    fetched = tmp_path / "dest" / "sub" / "b.bin"
    assert fetched.read_bytes() == b"\x00" * 1000
    assert fetched.stat().st_mode & 0o777 == 0o400
    assert store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest") == manifest
    assert store.sweep(-10) == []


def test_put_folder_other_content_under_the_same_key_is_refused(store: ArtifactStore, folder: Path) -> None:
    store.put_folder("a", folder, {})
    with pytest.raises(PreconditionError, match="damaged"):
        store.put_folder("a", folder, {"other": 1})


def test_put_folder_at_once_by_many_is_one_folder(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(lambda _: store.put_folder("a-{sha8}", folder, {}), range(12)))
    assert len(set(made)) == 1
    store.fetch_folder(made[0].uri, made[0].sha256, tmp_path / "dest")
    assert store.sweep(-10) == []


def test_folder_whose_writer_died_is_none_until_it_is_put_again(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    artifact = store.put_folder("a", folder, {})
    # What a writer leaves that is killed just before the last file.
    store._files.remove("a/manifest.json")
    store._files.write("a/.incomplete", b"")
    with pytest.raises(NotFoundError):
        store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")
    assert store.put_folder("a", folder, {}) == artifact
    store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")
    assert store.sweep(-10) == []


def test_sweep_removes_what_dead_writers_left_and_nothing_else(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    whole = store.put_folder("adapters/whole", folder, {})
    kept = store.put_bytes("runs/r-1/report.json", b"{}")
    store._files.write("adapters/whole/.incomplete", b"")
    store._files.write("adapters/half/.incomplete", b"")
    store._files.write("adapters/half/a.json", b"{}")
    store._files.write("runs/r-1/.part-" + "ab" * 16, b"half")
    store._files.write("runs/r-1/old.json.part-" + "ab" * 16, b"half")
    assert store.sweep(3600) == []
    time.sleep(1.1)  # S3 tells times in seconds
    assert sorted(store.sweep(0)) == [
        "adapters/half",
        "adapters/whole/.incomplete",
        "runs/r-1/.part-" + "ab" * 16,
        "runs/r-1/old.json.part-" + "ab" * 16,
    ]
    assert not store.exists(store.uri("adapters/half"))
    store.fetch_folder(whole.uri, whole.sha256, tmp_path / "dest")
    assert store.get_bytes(kept.uri, kept.sha256) == b"{}"


def test_delete_file_folder_and_nothing(store: ArtifactStore, folder: Path) -> None:
    one = store.put_bytes("x/y", b"1")
    artifact = store.put_folder("a", folder, {})
    for uri in (one.uri, artifact.uri, one.uri, artifact.uri):
        store.delete(uri)
        assert not store.exists(uri)


def test_fetch_folder_damaged_file_is_named_and_leaves_nothing(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    artifact = store.put_folder("a", folder, {})
    store._files.write("a/sub/b.bin", b"\x01" * 1000)
    with pytest.raises(PreconditionError, match=r"a/sub/b\.bin is damaged: its sha256 is .*, expected "):
        store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "cache" / "dest")
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(PreconditionError, match=r"a/manifest\.json is damaged"):
        store.fetch_folder(artifact.uri, Manifest({}).sha256, tmp_path / "cache" / "dest")


def test_fetch_folder_missing_file_and_too_large_leave_nothing(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    artifact = store.put_folder("a", folder, {})
    with pytest.raises(InvalidInputError, match="limit of 100"):
        store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest", max_bytes=100)
    store._files.remove("a/a.json")
    with pytest.raises(NotFoundError, match=r"a/a\.json"):
        store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_same_content_again_is_not_written_again(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = store.put_bytes("assets/x", b"content")
    written: list[str] = []
    real = store._files.write
    monkeypatch.setattr(
        store._files, "write", lambda name, source: (written.append(name), real(name, source))
    )
    assert store.put_bytes("assets/x", b"content") == artifact
    assert written == []
    # Damaged in place, same size: the next put repairs it.
    real("assets/x", b"kontent")
    assert store.put_bytes("assets/x", b"content") == artifact
    assert written == ["assets/x"]
    assert store.get_bytes(artifact.uri, artifact.sha256) == b"content"
