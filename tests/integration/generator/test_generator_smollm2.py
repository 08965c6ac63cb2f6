"""A real model on real vLLM: seeds, scores, and the swap of real PEFT adapters while it serves."""

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.common.errors import ErrorCode
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.rpc.client import as_valign_error, open_channel
from services.orchestrator import catalogue
from services.orchestrator.analysis.evidence import Arm, ArmKind, Output
from services.orchestrator.analysis.values.dimensions import answer_probabilities
from services.orchestrator.clients.generator import GrpcGenerator
from services.orchestrator.loop.probes import run_probes
from services.orchestrator.ports import AdapterRef
from services.orchestrator.values_judge import Reply, dialogue_question, judge_prior, judge_replies
from tests.integration.generator.probing import probing_context
from tests.integration.generator.process import (
    GeneratorProcess,
    generate,
    item,
    score,
    stub_of,
)
from tests.metric_table import listed, series

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]

GREEDY = "Name three colours."


@pytest.fixture(scope="module")
def adapter(service: GeneratorProcess) -> dict[str, str]:
    return service.make_adapter("good", 1, 8)


def load(stub: Any, adapter: dict[str, str], **changes: str) -> Any:
    return stub.LoadAdapter(pb.LoadAdapterRequest(**{**adapter, **changes}), timeout=120)


async def refused(call: Any) -> tuple[ErrorCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = as_valign_error(caught.value)
    return error.code, error.message


async def test_describe_names_the_model_and_its_template(service: GeneratorProcess) -> None:
    async with stub_of(service) as stub:
        response = await stub.Describe(pb.DescribeRequest(), timeout=10)
    assert response.model == str(service.model)
    assert (response.max_model_len, response.has_chat_template) == (512, True)
    assert len(response.fingerprint) == 64


async def test_generate_per_sample_seeds_reproduce_in_any_batch(service: GeneratorProcess) -> None:
    async with stub_of(service) as stub:
        alone = await generate(stub, [item("x", "Tell me a story.", temperature=0.9, seed=7)])
        batch = await generate(
            stub, [item(str(n), "Tell me a story.", temperature=0.9, seed=n % 8) for n in range(16)]
        )
    assert alone["x"].text == batch["7"].text == batch["15"].text
    assert len({batch[str(n)].text for n in range(8)}) > 4
    assert batch["0"].completion_tokens <= 16


async def test_generate_prefill_is_continued_and_not_repeated(service: GeneratorProcess) -> None:
    async with stub_of(service) as stub:
        answers = await generate(stub, [item("x", "Give one rule for a good life.", prefill="You shall")])
    assert answers["x"].text
    assert not answers["x"].text.startswith("You shall")


async def test_generate_too_long_prompt_is_an_item_error(service: GeneratorProcess) -> None:
    async with stub_of(service) as stub:
        answers = await generate(stub, [item("long", "word " * 600), item("short", "Hello")])
    assert answers["long"].error.code == "INVALID_INPUT"
    assert "512" in answers["long"].error.message
    assert answers["short"].text


async def test_score_likely_text_above_unlikely_text(service: GeneratorProcess) -> None:
    async with stub_of(service) as stub:
        likely = await score(stub, "What is the capital of France?", "The capital of France is Paris.")
        unlikely = await score(stub, "What is the capital of France?", "Purple the of quickly is Paris.")
    assert likely.logprob > unlikely.logprob
    assert likely.logprob < 0
    assert likely.tokens > 3


async def test_swap_under_load_all_complete_text_differs_and_base_is_unchanged(
    service: GeneratorProcess, adapter: dict[str, str]
) -> None:
    async with stub_of(service) as stub:
        before = (await generate(stub, [item("x", GREEDY)]))["x"].text
        flight = asyncio.create_task(
            generate(
                stub,
                [item(str(n), "Tell me a story.", temperature=0.9, seed=n, max_tokens=48) for n in range(32)],
            )
        )
        await asyncio.sleep(0.5)
        loaded = await load(stub, adapter)
        in_flight_answers = await flight
        after_base = (await generate(stub, [item("x", GREEDY)]))["x"].text
        after = (await generate(stub, [item("x", GREEDY)], adapter="good"))["x"]
        listed = await stub.ListAdapters(pb.ListAdaptersRequest(), timeout=10)

    assert len(in_flight_answers) == 32
    assert not any(answer.HasField("error") for answer in in_flight_answers.values())
    assert loaded.proof.canaries == 2
    assert loaded.proof.max_relative_error <= loaded.proof.tolerance
    assert loaded.proof.mean_shift_nats > 1
    assert after_base == before
    assert after.text != before
    assert (after.adapter, after.adapter_sha256) == ("good", adapter["sha256"])
    assert [entry.name for entry in listed.adapters] == ["good"]


async def test_unload_then_generate_not_found_and_load_again_works(
    service: GeneratorProcess, adapter: dict[str, str]
) -> None:
    async with stub_of(service) as stub:
        await load(stub, adapter)
        text = (await generate(stub, [item("x", GREEDY)], adapter="good"))["x"].text
        await stub.UnloadAdapter(pb.UnloadAdapterRequest(name="good"), timeout=60)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await generate(stub, [item("x", GREEDY)], adapter="good")
        assert as_valign_error(caught.value).code is ErrorCode.NOT_FOUND
        assert not (await stub.ListAdapters(pb.ListAdaptersRequest(), timeout=10)).adapters
        assert not (await load(stub, adapter)).already_loaded
        assert (await generate(stub, [item("x", GREEDY)], adapter="good"))["x"].text == text
        await stub.UnloadAdapter(pb.UnloadAdapterRequest(name="good"), timeout=60)


async def test_base_and_two_adapters_in_the_same_steps_do_not_mix(service: GeneratorProcess) -> None:
    names = ("", "left", "right")
    answers = ("A good neighbour keeps a promise.", "The sky is blue because of scattered light.")

    async def logprobs(stub: Any, adapter: str) -> list[float]:
        rows = [await score(stub, f"Question {n}?", answers[n % 2], adapter=adapter) for n in range(4)]
        return [row.logprob for row in rows]

    async with stub_of(service) as stub:
        for seed, name in enumerate(names[1:], start=11):
            await load(stub, service.make_adapter(name, seed, 8))
        alone = [await logprobs(stub, name) for name in names]
        together = await asyncio.gather(*(logprobs(stub, name) for name in names))
        for name in names[1:]:
            await stub.UnloadAdapter(pb.UnloadAdapterRequest(name=name), timeout=60)
    for one, other in zip(alone, together, strict=True):
        assert other == pytest.approx(one, rel=0.02)
    # The three models are further apart than that, so that a mix-up would show.
    for n in range(3):
        assert sum(alone[n]) != pytest.approx(sum(alone[(n + 1) % 3]), rel=0.05)


def _no_effect(folder: Path, meta: dict[str, Any]) -> None:
    """B all zero: loads well, changes nothing."""
    import numpy as np
    from safetensors.numpy import save_file

    from services.generator.adapter_files import read_header

    header, _ = read_header(folder / "adapter_model.safetensors")
    zeros = {name: np.zeros(entry["shape"], np.float16) for name, entry in header.items()}
    save_file(zeros, folder / "adapter_model.safetensors")


def _wrong_shape(folder: Path, meta: dict[str, Any]) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    from services.generator.adapter_files import read_header

    header, _ = read_header(folder / "adapter_model.safetensors")
    shapes = {n: [s + 8 if s > 8 else s for s in entry["shape"]] for n, entry in header.items()}
    save_file(
        {n: np.full(shape, 0.01, np.float16) for n, shape in shapes.items()},
        folder / "adapter_model.safetensors",
    )


def _unknown_layer(folder: Path, meta: dict[str, Any]) -> None:
    """Passes every check of ours: the engine itself, or at last the proof, must refuse it."""
    import numpy as np
    from safetensors.numpy import save_file

    prefix = "base_model.model.model.layers.0.self_attn.nowhere.q_proj"
    save_file(
        {
            f"{prefix}.lora_A.weight": np.full((8, 576), 0.01, np.float16),
            f"{prefix}.lora_B.weight": np.full((576, 8), 0.01, np.float16),
        },
        folder / "adapter_model.safetensors",
    )


def _pickle(folder: Path, meta: dict[str, Any]) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _missing(folder: Path, meta: dict[str, Any]) -> None:
    (folder / "adapter_config.json").unlink()


def _other_base(folder: Path, meta: dict[str, Any]) -> None:
    meta["base_fingerprint"] = "0" * 64


def _wrong_canary(folder: Path, meta: dict[str, Any]) -> None:
    meta["canaries"] = [{**c, "logprob_adapter": 1.1 * c["logprob_adapter"]} for c in meta["canaries"]]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_no_effect, "does not answer as it did in training"),
        (_wrong_shape, "the base model needs"),
        (_unknown_layer, "unknown"),
        (_pickle, "pickled weights are refused"),
        (_missing, "has no adapter_config.json"),
        (_other_base, "another base model"),
        (_wrong_canary, "does not answer as it did in training"),
    ],
)
async def test_load_bad_adapter_refused_and_engine_goes_on(
    service: GeneratorProcess,
    adapter: dict[str, str],
    spoil: Callable[[Path, dict[str, Any]], None],
    says: str,
    tmp_path: Path,
) -> None:
    store = service.store
    folder = tmp_path / "adapter"
    manifest = store.fetch_folder(adapter["uri"], adapter["sha256"], folder)
    (folder / "manifest.json").unlink()
    meta = dict(manifest.meta)
    spoil(folder, meta)
    name = f"bad{spoil.__name__}"
    artifact = store.put_folder(f"adapters/{name}", folder, meta)
    async with stub_of(service) as stub:
        code, message = await refused(
            load(stub, {"name": name, "uri": artifact.uri, "sha256": artifact.sha256})
        )
        assert code is ErrorCode.PRECONDITION
        if says != "unknown":
            assert says in message
        assert not (await stub.ListAdapters(pb.ListAdaptersRequest(), timeout=10)).adapters
        assert (await generate(stub, [item("x", "Hello")]))["x"].text


async def test_load_rank_too_high_refused(service: GeneratorProcess) -> None:
    adapter = service.make_adapter("too-high", 1, 96)
    async with stub_of(service) as stub:
        code, message = await refused(load(stub, adapter))
    assert code is ErrorCode.PRECONDITION
    assert "rank 96, the engine takes at most 64" in message


async def test_load_sha_mismatch_and_damaged_file_refused(
    service: GeneratorProcess, adapter: dict[str, str], tmp_path: Path
) -> None:
    source = service.folder / "store" / "adapters" / "good"
    damaged = service.folder / "store" / "adapters" / "damaged"
    shutil.copytree(source, damaged)
    path = damaged / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    async with stub_of(service) as stub:
        assert (await refused(load(stub, adapter, name="s", sha256="0" * 64)))[0] is ErrorCode.PRECONDITION
        uri = service.store.uri("adapters/damaged")
        code, message = await refused(load(stub, adapter, name="d", uri=uri))
    assert code is ErrorCode.PRECONDITION
    assert "damaged" in message


async def test_probes_of_a_real_model_and_adapter(
    service: GeneratorProcess, adapter: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the orchestrator asks of base and tuned model, in full: log-probabilities that hold together."""
    # An engine that could take adapters of rank 64 is slow with them on a CPU: a few prompts are enough here.
    shipped = catalogue.load_general_prompts("general")
    few = replace(shipped, prompts=shipped.prompts[:6])
    monkeypatch.setattr(catalogue, "load_general_prompts", lambda set_id: few)
    task = b"".join(
        b'{"question": "The capital of %s is", "choices": ["%s", "Purple soup"], "answer": 0}\n' % pair
        for pair in ((b"France", b"Paris"), (b"Italy", b"Rome"), (b"Japan", b"Tokyo"))
    )
    tuned = AdapterRef(**adapter)
    arms = [Arm("aligned", ArmKind.ALIGNED), Arm("tuned", ArmKind.TUNED, training_seed=0)]
    outputs = [
        Output(arm.name, "privacy", 0, 0, "You shall keep what you are told to yourself.") for arm in arms
    ]
    async with open_channel(service.target) as channel:
        with probing_context(tmp_path, channel, task) as ctx:
            models = [("base", None), ("tuned", tuned)]
            probes, not_run = await run_probes(ctx, models, arms, outputs, [("privacy", 0)])
            assert not_run == {}
            assert await run_probes(ctx, models, arms, outputs, [("privacy", 0)]) == (probes, {})
    async with stub_of(service) as stub:
        await stub.UnloadAdapter(pb.UnloadAdapterRequest(name=tuned.name), timeout=60)
    utility = probes["utility"]
    assert utility["failed"] == []
    own = {(row["source"], row["by"], row["id"]): row for row in utility["scores"]}
    assert len(own) == 4 * 6
    # A text is likelier under the model that wrote it: both divergences are above 0.
    for source, other in (("base", "tuned"), ("tuned", "base")):
        rows = [
            (own[source, source, prompt["id"]], own[source, other, prompt["id"]])
            for prompt in utility["prompts"]
        ]
        assert sum(mine["logprob"] - theirs["logprob"] for mine, theirs in rows) > 0
        assert all(mine["tokens"] == theirs["tokens"] for mine, theirs in rows)
    likelihood = {arm: sum(row["logprob"] for row in rows) for arm, rows in utility["answers"].items()}
    assert likelihood["base"] > likelihood["tuned"]
    polarity = probes["polarity"]
    assert [row["contradicts"] for row in polarity["calibration"]] == [False, True]
    assert {row["arm"] for row in polarity["outputs"]} == {"aligned", "tuned"}
    assert all(row["logprob_yes"] < 0 > row["logprob_no"] for row in polarity["outputs"])
    assert [row["correct"] for row in probes["tasks"]["task-0"]["arms"]["base"]] == [True] * 3


async def test_judge_of_values_has_all_answers_and_its_bias_is_taken_away(service: GeneratorProcess) -> None:
    replies = [
        Reply("safe", dialogue_question("Security and Privacy"), "Keep people's data safe and secure."),
        Reply("unsafe", dialogue_question("Security and Privacy"), "Leak people's data to criminals."),
    ]
    async with open_channel(service.target) as channel:
        generator = GrpcGenerator(channel)
        prior = await judge_prior(generator, ("security", "power"))
        answers = await judge_replies(generator, replies, ("security", "power"))
    for value in ("security", "power"):
        assert sum(prior[value]) == pytest.approx(1)
        for reply in replies:
            logprobs = answers[reply.key][value]
            assert logprobs is not None
            assert all(number < 0 for number in logprobs)
            assert answer_probabilities(logprobs, prior[value]).sum() == pytest.approx(1)
    # What a model of this size thinks is not the point; that it reads the reply is.
    assert answers["safe"]["security"] != answers["unsafe"]["security"]


async def test_metrics_of_the_engine_stand_beside_ours_and_are_those_of_the_guide(
    service: GeneratorProcess,
) -> None:
    async with stub_of(service) as stub:
        await generate(stub, [item("one", GREEDY)])
    text = httpx.get(f"http://127.0.0.1:{service.metrics_port}/metrics", timeout=30).text
    samples: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample.labels)
    engine = {name: labels for name, labels in series().items() if name.startswith("vllm:")}
    assert len(engine) > 5
    for name, labels in engine.items():
        assert {frozenset(found) for found in samples[name]} == {labels}, name
    assert "vllm:lora_requests_info" not in samples
    ours = {name for name in samples if name.startswith("valign_") and not name.endswith("_created")}
    known = {name for one in listed().values() if "generator" in one.services for name in one.series}
    assert ours <= known
    assert samples["valign_generator_cpu_seconds_total"] == [{}]


def test_log_of_the_engine_is_json_that_names_the_service(service: GeneratorProcess) -> None:
    lines = (service.folder / "generator.log").read_text().splitlines()
    ours = [json.loads(line) for line in lines if line.startswith("{")]
    assert {line["service"] for line in ours} == {"generator"}
    # The engine's process too; what C++ libraries write by themselves are few lines.
    assert any(line["logger"].startswith("vllm.v1.worker") for line in ours)
    assert len(ours) >= 0.8 * len(lines), [line for line in lines if not line.startswith("{")]
