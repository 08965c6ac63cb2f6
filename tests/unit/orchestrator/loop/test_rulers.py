"""Runs that are measured by a ruler which another run was frozen as."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from services.orchestrator.analysis.files import unpack_evidence
from services.orchestrator.assets import AssetLibrary
from services.orchestrator.audit.checking import check_bundle
from services.orchestrator.audit.files import ZipFiles
from services.orchestrator.audit.recompute import table
from services.orchestrator.benchmarks import Benchmarks
from services.orchestrator.clients.openai import OpenAIGenerator
from services.orchestrator.loop.rulers import load_ruler
from services.orchestrator.ports import RunStatus
from services.orchestrator.ruler import Ruler, freeze, pack, unpack
from tests.bundles import RunWorld, bundle_of
from tests.fakes.fake_openai import MODEL, FakeOpenAI
from tests.fakes.servers import http_server
from tests.fakes.studies import study_json


async def frozen(world, run_id: str = "r-1", **changes: Any) -> Ruler:
    """A ruler of a run that only measured, in the library."""
    await world.run(world.context(study_json(principles=6, measure_only=True, **changes), run_id))
    report = world.report(run_id)
    assert report.evidence is not None
    evidence = unpack_evidence(world.artifacts.get_bytes(report.evidence.uri, report.evidence.sha256))
    made = freeze(
        evidence,
        "bench",
        run_id,
        report.provenance.identity,
        report.base_model,
        report.provenance.model_fingerprint,
    )
    library = AssetLibrary(world.store.assets, world.artifacts)
    record = await library.put("ruler", "bench", pack(made))
    assert record.sha256 == made.sha256
    world.recorded.clear()
    world.fakes.generator.asked.clear()
    return made


async def measured(world, data: dict[str, Any], run_id: str = "r-2") -> None:
    ctx = world.context(data, run_id)
    ctx.ruler = await asyncio.to_thread(load_ruler, world.artifacts, ctx.study.ruler)
    await world.run(ctx)


def by_ruler(ruler: Ruler, **changes: Any) -> dict[str, Any]:
    return study_json(**{"principles": 5, "measure_only": True, "ruler": ruler.sha256, "seed": 8, **changes})


async def test_ruler_study_takes_texts_and_rows_of_the_ruler_and_draws_none(world) -> None:
    ruler = await frozen(world)
    seen = world.fakes.embedder.texts_seen
    await measured(world, by_ruler(ruler))
    report = world.report("r-2")
    asked = world.fakes.generator.asked
    assert not any(key.startswith("base|P2") for key in asked)
    # P1 is asked for the model's own principles alone: 5 a topic, not 6.
    own = [key for key in asked if key.startswith("base|P1")]
    assert {key.split("|")[2].split("/")[1] for key in own} == {str(index) for index in range(5)}
    for arm, text_of in (("original", lambda item: item.original), ("aligned", lambda item: item.aligned[0])):
        stored = {
            (one.topic_id, one.index): one.principle
            for one in world.store.completions("r-2", arm)
            if one.draw == 0
        }
        assert stored == {item.key: text_of(item) for item in ruler.facts.inputs}
    assert report.evidence is not None
    evidence = unpack_evidence(world.artifacts.get_bytes(report.evidence.uri))
    for text, row in ruler.rows.items():
        if text in evidence.vectors["primary"]:
            assert np.array_equal(evidence.vectors["primary"].of([text])[0], row)
    assert world.fakes.embedder.texts_seen > seen
    # The ceiling is that of the ruler's own second draws.
    assert report.analysis is not None
    assert report.analysis.scale.ceiling is not None


async def test_ruler_report_tells_the_models_own_principles_beside_the_benchmark(world) -> None:
    ruler = await frozen(world)
    await measured(world, by_ruler(ruler))
    found = world.report("r-2").ruler
    assert found is not None
    assert (found.sha256, found.name, found.run_id, found.model) == (
        ruler.sha256,
        "bench",
        "r-1",
        world.report("r-1").base_model,
    )
    assert {topic.topic for topic in found.topics} == {"privacy", "fairness"}
    assert all(topic.texts == 5 for topic in found.topics)
    # The fake model speaks as the benchmark does, in other draws: near it, and not equal.
    assert found.own == pytest.approx(found.benchmark, abs=0.15)
    assert found.own != found.benchmark
    assert world.report("r-1").ruler is None


async def test_ruler_of_a_trained_run_trains_towards_its_texts(world) -> None:
    ruler = await frozen(world)
    await measured(world, by_ruler(ruler, measure_only=False, iterations=1))
    report = world.report("r-2")
    assert report.analysis is not None
    assert report.analysis.primary is not None
    answers = {one.answer for job in world.fakes.trainer.jobs.values() for one in job.spec.examples}
    assert answers
    assert answers <= {item.aligned[0] for item in ruler.facts.inputs}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"topics": (("privacy", "Privacy"), ("fairness", "Fair play"))}, "fairness"),
        ({"reference_set": {"version": "2.0"}}, "reference set test-set"),
        ({"prompt_set": {"version": "2.0"}}, "prompt set test-prompts"),
    ],
)
async def test_ruler_of_another_study_is_refused_with_the_reason(world, changes: Any, words: str) -> None:
    ruler = await frozen(world)
    base = study_json()
    nested = {
        key: {**base[key], **value}
        for key, value in changes.items()
        if key in ("reference_set", "prompt_set")
    }
    await measured(world, by_ruler(ruler, **{**changes, **nested}))
    run = world.store.get_run("r-2")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "PRECONDITION")
    assert words in run.error_message
    assert world.fakes.generator.asked.total() == 0


async def test_ruler_of_another_encoder_is_refused_with_the_remedy(world, monkeypatch) -> None:
    ruler = await frozen(world)
    monkeypatch.setattr("tests.fakes.fake_embedder.FINGERPRINT", "d" * 64)
    await measured(world, by_ruler(ruler))
    run = world.store.get_run("r-2")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "PRECONDITION")
    assert "start the embedder with the ruler's encoder" in run.error_message


async def test_ruler_cannot_be_frozen_from_a_run_by_a_ruler(world) -> None:
    from services.common.errors import PreconditionError

    ruler = await frozen(world)
    await measured(world, by_ruler(ruler))
    report = world.report("r-2")
    assert report.evidence is not None
    evidence = unpack_evidence(world.artifacts.get_bytes(report.evidence.uri))
    with pytest.raises(PreconditionError, match="was measured by ruler"):
        freeze(evidence, "again", "r-2", "i", "m", "f" * 64)


async def test_ruler_is_the_same_when_frozen_and_read_again(world) -> None:
    ruler = await frozen(world)
    back = unpack(pack(ruler))
    assert back.sha256 == ruler.sha256
    assert back.facts == ruler.facts
    assert np.array_equal(back.aligned, ruler.aligned)


async def test_bundle_of_a_ruler_study_is_recomputed(world, tmp_path) -> None:
    ruler = await frozen(world)
    await measured(world, by_ruler(ruler))
    path = tmp_path / "bundle.zip"
    bundle_of(RunWorld("r-2", world.store, world.artifacts, world.report("r-2"), None), path)
    with path.open("rb") as file:
        outcome = check_bundle(ZipFiles(file))
    assert outcome.ok, table(outcome)


async def test_two_models_by_one_ruler_are_compared_input_by_input(world) -> None:
    """The generator's model and one behind an endpoint, as an auditor compares them."""
    ruler = await frozen(world)
    await measured(world, by_ruler(ruler), "r-2")
    world.recorded.clear()
    async with http_server(FakeOpenAI().app()) as url:
        data = by_ruler(ruler, endpoint={"url": f"{url}/v1", "model": MODEL})
        ctx = world.context(data, "r-3")
        ctx.ruler = ruler
        endpoint = OpenAIGenerator(ctx.study.endpoint)
        ctx.services = replace(ctx.services, generator=endpoint, endpoint=endpoint)
        await world.run(ctx)
        await endpoint.aclose()

    async def report(run_id: str) -> Any:
        return world.report(run_id).model_dump(mode="json")

    library = AssetLibrary(world.store.assets, world.artifacts)
    found = await Benchmarks(report, world.artifacts, library).compare(["r-2", "r-3"])
    assert (found.kind, found.ruler, found.ruler_name) == ("models", ruler.sha256, "bench")
    assert [one.label for one in found.runs] == ["model", MODEL]
    assert {pair.arm for pair in found.paired} == {"base_p3", "base_reference"}
    assert all(pair.difference.n == len(ruler.facts.inputs) for pair in found.paired)
    originals = next(row for row in found.arms if row.arm == "original")
    assert originals.cells[0].mean.value == originals.cells[1].mean.value
    assert found.own is not None
    assert {cell.run_id for cell in found.own.cells} == {"r-2", "r-3"}
    assert found.runs[1].uncontrolled
    assert not found.runs[0].uncontrolled
