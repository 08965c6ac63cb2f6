"""Load, lease, drain, unload on a fake engine."""

import asyncio
from pathlib import Path

import pytest

from services.common.artifacts import Artifact, ArtifactStore
from services.common.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
)
from services.generator.adapters import Adapters
from services.generator.types import LoraHandle
from tests.fakes.adapter_folders import meta, write_adapter
from tests.fakes.fake_engine import FakeEngine


class Rig:
    def __init__(self, tmp_path: Path, **limits: object) -> None:
        self.tmp_path = tmp_path
        self.engine = FakeEngine(**limits)
        self.store = ArtifactStore(str(tmp_path / "store"))
        self.adapters = Adapters(self.engine, self.store, tmp_path / "cache", max_bytes=10**6, tolerance=0.01)
        self._count = 0

    def write(self, key: str = "adapters/a", **how: object) -> Artifact:
        self._count += 1
        return write_adapter(self.store, self.tmp_path / f"made-{self._count}", key, **how)  # type: ignore[arg-type]

    async def names(self) -> list[str]:
        return [adapter.name for adapter in await self.adapters.loaded()]

    def cached(self) -> list[Path]:
        cache = self.tmp_path / "cache"
        return list(cache.iterdir()) if cache.exists() else []


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    await rig.engine.start()
    return rig


async def test_load_good_adapter_is_proven_and_listed(rig: Rig) -> None:
    artifact = rig.write()
    result = await rig.adapters.load("a", artifact.uri, artifact.sha256)
    assert not result.already_loaded
    assert (result.proof.canaries, result.proof.max_relative_error) == (1, 0.0)
    assert result.proof.mean_shift_nats == pytest.approx(5.0)
    [listed] = await rig.adapters.loaded()
    assert (listed.name, listed.sha256, listed.rank, listed.in_flight) == ("a", artifact.sha256, 4, 0)


async def test_load_twice_answers_at_once(rig: Rig) -> None:
    artifact = rig.write()
    await rig.adapters.load("a", artifact.uri, artifact.sha256)
    again = await rig.adapters.load("a", artifact.uri, artifact.sha256)
    assert again.already_loaded
    assert rig.engine.ids_ever == [1]


async def test_load_concurrent_calls_share_one_load(rig: Rig) -> None:
    artifact = rig.write()
    results = await asyncio.gather(*(rig.adapters.load("a", artifact.uri, artifact.sha256) for _ in range(5)))
    assert len(results) == 5
    assert len(rig.engine.ids_ever) == 1


async def test_load_caller_leaves_load_goes_on(rig: Rig) -> None:
    artifact = rig.write()
    rig.engine.gate.clear()
    task = asyncio.create_task(rig.adapters.load("a", artifact.uri, artifact.sha256))
    while not rig.engine.loras:
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    rig.engine.gate.set()
    result = await rig.adapters.load("a", artifact.uri, artifact.sha256)
    assert result.adapter.name == "a"
    assert len(rig.engine.ids_ever) == 1


async def test_load_same_name_other_content_conflicts_even_after_unload(rig: Rig) -> None:
    first = rig.write("adapters/a")
    other = rig.write("adapters/b", meta_changes={"alpha": 16})
    await rig.adapters.load("a", first.uri, first.sha256)
    with pytest.raises(ConflictError):
        await rig.adapters.load("a", other.uri, other.sha256)
    await rig.adapters.unload("a")
    with pytest.raises(ConflictError):
        await rig.adapters.load("a", other.uri, other.sha256)
    assert (await rig.adapters.load("a", first.uri, first.sha256)).adapter.name == "a"
    assert rig.engine.ids_ever == [1, 2]


async def test_load_no_slot_is_overloaded_until_one_is_unloaded(rig: Rig) -> None:
    artifact = rig.write()
    for name in ("a", "b"):
        await rig.adapters.load(name, artifact.uri, artifact.sha256)
    with pytest.raises(OverloadedError, match="a, b"):
        await rig.adapters.load("c", artifact.uri, artifact.sha256)
    await rig.adapters.unload("a")
    await rig.adapters.load("c", artifact.uri, artifact.sha256)
    assert await rig.names() == ["b", "c"]


@pytest.mark.parametrize(
    ("shift_nats", "says"), [(0.0, "does not answer as it did"), (2.0, "does not answer as it did")]
)
async def test_load_proof_fails_leaves_nothing_behind(rig: Rig, shift_nats: float, says: str) -> None:
    artifact = rig.write()
    rig.engine.shift_nats = shift_nats
    with pytest.raises(PreconditionError, match=says):
        await rig.adapters.load("a", artifact.uri, artifact.sha256)
    assert rig.engine.loras == {}
    assert await rig.names() == []
    assert rig.cached() == []
    with pytest.raises(NotFoundError), rig.adapters.lease("a"):
        pass


async def test_load_is_proven_in_every_copy_of_the_model(tmp_path: Path) -> None:
    rig = Rig(tmp_path, copies=3)
    await rig.engine.start()
    artifact = rig.write()
    rig.engine.blind_copies = {2}
    with pytest.raises(PreconditionError, match=r"a \(in copy 2 of the model\) does not answer as it did"):
        await rig.adapters.load("a", artifact.uri, artifact.sha256)
    assert rig.engine.loras == {}
    rig.engine.blind_copies = set()
    assert (await rig.adapters.load("a", artifact.uri, artifact.sha256)).proof.canaries == 1
    assert await rig.names() == ["a"]
    rig.engine.forgetful_copies = {1}
    assert await rig.names() == [], "listed, though one copy does not hold it"


async def test_load_engine_refuses_leaves_nothing_behind(rig: Rig) -> None:
    artifact = rig.write()
    rig.engine.refuse_lora = "shape mismatch"
    with pytest.raises(PreconditionError, match="shape mismatch"):
        await rig.adapters.load("a", artifact.uri, artifact.sha256)
    assert rig.cached() == []
    rig.engine.refuse_lora = None
    await rig.adapters.load("a", artifact.uri, artifact.sha256)


async def test_load_one_canary_refused_others_end_before_the_adapter_leaves(rig: Rig) -> None:
    # vLLM would load it again for a request that still waits, from a folder that is gone.
    [canary] = meta()["canaries"]
    artifact = rig.write(meta_changes={"canaries": [canary, canary | {"continuation": "much too long"}]})
    rig.engine.too_long.add("much too long")
    rig.engine.gate.clear()
    task = asyncio.create_task(rig.adapters.load("a", artifact.uri, artifact.sha256))
    async with asyncio.timeout(5):
        while rig.engine.running < 2:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    assert not task.done()
    assert len(rig.engine.loras) == 1
    rig.engine.gate.set()
    with pytest.raises(InvalidInputError, match="too long"):
        await task
    assert rig.engine.loras == {}
    assert rig.cached() == []


async def test_load_engine_holds_adapters_that_nobody_knows_is_overloaded(rig: Rig) -> None:
    artifact = rig.write()
    for lora_id in (98, 99):
        rig.engine.loras[lora_id] = LoraHandle("left", lora_id, rig.tmp_path)
    with pytest.raises(OverloadedError, match="holds 2 adapters"):
        await rig.adapters.load("a", artifact.uri, artifact.sha256)
    assert sorted(rig.engine.loras) == [98, 99]
    assert rig.cached() == []


async def test_load_wrong_sha_refused(rig: Rig) -> None:
    artifact = rig.write()
    with pytest.raises(PreconditionError, match="damaged"):
        await rig.adapters.load("a", artifact.uri, "0" * 64)
    # A name is not spent by a load that never reached the engine.
    await rig.adapters.load("a", artifact.uri, artifact.sha256)


async def test_load_tampered_file_refused(rig: Rig) -> None:
    artifact = rig.write()
    path = rig.tmp_path / "store" / "adapters" / "a" / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(PreconditionError, match="damaged"):
        await rig.adapters.load("a", artifact.uri, artifact.sha256)


async def test_load_missing_folder_not_found(rig: Rig) -> None:
    with pytest.raises(NotFoundError):
        await rig.adapters.load("a", rig.store.uri("adapters/none"), "0" * 64)


@pytest.mark.parametrize(
    ("name", "uri", "sha256"),
    [
        ("../a", "x", "0" * 64),
        ("", "x", "0" * 64),
        ("a", "file:///etc", "0" * 64),
        ("a", "s3://bucket/a", "0" * 64),
        ("a", "x", "nothex"),
    ],
)
async def test_load_malformed_request_invalid(rig: Rig, name: str, uri: str, sha256: str) -> None:
    with pytest.raises(InvalidInputError):
        await rig.adapters.load(name, uri, sha256)


async def test_load_larger_than_limit_invalid(rig: Rig) -> None:
    artifact = rig.write(extra_files={"notes.txt": b"x" * 2_000_000})
    with pytest.raises(InvalidInputError, match="more than the limit"):
        await rig.adapters.load("a", artifact.uri, artifact.sha256)


async def test_load_engine_dies_meanwhile_not_ready_and_nothing_listed(rig: Rig) -> None:
    artifact = rig.write()
    rig.engine.gate.clear()
    task = asyncio.create_task(rig.adapters.load("a", artifact.uri, artifact.sha256))
    while not rig.engine.loras:
        await asyncio.sleep(0.005)
    rig.engine.die()
    with pytest.raises(NotReadyError):
        await task
    await rig.engine.start()
    rig.engine.gate.set()
    assert await rig.names() == []
    await rig.adapters.load("a", artifact.uri, artifact.sha256)


async def test_unload_waits_for_leases_and_refuses_new_ones(rig: Rig) -> None:
    artifact = rig.write()
    await rig.adapters.load("a", artifact.uri, artifact.sha256)
    with rig.adapters.lease("a") as lease:
        lease.in_flight = 3
        unload = asyncio.create_task(rig.adapters.unload("a"))
        again = asyncio.create_task(rig.adapters.unload("a"))
        await asyncio.sleep(0.01)
        assert not unload.done()
        with pytest.raises(NotFoundError), rig.adapters.lease("a"):
            pass
        with pytest.raises(NotReadyError):
            await rig.adapters.load("a", artifact.uri, artifact.sha256)
        assert rig.engine.loras
    assert await unload == 3
    assert await again == 3
    assert rig.engine.loras == {}
    assert rig.cached() == []
    with pytest.raises(NotFoundError):
        await rig.adapters.unload("a")


async def test_unload_caller_leaves_removal_goes_on(rig: Rig) -> None:
    artifact = rig.write()
    await rig.adapters.load("a", artifact.uri, artifact.sha256)
    with rig.adapters.lease("a"):
        unload = asyncio.create_task(rig.adapters.unload("a"))
        await asyncio.sleep(0.01)
        unload.cancel()
        await asyncio.gather(unload, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert rig.engine.loras == {}
    assert await rig.names() == []


async def test_restart_adapters_are_gone_and_can_be_loaded_again(rig: Rig) -> None:
    artifact = rig.write()
    await rig.adapters.load("a", artifact.uri, artifact.sha256)
    rig.engine.die()
    with pytest.raises(NotReadyError):
        await rig.adapters.loaded()
    rig.adapters.forget_all()
    await rig.engine.start()
    assert await rig.names() == []
    with pytest.raises(NotFoundError), rig.adapters.lease("a"):
        pass
    assert not (await rig.adapters.load("a", artifact.uri, artifact.sha256)).already_loaded
    assert rig.engine.ids_ever == [1, 2]


async def test_lease_empty_name_is_the_base_model(rig: Rig) -> None:
    with rig.adapters.lease("") as lease:
        assert (lease.lora, lease.name, lease.sha256) == (None, "", "")
