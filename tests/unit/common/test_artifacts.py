import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.artifacts import (
    ArtifactStore,
    Manifest,
    check_name,
    fingerprint_folder,
    sha256_bytes,
    sha256_file,
)
from services.common.errors import InvalidInputError, NotFoundError, PreconditionError


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "store"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.json").write_bytes(b"{}")
    (source / "sub" / "b.bin").write_bytes(b"\x00" * 1000)
    return source


def test_put_bytes_then_get_bytes_gives_the_same(store: ArtifactStore) -> None:
    artifact = store.put_bytes("runs/r1/report.json", b"hello")
    assert artifact.uri.startswith("file://")
    assert artifact.sha256 == sha256_bytes(b"hello")
    assert store.get_bytes(artifact.uri, artifact.sha256) == b"hello"


def test_get_bytes_other_sha_is_a_precondition(store: ArtifactStore) -> None:
    artifact = store.put_bytes("x", b"hello")
    with pytest.raises(PreconditionError, match="damaged"):
        store.get_bytes(artifact.uri, sha256_bytes(b"other"))


def test_get_bytes_missing_is_not_found(store: ArtifactStore) -> None:
    with pytest.raises(NotFoundError):
        store.get_bytes(store.uri("nothing/here"))


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "s3://bucket/x",
        "{root}/../x",
        "{root}",
        "{root}x/y",
        "",
        "{root}//x",
    ],
)
def test_get_bytes_outside_the_store_is_refused(store: ArtifactStore, uri: str) -> None:
    with pytest.raises(InvalidInputError, match="not inside"):
        store.get_bytes(uri.replace("{root}", store.root_uri))


@pytest.mark.parametrize("name", ["../x", "/x", "a/../b", "a//b", "", ".", "a/.hidden", "a b", "a\x00", "é"])
def test_check_name_unsafe_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        check_name(name)


@given(st.text(max_size=30))
def test_check_name_accepts_only_names_that_stay_below(name: str) -> None:
    try:
        check_name(name)
    except InvalidInputError:
        return
    assert not name.startswith("/")
    assert ".." not in name.split("/")


def test_put_folder_name_has_the_manifests_sha(store: ArtifactStore, folder: Path) -> None:
    artifact = store.put_folder("adapters/r1-i1-{sha8}", folder, {"rank": 16})
    assert artifact.uri.endswith(f"r1-i1-{artifact.sha256[:8]}")
    assert artifact.size_bytes == 1002


def test_put_folder_twice_is_the_same_artifact(store: ArtifactStore, folder: Path) -> None:
    assert store.put_folder("a-{sha8}", folder, {}) == store.put_folder("a-{sha8}", folder, {})


def test_put_folder_leaves_no_part_behind(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    store.put_folder("a", folder, {})
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["a"]


def test_fetch_folder_copies_what_the_manifest_names(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    artifact = store.put_folder("a", folder, {"rank": 16})
    manifest = store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")
    assert manifest.meta == {"rank": 16}
    assert (tmp_path / "dest" / "sub" / "b.bin").read_bytes() == b"\x00" * 1000


def test_fetch_folder_damaged_file_is_named_and_nothing_is_left(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    artifact = store.put_folder("a", folder, {})
    (tmp_path / "store" / "a" / "sub" / "b.bin").write_bytes(b"\x01" * 1000)
    with pytest.raises(PreconditionError, match=r"sub/b\.bin is damaged"):
        store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")
    assert not (tmp_path / "dest").exists()


def test_fetch_folder_damaged_cache_is_fetched_again(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    artifact = store.put_folder("a", folder, {})
    store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")
    (tmp_path / "dest" / "a.json").write_bytes(b"[]")
    store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")
    assert (tmp_path / "dest" / "a.json").read_bytes() == b"{}"


def test_fetch_folder_missing_file_is_not_found(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    artifact = store.put_folder("a", folder, {})
    (tmp_path / "store" / "a" / "a.json").unlink()
    with pytest.raises(NotFoundError):
        store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")


def test_fetch_folder_link_out_of_the_store_is_refused(
    store: ArtifactStore, folder: Path, tmp_path: Path
) -> None:
    artifact = store.put_folder("a", folder, {})
    secret = tmp_path / "secret"
    secret.write_bytes(b"{}")
    (tmp_path / "store" / "a" / "a.json").unlink()
    (tmp_path / "store" / "a" / "a.json").symlink_to(secret)
    with pytest.raises(InvalidInputError, match="link"):
        store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest")


def test_fetch_folder_too_large_is_refused(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    artifact = store.put_folder("a", folder, {})
    with pytest.raises(InvalidInputError, match="limit of 100"):
        store.fetch_folder(artifact.uri, artifact.sha256, tmp_path / "dest", max_bytes=100)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"files": {}}',
        json.dumps({"files": {"../x": "0" * 64}, "meta": {}}).encode(),
        json.dumps({"files": {"x": "zz"}, "meta": {}}).encode(),
        json.dumps({"files": {"x": 3}, "meta": {}}).encode(),
        b'{"a":' * 100_000,
    ],
)
def test_manifest_from_hostile_bytes_is_a_precondition(data: bytes) -> None:
    with pytest.raises(PreconditionError):
        Manifest.from_bytes(data)


def test_manifest_round_trip() -> None:
    manifest = Manifest({"a": "0" * 64}, {"text": "你好", "n": 1})
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest


def test_fingerprint_folder_depends_on_content_and_names_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / f"README-{name}.md").write_text(name)
    patterns = ("config.json", "*.safetensors")
    one = fingerprint_folder(tmp_path / "one", patterns)
    assert one == fingerprint_folder(tmp_path / "two", patterns)
    (tmp_path / "two" / "model.safetensors").write_bytes(b"Weights")
    assert one != fingerprint_folder(tmp_path / "two", patterns)


def test_fingerprint_folder_empty_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        fingerprint_folder(tmp_path, ("*.safetensors",))


def test_put_file_and_read_parts_give_the_bytes_back(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "store"))
    source = tmp_path / "big.bin"
    source.write_bytes(bytes(range(256)) * 10_000)
    artifact = store.put_file("runs/r-1/big.bin", source)
    parts = list(store.read_parts(artifact.uri, artifact.sha256))
    assert b"".join(parts) == source.read_bytes()
    assert max(len(part) for part in parts) <= 1 << 20
    assert (artifact.size_bytes, artifact.sha256) == (source.stat().st_size, sha256_file(source))
    assert [path.name for path in (tmp_path / "store/runs/r-1").iterdir()] == ["big.bin"]


def test_read_parts_of_nothing_is_not_found_and_outside_is_refused(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "store"))
    with pytest.raises(NotFoundError):
        list(store.read_parts(store.uri("runs/none"), "0" * 64))
    with pytest.raises(InvalidInputError):
        list(store.read_parts((tmp_path / "outside").as_uri(), "0" * 64))


def test_root_with_spaces_and_signs_is_one_store_however_it_is_named(tmp_path: Path) -> None:
    root = tmp_path / "my artifacts %20 #1"
    artifact = ArtifactStore(str(root)).put_bytes("x", b"1")
    other = ArtifactStore(f"file://{root}")
    assert other.get_bytes(artifact.uri, artifact.sha256) == b"1"
    assert other.root_uri == ArtifactStore(str(root)).root_uri
