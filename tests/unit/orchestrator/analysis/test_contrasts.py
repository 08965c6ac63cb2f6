"""Contrasts of arms: by hand, masked, with another encoder, and with texts that are missing."""

from dataclasses import replace

import numpy as np
import pytest

from services.orchestrator.analysis.contrasts import PRIMARY, contrast
from services.orchestrator.analysis.evidence import Arm, ArmKind, Evidence, Output
from tests.evidence import make_evidence, vectors_of, with_vectors

TUNED, BASE = PRIMARY


def by_hand() -> Evidence:
    """Topic a: inputs 0 and 1; topic b: input 0. Cosines to the target are chosen."""
    cosines = {
        "base": {("a", 0): 0.2, ("a", 1): 0.4, ("b", 0): 0.6},
        "best": {("a", 0): 0.8, ("a", 1): 0.6, ("b", 0): 0.8},
    }
    texts, rows, outputs = ["target"], [[1.0, 0.0]], []
    for topic, index in cosines["base"]:
        outputs.append(Output("original", topic, index, 0, "target"))
        outputs.append(Output("aligned", topic, index, 0, "target"))
    for arm, mine in cosines.items():
        for (topic, index), cosine in mine.items():
            text = f"{arm} {topic} {index}"
            texts.append(text)
            rows.append([cosine, float(np.sqrt(1 - cosine**2))])
            outputs.append(Output("base_p3" if arm == "base" else "realigned-i1", topic, index, 0, text))
    return Evidence(
        study={
            "seed": 0,
            "measurement": {"confidence": 0.95, "resamples": 500, "permutations": 500},
        },
        topic_ids=("a", "b"),
        split={"train": {}, "validation": {}, "test": {"a": (0, 1), "b": (0,)}},
        arms=(
            Arm("original", ArmKind.ORIGINAL),
            Arm("aligned", ArmKind.ALIGNED),
            Arm("base_p3", ArmKind.BASE_P3),
            Arm("realigned-i1", ArmKind.TUNED, 0),
        ),
        outputs=tuple(outputs),
        vectors={"primary": vectors_of(np.array(rows, np.float32), texts)},
    )


def test_contrast_worked_example() -> None:
    found = contrast(by_hand(), TUNED, BASE)
    assert found is not None
    # Base: a (0.8 + 0.6) / 2 = 0.7, b 0.4, pooled 0.55. Tuned: a 0.3, b 0.2, pooled 0.25.
    assert found.difference.value == pytest.approx(0.3)
    assert found.reduction.value == pytest.approx(1 - 0.25 / 0.55)
    first, second = found.topics
    assert (first.topic, second.topic) == ("a", "b")
    assert first.difference.value == pytest.approx(0.4)
    assert second.difference.value == pytest.approx(0.2)
    # Differences of a: 0.6 and 0.2, of which both patterns of equal sign are as extreme: 2 of 4.
    assert first.p_value == pytest.approx(0.5)
    assert first.effect_size == pytest.approx(0.4 / np.std([0.6, 0.2], ddof=1))
    assert second.p_value is None
    # All three of one sign: 2 of 8.
    assert found.p_value == pytest.approx(0.25)
    assert found.difference.n == 3


def test_contrast_is_paired_on_common_inputs() -> None:
    evidence = by_hand()
    fewer = replace(evidence, outputs=tuple(each for each in evidence.outputs if each.text != "best a 1"))
    found = contrast(fewer, TUNED, BASE)
    assert found is not None
    # Without a 1 on both sides: base a 0.8, b 0.4; tuned a 0.2, b 0.2.
    assert found.difference.value == pytest.approx(0.4)
    assert found.difference.n == 2


def test_contrast_averages_samples_of_an_input_first() -> None:
    evidence = by_hand()
    again = Output("realigned-i1", "b", 0, 1, "base b 0")
    found = contrast(replace(evidence, outputs=(*evidence.outputs, again)), TUNED, BASE)
    assert found is not None
    assert found.topics[1].difference.value == pytest.approx(0.1)


def test_contrast_without_an_arm_is_none() -> None:
    assert contrast(by_hand(), ArmKind.UNIFORM, BASE) is None
    assert contrast(make_evidence(measure_only=True), *PRIMARY) is None


def test_contrast_against_texts_equal_to_the_target_is_none() -> None:
    # Originals are their own targets here: a reduction from 0 is no number.
    assert contrast(by_hand(), TUNED, ArmKind.ORIGINAL) is None


def test_contrast_transformed_texts_are_what_is_looked_up() -> None:
    evidence = make_evidence()
    masked = contrast(
        with_vectors(evidence, required=lambda _: {"primary": ["the same"]}, second=False),
        ArmKind.TUNED,
        ArmKind.BASE_P3,
        transform=lambda _: "the same",
    )
    assert masked is None  # every text equal: the pooled mean of base_p3 is 0


def test_contrast_unknown_text_is_named() -> None:
    with pytest.raises(KeyError, match="never embedded"):
        contrast(make_evidence(), TUNED, BASE, transform=lambda _: "never embedded")


def test_contrast_second_encoder_agrees_on_a_faithful_model() -> None:
    evidence = make_evidence(inputs=40)
    first, second = contrast(evidence, TUNED, BASE), contrast(evidence, TUNED, BASE, vectors="second")
    assert first is not None
    assert second is not None
    assert first.reduction.value != second.reduction.value
    assert second.reduction.value == pytest.approx(first.reduction.value, abs=0.1)


def test_contrast_untouched_model_interval_holds_zero() -> None:
    found = contrast(make_evidence(model="untouched", inputs=40), TUNED, BASE)
    assert found is not None
    assert found.reduction.low is not None
    assert found.reduction.high is not None
    assert found.reduction.low < 0 < found.reduction.high
    assert found.p_value is not None
    assert found.p_value > 0.05
