"""The contract, through a real gRPC server; only the engine is a fake."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import pytest

from services.common.errors import ErrorCode
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.rpc.client import as_valign_error, wait_until_serving
from tests.contract.generator.conftest import Service


def prompt(text: str = "Hello") -> pb.Prompt:
    return pb.Prompt(messages=[pb.Message(role="user", content=text)])


def item(id_: str, text: str = "Hello", *, seed: int = 0, max_tokens: int = 4) -> pb.GenerateItem:
    sampling = pb.Sampling(temperature=1.0, max_tokens=max_tokens, seed=seed)
    return pb.GenerateItem(id=id_, prompt=prompt(text), sampling=sampling)


def score_item(id_: str, continuation: str) -> pb.ScoreItem:
    return pb.ScoreItem(id=id_, prompt=prompt(), continuation=continuation)


async def collect(call: AsyncIterator[Any]) -> dict[str, Any]:
    return {response.id: response async for response in call}


async def generate(
    service: Service, items: Iterable[pb.GenerateItem], adapter: str = ""
) -> dict[str, pb.GenerateResponse]:
    request = pb.GenerateRequest(adapter=adapter, items=items)
    return await collect(service.stub.Generate(iter([request]), timeout=20))


async def failure(call: Any) -> tuple[ErrorCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    error = as_valign_error(caught.value)
    return error.code, error.message


def load(service: Service, name: str, artifact: Any, **changes: str) -> Any:
    fields = {"name": name, "uri": artifact.uri, "sha256": artifact.sha256} | changes
    return service.stub.LoadAdapter(pb.LoadAdapterRequest(**fields), timeout=10)


async def listed(service: Service) -> list[str]:
    response = await service.stub.ListAdapters(pb.ListAdaptersRequest(), timeout=5)
    return [adapter.name for adapter in response.adapters]


async def test_describe_running_engine_names_model_and_limits(service: Service) -> None:
    response = await service.stub.Describe(pb.DescribeRequest(), timeout=5)
    assert (response.model, response.fingerprint, response.max_model_len) == ("fake-model", "f" * 64, 64)
    assert (response.max_lora_rank, response.max_loras, response.device) == (16, 2, "cpu")
    assert (response.device_name, response.gpus) == ("", 0)


async def test_generate_10000_prompts_each_answered_once(service: Service) -> None:
    async def requests() -> AsyncIterator[pb.GenerateRequest]:
        for part in range(100):
            ids = [str(part * 100 + n) for n in range(100)]
            yield pb.GenerateRequest(items=[item(id_, f"prompt {id_}") for id_ in ids])

    count = 0
    seen = set()
    async for response in service.stub.Generate(requests(), timeout=60):
        count += 1
        seen.add(response.id)
        assert response.text
    assert count == len(seen) == 10_000
    assert service.engine.most_running <= 64


async def test_generate_same_seed_same_text_other_seed_other_text(service: Service) -> None:
    answers = await generate(service, [item("a", seed=1), item("b", seed=1), item("c", seed=2)])
    assert answers["a"].text == answers["b"].text != answers["c"].text
    assert answers["a"].adapter == answers["a"].adapter_sha256 == ""


async def test_generate_results_stream_while_requests_are_still_sent(service: Service) -> None:
    first_came = asyncio.Event()

    async def requests() -> AsyncIterator[pb.GenerateRequest]:
        yield pb.GenerateRequest(items=[item("1")])
        await first_came.wait()
        yield pb.GenerateRequest(items=[item("2")])

    ids = []
    async for response in service.stub.Generate(requests(), timeout=10):
        ids.append(response.id)
        first_came.set()
    assert ids == ["1", "2"]


async def test_generate_bad_items_have_errors_and_others_are_served(service: Service) -> None:
    answers = await generate(
        service,
        [
            item("good"),
            item("long", "word " * 80),
            item("none", max_tokens=0),
            pb.GenerateItem(id="empty", sampling=pb.Sampling(max_tokens=1)),
        ],
    )
    assert answers["good"].text
    for bad in ("long", "none", "empty"):
        assert answers[bad].error.code == "INVALID_INPUT"
        assert answers[bad].text == ""
    assert "80 tokens" in answers["long"].error.message


async def test_generate_duplicate_id_invalid_input(service: Service) -> None:
    call = service.stub.Generate(iter([pb.GenerateRequest(items=[item("x"), item("x")])]), timeout=5)
    code, message = await failure(call)
    assert code is ErrorCode.INVALID_INPUT
    assert "'x'" in message


async def test_generate_unknown_adapter_not_found(service: Service) -> None:
    call = service.stub.Generate(iter([pb.GenerateRequest(adapter="who", items=[item("x")])]), timeout=5)
    assert (await failure(call))[0] is ErrorCode.NOT_FOUND


async def test_generate_no_items_ends_empty(service: Service) -> None:
    assert await generate(service, []) == {}
    assert await collect(service.stub.Generate(iter([]), timeout=5)) == {}


async def test_generate_client_cancels_engine_requests_are_aborted(service: Service) -> None:
    service.engine.gate.clear()
    call = service.stub.Generate(
        iter([pb.GenerateRequest(items=[item(str(n)) for n in range(100)])]), timeout=20
    )
    reader = asyncio.create_task(collect(call))
    async with asyncio.timeout(5):
        while service.engine.running < 64:
            await asyncio.sleep(0.01)
    reader.cancel()
    async with asyncio.timeout(5):
        while service.engine.running:
            await asyncio.sleep(0.01)
    assert service.engine.aborted == 64
    service.engine.gate.set()
    assert len(await generate(service, [item(str(n)) for n in range(100)])) == 100


async def test_generate_too_many_calls_overloaded(service: Service) -> None:
    service.engine.gate.clear()
    open_calls = [asyncio.create_task(generate(service, [item("x")])) for _ in range(3)]
    async with asyncio.timeout(5):
        while service.engine.running < 3:
            await asyncio.sleep(0.01)
    call = service.stub.Generate(iter([pb.GenerateRequest(items=[item("x")])]), timeout=5)
    code, _ = await failure(call)
    assert code is ErrorCode.OVERLOADED
    assert code.retryable
    service.engine.gate.set()
    assert all(len(answers) == 1 for answers in await asyncio.gather(*open_calls))


async def test_score_base_and_adapter_differ(service: Service) -> None:
    artifact = service.write()
    await load(service, "a", artifact)
    scores = {}
    for adapter in ("", "a"):
        request = pb.ScoreRequest(adapter=adapter, items=[score_item("s", "one two"), score_item("e", "")])
        scores[adapter] = await collect(service.stub.Score(iter([request]), timeout=5))
    assert scores[""]["s"].logprob == -20.0
    assert scores["a"]["s"].logprob == -15.0
    assert (scores["a"]["s"].tokens, scores["a"]["s"].adapter) == (2, "a")
    assert scores[""]["e"].error.code == "INVALID_INPUT"


async def test_load_adapter_good_is_proven_listed_and_used(service: Service) -> None:
    artifact = service.write()
    response = await load(service, "a", artifact)
    assert (response.proof.canaries, response.already_loaded) == (1, False)
    assert response.proof.max_relative_error <= response.proof.tolerance
    assert response.duration_s > 0
    assert (await load(service, "a", artifact)).already_loaded
    assert await listed(service) == ["a"]
    base = await generate(service, [item("x")])
    adapted = await generate(service, [item("x")], adapter="a")
    assert adapted["x"].text != base["x"].text
    assert (adapted["x"].adapter, adapted["x"].adapter_sha256) == ("a", artifact.sha256)


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ({"rank": 32}, ErrorCode.PRECONDITION, "rank 32"),
        ({"meta_changes": {"base_fingerprint": "0" * 64}}, ErrorCode.PRECONDITION, "another base model"),
        ({"without": "adapter_config.json"}, ErrorCode.PRECONDITION, "has no adapter_config.json"),
        (
            {"without": "adapter_model.safetensors", "extra_files": {"adapter_model.bin": b"x"}},
            ErrorCode.PRECONDITION,
            "pickled",
        ),
    ],
)
async def test_load_adapter_bad_refused_and_service_goes_on(
    service: Service, how: dict[str, Any], code: ErrorCode, says: str
) -> None:
    artifact = service.write(**how)
    got, message = await failure(load(service, "a", artifact))
    assert got is code
    assert says in message
    assert await listed(service) == []
    assert len(await generate(service, [item("x")])) == 1


async def test_load_adapter_sha_mismatch_missing_and_outside_are_told_apart(service: Service) -> None:
    artifact = service.write()
    assert (await failure(load(service, "a", artifact, sha256="0" * 64)))[0] is ErrorCode.PRECONDITION
    gone = service.store.uri("adapters/gone")
    assert (await failure(load(service, "a", artifact, uri=gone)))[0] is ErrorCode.NOT_FOUND
    assert (await failure(load(service, "a", artifact, uri="file:///etc")))[0] is ErrorCode.INVALID_INPUT


async def test_load_adapter_no_slot_overloaded_and_same_name_conflict(service: Service) -> None:
    artifact, other = service.write("adapters/a"), service.write("adapters/b", meta_changes={"alpha": 1})
    await load(service, "a", artifact)
    await load(service, "b", other)
    assert (await failure(load(service, "c", artifact)))[0] is ErrorCode.OVERLOADED
    assert (await failure(load(service, "a", other)))[0] is ErrorCode.CONFLICT


async def test_load_adapter_proof_fails_precondition_with_numbers(service: Service) -> None:
    artifact = service.write()
    service.engine.shift_nats = 0.0
    code, message = await failure(load(service, "a", artifact))
    assert code is ErrorCode.PRECONDITION
    assert "-40.0000 here and -35.0000 in the trainer" in message
    assert await listed(service) == []


async def test_unload_adapter_drains_then_not_found(service: Service) -> None:
    artifact = service.write()
    await load(service, "a", artifact)
    service.engine.gate.clear()
    running = asyncio.create_task(generate(service, [item(str(n)) for n in range(5)], adapter="a"))
    async with asyncio.timeout(5):
        while service.engine.running < 5:
            await asyncio.sleep(0.01)
    [adapter] = (await service.stub.ListAdapters(pb.ListAdaptersRequest(), timeout=5)).adapters
    assert adapter.in_flight == 5
    unload = asyncio.ensure_future(service.stub.UnloadAdapter(pb.UnloadAdapterRequest(name="a"), timeout=10))
    await asyncio.sleep(0.05)
    assert not unload.done()
    service.engine.gate.set()
    answers = await running
    assert {answer.adapter for answer in answers.values()} == {"a"}
    assert (await unload).drained == 5
    assert await listed(service) == []
    call = service.stub.Generate(iter([pb.GenerateRequest(adapter="a", items=[item("x")])]), timeout=5)
    assert (await failure(call))[0] is ErrorCode.NOT_FOUND
    unload_again = service.stub.UnloadAdapter(pb.UnloadAdapterRequest(name="a"), timeout=5)
    assert (await failure(unload_again))[0] is ErrorCode.NOT_FOUND


async def test_engine_dies_calls_in_flight_not_ready_and_service_comes_back(service: Service) -> None:
    artifact = service.write()
    await load(service, "a", artifact)
    service.engine.gate.clear()
    call = service.stub.Generate(iter([pb.GenerateRequest(items=[item("x")])]), timeout=10)
    failed = asyncio.create_task(failure(call))
    async with asyncio.timeout(5):
        while not service.engine.running:
            await asyncio.sleep(0.01)
    service.engine.die()
    code, _ = await failed
    assert code is ErrorCode.NOT_READY
    assert code.retryable
    service.engine.gate.set()
    async with asyncio.timeout(5):
        while service.engine.incarnation < 2:
            await asyncio.sleep(0.01)
    await wait_until_serving(service.target, 5, "valign.generator.v1.GeneratorService")
    assert await listed(service) == []
    await load(service, "a", artifact)
    assert await listed(service) == ["a"]


async def test_engine_down_every_call_not_ready(service: Service) -> None:
    service.engine.start_failures = 10**6
    service.engine.die()
    await asyncio.sleep(0.02)
    calls = [
        service.stub.Describe(pb.DescribeRequest(), timeout=5),
        service.stub.ListAdapters(pb.ListAdaptersRequest(), timeout=5),
        service.stub.Generate(iter([pb.GenerateRequest(items=[item("x")])]), timeout=5),
        service.stub.Score(iter([pb.ScoreRequest(items=[score_item("x", "y")])]), timeout=5),
    ]
    for call in calls:
        assert (await failure(call))[0] is ErrorCode.NOT_READY
    assert not service.health.serving
