"""Runs that measure a model behind an endpoint, over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from services.orchestrator.audit.checking import check_bundle
from services.orchestrator.audit.files import ZipFiles
from services.orchestrator.audit.recompute import table
from services.orchestrator.clients.openai import OpenAIGenerator
from services.orchestrator.loop.endpoint import merged, sentences
from services.orchestrator.ports import RunStatus
from services.orchestrator.study import EndpointSettings, Study, resolve
from tests.bundles import RunWorld, bundle_of
from tests.fakes.fake_openai import KEY, MODEL, FakeOpenAI
from tests.fakes.servers import http_server
from tests.fakes.studies import study_json


def study(url: str, **changes: Any) -> dict[str, Any]:
    endpoint = {"url": url, "model": MODEL, "max_attempts": 2, **changes.pop("endpoint", {})}
    return study_json(principles=4, measure_only=True, endpoint=endpoint, **changes)


@asynccontextmanager
async def served(fake: FakeOpenAI) -> AsyncIterator[str]:
    async with http_server(fake.app()) as base:
        yield f"{base}/v1"


async def measured(world, data: dict[str, Any], key: str = "") -> None:
    ctx = world.context(data)
    endpoint = OpenAIGenerator(ctx.study.endpoint, SecretStr(key) if key else None, first_wait_s=0.01)
    ctx.services = replace(ctx.services, generator=endpoint, endpoint=endpoint)
    try:
        await world.run(ctx)
    finally:
        await endpoint.aclose()


async def test_endpoint_is_measured_and_the_report_says_what_was_not_controlled(world) -> None:
    fake = FakeOpenAI(key=KEY, system_fingerprints=["fp_1", "fp_2"])
    async with served(fake) as url:
        data = study(url)
        data["prompt_set"]["stages"]["aligned"]["prefill"] = "You shall"
        await measured(world, data, KEY)
    report = world.report()
    assert (report.base_model, report.provenance.versions["device"]) == (MODEL, "remote")
    assert report.adapter is None
    analysis = report.analysis
    assert analysis is not None
    assert analysis.verdict is None
    assert {arm.kind for arm in analysis.arms} >= {"original", "base_p3", "base_reference", "aligned"}
    said = " ".join(analysis.uncontrolled)
    for words in (
        "by its name alone",
        "under one seed",
        "Log-probabilities",
        "begins the answer",
        "fp_1, fp_2",
    ):
        assert words in said
    assert "over http" not in said
    # The begun answer was not sent, and none was put in front of what came back.
    aligned = world.store.completions("r-1", "aligned")
    assert aligned
    assert not any(one.principle.startswith("You shall") for one in aligned)
    assert world.fakes.generator.asked.total() == 0
    assert len(fake.asked) == fake.answered
    path = world.folder / "bundle.zip"
    bundle_of(RunWorld("r-1", world.store, world.artifacts, report, None), path)
    with path.open("rb") as file:
        outcome = check_bundle(ZipFiles(file))
    assert outcome.ok, table(outcome)


async def test_endpoint_key_is_in_nothing_that_the_run_left(world) -> None:
    fake = FakeOpenAI(key=KEY)
    async with served(fake) as url:
        await measured(world, study(url), KEY)
    assert world.report()
    for path in [path for path in world.folder.rglob("*") if path.is_file()]:
        assert KEY.encode() not in path.read_bytes(), path.name


async def test_endpoint_wrong_key_fails_before_anything_is_drawn(world) -> None:
    fake = FakeOpenAI(key=KEY)
    async with served(fake) as url:
        await measured(world, study(url), "sk-wrong")
    run = world.store.get_run("r-1")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "UNAUTHENTICATED")
    assert "VALIGN_ORCHESTRATOR_ENDPOINT_KEYS" in run.error_message
    assert "sk-wrong" not in run.error_message
    assert len(fake.asked) == 1
    assert world.store.completions("r-1") == []


async def test_endpoint_that_dies_fails_the_run_and_keeps_what_was_drawn(world) -> None:
    fake = FakeOpenAI()
    async with served(fake) as url:
        data = study(url, endpoint={"requests_at_once": 1})
        fake.filtered = "P2"
        await measured(world, data)
    run = world.store.get_run("r-1")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "PRECONDITION")
    assert "invalid_input" in run.error_message
    assert len(world.store.completions("r-1", "original")) == 8


def _said(**changes: Any) -> str:
    base = study("https://api.example.org/v1", **changes)
    resolved = resolve(Study.model_validate(base))
    endpoint = resolved.study.endpoint
    assert endpoint is not None
    return " ".join(sentences(endpoint, resolved, None, {}))


def test_sentences_follow_from_settings() -> None:
    assert "No seed was sent" in _said(endpoint={"send_seed": False})
    assert "could not be told" in _said()
    assert "over http" in _said(endpoint={"url": "http://api.example.org/v1"})
    assert "over http" not in _said(endpoint={"url": "http://localhost:8000/v1"})
    assert "no system_fingerprint" in _said()


def test_sentences_left_out_parameters_are_told() -> None:
    resolved = resolve(Study.model_validate(study("https://api.example.org/v1")))
    endpoint = resolved.study.endpoint
    assert endpoint is not None
    renamed = sentences(endpoint, resolved, True, {"left_out": {"max_tokens": "use the other"}})
    assert any("max_completion_tokens" in line for line in renamed)
    gone = {"max_tokens": "use the other", "max_completion_tokens": "no", "temperature": "only 1"}
    said = sentences(endpoint, resolved, False, {"left_out": gone, "models": ["a", "b"]})
    assert sum("does not take" in line for line in said) == 3
    assert any("two answers under one seed" in line for line in said)
    assert any("a, b" in line for line in said)


def test_merged_keeps_what_an_earlier_process_saw() -> None:
    first = {
        "requests": 5,
        "retries": 1,
        "system_fingerprints": ["a"],
        "models": ["m"],
        "left_out": {"seed": "no"},
    }
    second = {"requests": 2, "retries": 0, "system_fingerprints": ["b"], "models": ["m"], "left_out": {}}
    assert merged({}, first) == first
    assert merged(first, second) == {**first, "system_fingerprints": ["a", "b"]}


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("https://user:secret-1@api.example.org/v1", "user or password"),
        ("https://:secret-1@api.example.org/v1", "user or password"),
        ("https://api.example.org/v1?key=secret-1", "no '?'"),
        ("https://api.example.org/v1#secret-1", "no '?'"),
        ("https:///v1", "names no host"),
        ("https://api.example.org:port/v1", "no URL"),
    ],
)
def test_endpoint_url_that_may_hold_a_secret_is_refused_and_not_repeated(url: str, word: str) -> None:
    from services.common.errors import InvalidInputError
    from services.orchestrator.documents import parse_document

    text = f"name: x\nmeasure_only: true\nendpoint:\n  url: {url!r}\n  model: m\n"
    with pytest.raises(InvalidInputError) as caught:
        parse_document(text, Study)
    assert word in caught.value.message
    assert "secret-1" not in caught.value.message + repr(caught.value.details)


def test_endpoint_url_loses_its_last_slash() -> None:
    assert EndpointSettings(url="https://api.example.org/v1/", model="m").url == "https://api.example.org/v1"
