"""Jobs that train a head or measure a judge."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.artifacts import ArtifactStore
from services.common.errors import InvalidInputError, NotFoundError, NotReadyError, OverloadedError
from services.orchestrator.analysis.values.dimensions import VALUES
from services.orchestrator.analysis.values.head import unpack_head
from services.orchestrator.analysis.values.record import unpack_judge
from services.orchestrator.assets import AssetKind, AssetLibrary
from services.orchestrator.values_training import (
    MAX_WAITING_JOBS,
    HeadOptions,
    JudgeOptions,
    ValuesJob,
    ValuesTraining,
    text_part,
)
from tests.fakes.orchestrator import migrated_store
from tests.fakes.value_services import WordEmbedder, WordJudge
from tests.fulcra_shape import COMMON, as_lines, labels_file, rows


class World:
    """The jobs, and what lies behind them."""

    def __init__(self, folder: Path) -> None:
        self.store, _ = migrated_store(folder)
        self.assets = AssetLibrary(self.store.assets, ArtifactStore(str(folder / "artifacts")))
        self.embedder, self.judge = WordEmbedder(), WordJudge()
        self.jobs = self.fresh()

    def fresh(self) -> ValuesTraining:
        """As after a restart."""
        return ValuesTraining(self.embedder, self.judge, self.assets)

    async def ended(self, job: ValuesJob) -> ValuesJob:
        async with asyncio.timeout(60):
            while not job.ended:
                await asyncio.sleep(0.01)
        return job


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


def judged_rows(count: int) -> bytes:
    """Rows whose labels the word judge can find: the value's name is in the reply."""
    data = []
    for place in range(count):
        label = (1, 0, -1)[place % 3]
        said = {1: "security matters", 0: "the sky is blue", -1: "no security here"}[label]
        types = [f"security: {label:+d}"] if label else []
        data.append({"dialogue": f"Human: question {place}?\nBob: {said} {place}", "value_types": types})
    return as_lines(data).encode()


async def test_head_is_trained_measured_and_kept_as_an_asset(here: World) -> None:
    job = await here.jobs.train(labels_file(200), "mine", HeadOptions())
    assert job.state in ("queued", "running")
    await here.ended(job)
    assert (job.state, job.error_message, job.stage, job.done, job.total) == ("succeeded", "", "fit", 10, 10)
    assert {item.value for item in job.agreement if item.status == "measured"} == set(COMMON)
    head = unpack_head(await here.assets.content(job.sha256))
    assert (await here.assets.get(job.sha256)).kind is AssetKind.VALUES_HEAD
    assert head.encoder_fingerprint == here.embedder.fingerprint
    assert job.labels is not None
    assert job.labels.rows == 400
    assert head.facts["truncated_texts"] == 0


async def test_same_file_and_options_join_the_same_job(here: World) -> None:
    data = labels_file(120)
    first = await here.jobs.train(data, "mine", HeadOptions())
    assert await here.jobs.train(data, "mine", HeadOptions()) is first
    other = await here.jobs.train(data, "mine", HeadOptions(seed=1))
    assert other.id != first.id
    await here.ended(first)
    assert await here.jobs.train(data, "mine", HeadOptions()) is first
    await here.ended(other)


async def test_head_is_found_by_its_sha256_after_a_restart(here: World) -> None:
    job = await here.ended(await here.jobs.train(labels_file(120), "mine", HeadOptions()))
    again = await here.fresh().get("head", job.sha256)
    assert (again.state, again.agreement, again.labels) == ("succeeded", job.agreement, job.labels)
    assert again.facts == job.facts
    with pytest.raises(NotFoundError):
        await here.fresh().get("head", job.id)


async def test_dirty_file_is_cleaned_and_the_counts_told(here: World) -> None:
    clean = rows(100)
    dirty = [
        *clean,
        clean[0],
        "{oops",
        {"dialogue": "Human: x\nBob: y"},
        {**clean[1], "value_types": ["face: 1"]},
    ]
    job = await here.ended(await here.jobs.train(as_lines(dirty).encode(), "mine", HeadOptions()))
    assert job.labels is not None
    assert job.labels.duplicates == 1
    assert job.labels.refused == {"no label of the ten values": 1, "no value_types": 1, "not JSON": 1}


async def test_text_of_a_dialogue_is_embedded_if_asked(here: World) -> None:
    await here.ended(await here.jobs.train(labels_file(40), "mine", HeadOptions(text="dialogue")))
    assert all(text.startswith("Human: question") for text in here.embedder.seen)


@pytest.mark.parametrize("data", [b"", b"nothing of use\n", b"\xff\xfe", b"[]"])
async def test_file_without_labels_is_refused_at_once(here: World, data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        await here.jobs.train(data, "mine", HeadOptions())


async def test_held_out_share_out_of_range_is_refused(here: World) -> None:
    with pytest.raises(InvalidInputError, match=r"0\.9"):
        await here.jobs.train(labels_file(10), "mine", HeadOptions(held_out=0.9))


async def test_encoder_that_changes_meanwhile_fails_the_job(here: World) -> None:
    class Fickle(WordEmbedder):
        async def embed(self, texts):
            self.fingerprint = "a" * 64
            return await super().embed(texts)

    jobs = ValuesTraining(Fickle(), here.judge, here.assets)
    job = await here.ended(await jobs.train(labels_file(40), "mine", HeadOptions()))
    assert (job.state, job.error_code) == ("failed", "PRECONDITION")


async def test_error_of_ours_within_a_job_is_told_as_internal(here: World) -> None:
    class Broken(WordEmbedder):
        async def embed(self, texts):
            raise ZeroDivisionError

    jobs = ValuesTraining(Broken(), here.judge, here.assets)
    job = await here.ended(await jobs.train(labels_file(40), "mine", HeadOptions()))
    assert (job.state, job.error_code) == ("failed", "INTERNAL")
    assert "request id" in job.error_message


async def test_judge_is_held_against_labels_and_the_record_kept(here: World) -> None:
    job = await here.ended(await here.jobs.evaluate(judged_rows(90), "word-judge", JudgeOptions()))
    assert (job.state, job.error_message) == ("succeeded", "")
    record = unpack_judge(await here.assets.content(job.sha256))
    assert (record.judged, record.unscored, record.calibrated) == (90, 0, True)
    by_value = {item.value: item for item in record.agreement}
    assert by_value["security"].status == "measured"
    assert by_value["security"].kappa.value > 0.9
    assert by_value["power"].status == "too_few_labels"
    assert by_value["security"].train_labels == {}


async def test_judge_is_asked_about_no_more_dialogues_than_the_limit(here: World) -> None:
    job = await here.ended(await here.jobs.evaluate(judged_rows(90), "word-judge", JudgeOptions(limit=12)))
    assert job.facts["judged"] == 12
    assert len(here.judge.asked) == 30 * (12 + 3)  # and three content-free texts


async def test_dialogues_that_cannot_be_scored_are_counted(here: World) -> None:
    here.judge.fails = " 7"
    job = await here.ended(await here.jobs.evaluate(judged_rows(60), "word-judge", JudgeOptions()))
    assert job.facts["unscored"] == len(VALUES)


async def test_jobs_of_one_kind_are_not_those_of_the_other(here: World) -> None:
    job = await here.ended(await here.jobs.evaluate(judged_rows(30), "word-judge", JudgeOptions()))
    assert await here.jobs.get("judge", job.id) is job
    with pytest.raises(NotFoundError):
        await here.jobs.get("head", job.id)
    with pytest.raises(NotFoundError):
        await here.jobs.get("judge", "0" * 64)


async def test_closing_stops_jobs_and_takes_no_more(here: World) -> None:
    await here.jobs.train(labels_file(100), "mine", HeadOptions())
    await here.jobs.aclose()
    with pytest.raises(NotReadyError):
        await here.jobs.train(labels_file(10), "mine", HeadOptions())


def test_text_part_is_reply_or_dialogue() -> None:
    assert (text_part(""), text_part("reply"), text_part("dialogue")) == ("reply", "reply", "dialogue")
    with pytest.raises(InvalidInputError, match="thought"):
        text_part("thought")


async def test_name_that_no_asset_can_have_is_refused_before_the_work(here: World) -> None:
    with pytest.raises(InvalidInputError, match="an asset's name"):
        await here.jobs.train(labels_file(10), "No Name", HeadOptions())
    with pytest.raises(InvalidInputError, match="an asset's name"):
        await here.jobs.evaluate(judged_rows(3), "../x", JudgeOptions())


async def test_jobs_beyond_the_most_that_may_wait_are_refused(here: World) -> None:
    data = judged_rows(3)
    # The turn is taken until the test is over, so that no job ends while others are sent.
    await here.jobs._turn.acquire()
    for seed in range(MAX_WAITING_JOBS):
        await here.jobs.evaluate(data, "mine", JudgeOptions(seed=seed))
    with pytest.raises(OverloadedError, match="wait already"):
        await here.jobs.evaluate(data, "mine", JudgeOptions(seed=MAX_WAITING_JOBS))
    # One that is known is joined.
    await here.jobs.evaluate(data, "mine", JudgeOptions(seed=MAX_WAITING_JOBS - 1))
    here.jobs._turn.release()
    await here.jobs.aclose()
