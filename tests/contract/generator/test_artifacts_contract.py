"""Adapters through the artifact store and the contract: hostile ones, and from an S3-speaking server."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.artifacts import ArtifactStore
from services.common.errors import ErrorCode, NotReadyError
from services.common.lifecycle import start_server
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as rpc
from services.common.rpc.client import open_channel
from services.common.rpc.server import Health
from services.generator.adapters import Adapters
from services.generator.service import Generator
from services.generator.servicer import SERVICE_NAME, GeneratorServicer
from services.generator.settings import GeneratorSettings
from services.trainer.artifacts import Canary, publish_adapter
from services.trainer.types import LoraSpec, TrainedAdapter
from tests.contract.generator.conftest import Service
from tests.contract.generator.test_generator_contract import failure, listed, load
from tests.fakes.adapter_folders import meta
from tests.fakes.fake_engine import FINGERPRINT, FakeEngine
from tests.fakes.hostile_adapters import FOLDERS, MANIFESTS, METAS, good_files, plant
from tests.s3 import S3, s3_server
from tests.unit.trainer.specs import make_spec


async def _is_serving(target: str) -> bool:
    async with open_channel(target) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service=SERVICE_NAME)
        )
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize(
    "case",
    [
        *(case for case in FOLDERS if "surrogate" in case or "megabyte" in case or "bomb" in case),
        *("nan", "rank a billion", "float64", "pickle as .bin", "header of 100 MB", "tensor name with NUL"),
        *METAS,
        *MANIFESTS,
    ],
)
async def test_load_adapter_hostile_is_refused_and_the_service_lives(service: Service, case: str) -> None:
    root = service.tmp_path / "store"
    if case in FOLDERS:
        planted = plant(root, FOLDERS[case]())
    elif case in METAS:
        planted = plant(root, good_files(), meta_changes=METAS[case])
    else:
        planted = plant(root, {}, manifest=MANIFESTS[case]())
    code, _ = await failure(load(service, "evil", planted))
    assert code in {ErrorCode.PRECONDITION, ErrorCode.INVALID_INPUT}
    assert await listed(service) == []
    cache = service.tmp_path / "cache"
    assert not cache.exists() or list(cache.iterdir()) == []
    good = plant(root, good_files(), key="adapters/good")
    assert (await load(service, "good", good)).adapter.name == "good"
    assert await _is_serving(service.target)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    with s3_server(monkeypatch, "artifacts") as made:
        yield made


@pytest.fixture
async def stub(s3: S3, tmp_path: Path) -> AsyncIterator[rpc.GeneratorServiceStub]:
    """A generator whose artifacts lie in S3."""
    engine = FakeEngine()
    await engine.start()
    store = ArtifactStore(s3.root_uri)
    adapters = Adapters(engine, store, tmp_path / "cache", max_bytes=10**6, tolerance=0.01)
    generator = Generator(engine, adapters, max_in_flight=64, max_calls=3)
    server, port = await start_server(
        GeneratorSettings(model="fake", port=0),
        service_names=[SERVICE_NAME],
        register=lambda server: rpc.add_GeneratorServiceServicer_to_server(
            GeneratorServicer(generator), server
        ),
        health=Health([SERVICE_NAME]),
    )
    async with open_channel(f"127.0.0.1:{port}") as channel:
        yield rpc.GeneratorServiceStub(channel)
    await server.stop(1)


def _published(folder: Path, s3: S3) -> TrainedAdapter:
    """What the trainer puts into the store; no torch is needed for that."""
    folder.mkdir()
    for name, data in good_files().items():
        (folder / name).write_bytes(data)
    # PEFT writes one; it is not published.
    (folder / "README.md").write_text("# Model card")
    [told] = meta()["canaries"]
    canary = Canary(
        tuple(told["messages"]),
        told["continuation"],
        told["logprob_adapter"],
        told["logprob_base"],
        told["tokens"],
    )
    spec = make_spec(lora=LoraSpec(4, 8.0, 0.0, ("q_proj", "v_proj")), adapter_name_prefix="r-1-i1")
    store = ArtifactStore(s3.root_uri)
    return publish_adapter(store, folder, spec, base_fingerprint=FINGERPRINT, canaries=[canary])


def _load(stub: rpc.GeneratorServiceStub, adapter: TrainedAdapter) -> Any:
    request = pb.LoadAdapterRequest(name=adapter.name, uri=adapter.uri, sha256=adapter.sha256)
    return stub.LoadAdapter(request, timeout=60)


async def test_adapter_published_to_s3_by_the_trainer_is_loaded(
    s3: S3, stub: rpc.GeneratorServiceStub, tmp_path: Path
) -> None:
    adapter = _published(tmp_path / "made", s3)
    assert adapter.uri == f"{s3.root_uri}/adapters/{adapter.name}"
    puts = [path for path in s3.requests if path.startswith("PUT") and ".incomplete" not in path]
    assert [path.rpartition("/")[2] for path in puts][-1] == "manifest.json"
    assert not any("README" in path for path in puts)
    assert _published(tmp_path / "again", s3) == adapter
    assert (await _load(stub, adapter)).adapter.sha256 == adapter.sha256


async def test_adapter_in_s3_damaged_or_away_is_refused_and_loads_when_it_is_back(
    s3: S3, stub: rpc.GeneratorServiceStub, tmp_path: Path
) -> None:
    adapter = _published(tmp_path / "made", s3)
    for fault, expected, says in (
        ("flip", ErrorCode.PRECONDITION, "is damaged"),
        ("dead", ErrorCode.NOT_READY, "try again"),
        ("500", ErrorCode.NOT_READY, "try again"),
        ("slow-down", ErrorCode.NOT_READY, "try again"),
        ("cut", ErrorCode.NOT_READY, "try again"),
        ("denied", ErrorCode.PRECONDITION, "credentials"),
    ):
        s3.fault = fault
        code, message = await failure(_load(stub, adapter))
        assert (code, says in message, adapter.uri in message) == (expected, True, True), message
        assert list((tmp_path / "cache").glob("*")) == []
    s3.fault = ""
    assert (await _load(stub, adapter)).adapter.name == adapter.name


async def test_trainer_that_dies_while_it_publishes_leaves_no_adapter(
    s3: S3, stub: rpc.GeneratorServiceStub, tmp_path: Path
) -> None:
    s3.fault, s3.only, s3.after = "dead", frozenset({"PUT"}), 2
    with pytest.raises(NotReadyError):
        _published(tmp_path / "made", s3)
    s3.fault = ""
    adapter = _published(tmp_path / "again", s3)
    assert (await _load(stub, adapter)).adapter.name == adapter.name
