"""A run's texts in value space: who is asked, once, and how the distance enters the weights."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from services.orchestrator.analysis.evidence import Arm, ArmKind, Output
from services.orchestrator.analysis.files import unpack_evidence
from services.orchestrator.analysis.values.agreement import Thresholds
from services.orchestrator.analysis.values.dimensions import VALUES
from services.orchestrator.analysis.values.head import fit_head, pack_head
from services.orchestrator.analysis.values.labels import read_labels
from services.orchestrator.analysis.values.record import JudgeRecord, pack_judge
from services.orchestrator.analysis.values.results import ValueAgreement
from services.orchestrator.analysis.values.space import value_space
from services.orchestrator.assets import AssetKind, AssetLibrary
from services.orchestrator.domain.weights import topic_weights
from services.orchestrator.loop.value_space import measure_values
from services.orchestrator.ports import RunStatus
from services.orchestrator.values_judge import questions_sha256
from tests.fakes.fake_embedder import embed
from tests.fakes.fake_generator import FINGERPRINT
from tests.fakes.studies import study_json
from tests.fulcra_shape import COMMON, labels_file


def scored(world: Any) -> int:
    """Scores that the values were asked for."""
    asked = world.fakes.generator.asked
    return sum(
        count
        for key, count in asked.items()
        if "|score|" in key and key.endswith(("important", "none", "opposed"))
    )


def recomputed(world: Any) -> Any:
    place = world.report().evidence
    return value_space(unpack_evidence(world.artifacts.get_bytes(place.uri, place.sha256)))


@cache
def head_bytes(fingerprint: str, spoken: bool = True) -> bytes:
    file = read_labels(labels_file(150).decode())
    rows = np.stack([embed(row.reply) for row in file.rows]).astype(np.float32)
    thresholds = Thresholds() if spoken else Thresholds(train=10_000)
    return pack_head(
        fit_head(
            file.rows,
            rows,
            encoder="fake/encoder",
            encoder_fingerprint=fingerprint,
            text="reply",
            thresholds=thresholds,
        )
    )


async def kept(world: Any, kind: AssetKind, data: bytes) -> str:
    return (await AssetLibrary(world.store.assets, world.artifacts).put(kind, "made", data)).sha256


def judge_record(fingerprint: str = FINGERPRINT, calibrated: bool = True) -> bytes:
    agreement = tuple(
        ValueAgreement(
            value=value,
            status="measured" if value in ("security", "power") else "too_few_labels",
            reason="" if value in ("security", "power") else "3 labels",
            labels={"important": 20, "none": 20, "opposed": 20},
        )
        for value in VALUES
    )
    labels = read_labels(labels_file(2).decode()).counts
    return pack_judge(
        JudgeRecord(
            model="fake/model",
            model_fingerprint=fingerprint,
            questions_sha256=questions_sha256(),
            calibrated=calibrated,
            data_sha256="d" * 64,
            labels=labels,
            judged=60,
            seed=0,
            agreement=agreement,
        )
    )


async def test_run_without_an_evaluator_asks_nothing_about_values(world) -> None:
    await world.run(world.context(study_json()))
    assert world.report().values is None
    assert scored(world) == 0


async def test_judge_in_a_run_gives_vectors_of_base_aligned_and_tuned_texts(world) -> None:
    await world.run(world.context(study_json(values={"evaluator": "judge"})))
    space = world.report().values
    assert [arm.kind for arm in space.arms] == ["original", "aligned", "base_p3", "tuned"]
    assert (space.evaluator, space.evaluator_sha256, space.agreement) == ("judge", FINGERPRINT, "unknown")
    assert space.calibrated
    for arm in space.arms:
        assert set(arm.topics) == {"privacy", "fairness"}
        assert None not in arm.pooled.scores.values()
        assert arm.pooled.distance.n == 4
    assert {one.against for one in space.contrasts} == {"base_p3", "original"}
    assert recomputed(world) == space
    place = world.report().evidence
    outputs = unpack_evidence(world.artifacts.get_bytes(place.uri, place.sha256)).probes["values"]["outputs"]
    assert len(outputs) == 4 * 2 * 2  # two test inputs of two topics, four arms, sample 0 alone
    assert scored(world) <= 30 * (16 + 3)


async def test_text_is_asked_about_once_a_run_also_after_a_restart(world) -> None:
    study = study_json(values={"evaluator": "judge"})
    arms = (Arm("original", ArmKind.ORIGINAL), Arm("base_p3", ArmKind.BASE_P3))
    outputs = [Output(arm.name, "privacy", index, 0, f"text {index}") for arm in arms for index in range(4)]
    outputs.append(Output("original", "privacy", 9, 0, "not asked for"))
    outputs.append(Output("original", "privacy", 0, 1, "another sample"))
    keys = {("privacy", index) for index in range(4)}
    first = await measure_values(world.context(study), arms, outputs, keys)
    assert scored(world) == 30 * (4 + 3)  # both arms say the same; three content-free texts
    again = await measure_values(world.context(study), arms, outputs, keys)
    assert scored(world) == 30 * (4 + 3)
    assert again == first
    assert len(first["outputs"]) == 8


async def test_uncalibrated_judge_is_not_asked_content_free_questions(world) -> None:
    study = study_json(values={"evaluator": "judge", "calibrate": False})
    outputs = [Output("original", "privacy", 0, 0, "text")]
    probe = await measure_values(
        world.context(study), (Arm("original", ArmKind.ORIGINAL),), outputs, {("privacy", 0)}
    )
    assert scored(world) == 30
    assert (probe["calibrate"], probe["prior"]) == (False, {})


async def test_judge_held_against_labels_speaks_only_where_it_may(world) -> None:
    sha256 = await kept(world, AssetKind.VALUES_AGREEMENT, judge_record())
    await world.run(world.context(study_json(values={"evaluator": "judge", "agreement": sha256})))
    space = world.report().values
    assert space.agreement == "measured"
    assert [one.value for one in space.dimensions if one.spoken] == ["power", "security"]
    assert space.arms[0].pooled.scores["benevolence"] is None
    assert recomputed(world) == space


@pytest.mark.parametrize(
    ("record", "what"), [(judge_record("a" * 64), "model"), (judge_record(calibrated=False), "calibration")]
)
async def test_agreement_of_another_judge_ends_the_run_before_it_draws(world, record, what) -> None:
    sha256 = await kept(world, AssetKind.VALUES_AGREEMENT, record)
    await world.run(world.context(study_json(values={"evaluator": "judge", "agreement": sha256})))
    run = world.store.get_run("r-1")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "PRECONDITION")
    assert f"another {what}" in run.error_message
    assert not world.fakes.generator.asked


async def test_head_in_a_run_speaks_of_the_values_it_has_labels_for(world) -> None:
    sha256 = await kept(world, AssetKind.VALUES_HEAD, head_bytes("e" * 64))
    await world.run(world.context(study_json(values={"evaluator": "head", "head": sha256})))
    space = world.report().values
    assert (space.evaluator, space.evaluator_sha256) == ("head", sha256)
    assert {one.value for one in space.dimensions if one.spoken} == set(COMMON)
    assert space.arms[0].pooled.scores["hedonism"] is None
    assert space.dimensions[3].agreement.kappa is not None
    assert recomputed(world) == space
    assert scored(world) == 0


async def test_head_of_another_encoder_ends_the_run_before_it_draws(world) -> None:
    sha256 = await kept(world, AssetKind.VALUES_HEAD, head_bytes("d" * 64))
    await world.run(world.context(study_json(values={"evaluator": "head", "head": sha256})))
    run = world.store.get_run("r-1")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "PRECONDITION")
    assert "train a head on this encoder" in run.error_message
    assert not world.fakes.generator.asked


async def test_share_of_the_distance_in_the_weights_is_mixed_recorded_and_shown(world) -> None:
    study = study_json(values={"evaluator": "judge", "weight": 0.25})
    await world.run(world.context(study))
    report = world.report()
    told = [event.data for event in world.events("values.weighed")]
    weighings = report.values.weighings
    assert [one.iteration for one in weighings] == [0, 1, 2]
    assert [one["weights"] for one in told] == [one.weights for one in weighings]
    for one in weighings:
        by_cosine, by_value = topic_weights(one.differences), topic_weights(one.distances)
        for topic in one.weights:
            assert one.weights[topic] == pytest.approx(0.75 * by_cosine[topic] + 0.25 * by_value[topic])
    assert report.iterations[1].weights == pytest.approx(weighings[0].weights)
    assert report.iterations[2].weights == pytest.approx(weighings[1].weights)


async def test_without_a_share_the_weights_are_those_of_the_difference_alone(world) -> None:
    await world.run(world.context(study_json(values={"evaluator": "judge"})))
    assert world.events("values.weighed") == []
    assert world.report().values.weighings == ()


async def test_share_for_an_evaluator_that_may_speak_of_nothing_fails_with_the_remedy(world) -> None:
    sha256 = await kept(world, AssetKind.VALUES_HEAD, head_bytes("e" * 64, spoken=False))
    values = {"evaluator": "head", "head": sha256, "weight": 0.5}
    await world.run(world.context(study_json(values=values)))
    run = world.store.get_run("r-1")
    assert (run.status, run.error_code) == (RunStatus.FAILED, "PRECONDITION")
    assert "values.weight" in run.error_message


async def test_values_that_cannot_be_scored_are_told_as_not_run(world, monkeypatch) -> None:
    async def refuse(*_: Any) -> Any:
        from services.common.errors import PreconditionError

        raise PreconditionError("the endpoint gives no log-probabilities")

    monkeypatch.setattr("services.orchestrator.loop.value_space.judge_prior", refuse)
    await world.run(world.context(study_json(values={"evaluator": "judge"})))
    report = world.report()
    assert report.values is None
    assert "no log-probabilities" in report.analysis.not_run["values"]
