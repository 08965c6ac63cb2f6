"""Assets over both faces: what goes in comes out, and what is wrong is refused alike."""

from collections.abc import Iterator

import grpc
import httpx
import pytest

from services.common.artifacts import sha256_bytes
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.api.middleware import MAX_BODY_BYTES
from services.orchestrator.assets import MAX_ASSET_BYTES

TASK = b'{"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}\n'


def _parts(kind: str, name: str, data: bytes, size: int = 1 << 20) -> Iterator[pb.AddAssetRequest]:
    yield pb.AddAssetRequest(kind=kind, name=name)
    for start in range(0, len(data), size):
        yield pb.AddAssetRequest(data=data[start : start + size])


async def _content(stub: OrchestratorServiceStub, sha256: str) -> bytes:
    answer = stub.GetAssetContent(pb.GetAssetContentRequest(sha256=sha256))
    return b"".join([part.data async for part in answer])


async def test_asset_added_over_one_face_is_the_same_over_the_other(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub
) -> None:
    added = await rest.post("/v1/assets", params={"kind": "task", "name": "sums"}, content=TASK)
    assert added.status_code == 200
    digest = added.json()["sha256"]
    assert digest == sha256_bytes(TASK)
    again = (await stub.AddAsset(_parts("task", "other-name", TASK))).asset
    assert (again.sha256, again.name, again.size_bytes) == (digest, "sums", len(TASK))
    assert (await rest.get(f"/v1/assets/{digest}")).json() == added.json()
    assert (await stub.GetAsset(pb.GetAssetRequest(sha256=digest))).asset == again
    assert (await rest.get("/v1/assets")).json()["assets"] == [added.json()]
    assert list((await stub.ListAssets(pb.ListAssetsRequest(kind="task"))).assets) == [again]
    assert (await rest.get(f"/v1/assets/{digest}/content")).content == TASK
    assert await _content(stub, digest) == TASK


async def test_asset_larger_than_a_message_and_a_document_arrives(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub
) -> None:
    long = TASK.replace(b"2 + 2", b"x" * 90_000)
    rows = [long.replace(b"=", str(number).encode()) for number in range(200)]
    data = b"".join(rows)
    assert len(data) > 16 * 2**20 > MAX_BODY_BYTES
    over_grpc = (await stub.AddAsset(_parts("task", "long", data))).asset
    assert await _content(stub, over_grpc.sha256) == data
    over_http = await rest.post("/v1/assets", params={"kind": "task", "name": "long"}, content=data + TASK)
    assert over_http.json()["size_bytes"] == len(data + TASK)


@pytest.mark.parametrize(
    ("kind", "name", "data", "says"),
    [
        ("task", "sums", TASK + b"{", "line 2"),
        ("task", "sums", b"", "no items"),
        ("task", "Sums", TASK, "lower-case"),
        ("song", "sums", TASK, "task"),
    ],
)
async def test_asset_that_is_wrong_is_refused_on_both(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, kind: str, name: str, data: bytes, says: str
) -> None:
    answer = await rest.post("/v1/assets", params={"kind": kind, "name": name}, content=data)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.AddAsset(_parts(kind, name, data))
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert answer.json()["detail"] in str(refused.value.details())
    assert (await rest.get("/v1/assets")).json() == {"assets": [], "next_page_token": ""}


async def test_asset_too_large_is_not_read_to_its_end(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub
) -> None:
    data = b"x" * (MAX_ASSET_BYTES + 1)
    answer = await rest.post("/v1/assets", params={"kind": "task", "name": "big"}, content=data)
    assert answer.status_code == 413
    with pytest.raises(grpc.aio.AioRpcError, match=f"more than {MAX_ASSET_BYTES}"):
        await stub.AddAsset(_parts("task", "big", data))


@pytest.mark.parametrize("name", ["0" * 64, "none", "运行", "x" * 300])
async def test_unknown_asset_is_not_found_on_both(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub, name: str
) -> None:
    for path, call in (
        (f"/v1/assets/{name}", stub.GetAsset(pb.GetAssetRequest(sha256=name))),
        (
            f"/v1/assets/{name}/content",
            stub.GetAssetContent(pb.GetAssetContentRequest(sha256=name)).read(),
        ),
    ):
        answer = await rest.get(path)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert (answer.status_code, refused.value.code()) == (404, grpc.StatusCode.NOT_FOUND)
        assert answer.json()["detail"] in str(refused.value.details())


async def test_asset_named_with_nul_is_not_found(stub: OrchestratorServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="there is no asset"):
        await stub.GetAsset(pb.GetAssetRequest(sha256="\x00"))


async def test_study_that_names_an_unknown_task_is_refused_with_the_remedy(
    rest: httpx.AsyncClient, stub: OrchestratorServiceStub
) -> None:
    digest = sha256_bytes(TASK)
    study = f"name: demo\nguards:\n  tasks:\n  - {{name: sums, sha256: {digest}}}\n"
    for path in ("/v1/studies/check", "/v1/runs"):
        answer = await rest.post(path, content=study)
        assert answer.status_code == 422
        [fault] = answer.json()["errors"]
        assert fault["path"] == "guards.tasks[0].sha256"
        assert "task 'sums'" in fault["message"]
        assert "valign assets add" in fault["message"]
    await stub.AddAsset(_parts("task", "sums", TASK))
    assert (await rest.post("/v1/studies/check", content=study)).status_code == 200
    assert (await rest.post("/v1/runs", content=study)).status_code == 201
