"""The swap proof, with numbers worked out by hand."""

import math

import pytest

from services.common.errors import PreconditionError
from services.generator.canary import prove
from services.generator.types import Canary, Prompt, Score

PROMPT = Prompt(({"role": "user", "content": "?"},))


def canary(adapter: float, base: float, tokens: int = 4) -> Canary:
    return Canary(PROMPT, "text", adapter, base, tokens)


def test_prove_agreeing_scores_reports_error_limit_and_shift() -> None:
    proof = prove("a", [canary(-100.0, -150.0)], [Score(-100.5, 4)], [Score(-151.0, 4)], 0.01)
    assert proof.canaries == 1
    assert proof.max_relative_error == pytest.approx(0.005)
    # 1 % of 100 nats and 0.1 * sqrt(4) nats, over 100 nats.
    assert proof.tolerance == pytest.approx(0.012)
    assert proof.mean_shift_nats == pytest.approx(50.5)


def test_prove_facts_measured_in_bf16_passes() -> None:
    prove("a", [canary(-189.5, -275.0, 57)], [Score(-190.0, 57)], [Score(-277.1, 57)], 0.01)


def test_prove_error_beyond_tolerance_names_both_numbers() -> None:
    with pytest.raises(PreconditionError, match=r"-102\.0000 here and -100\.0000 in the trainer"):
        prove("a", [canary(-100.0, -150.0)], [Score(-102.0, 4)], [Score(-150.0, 4)], 0.01)


def test_prove_base_text_served_instead_of_adapter_refused() -> None:
    with pytest.raises(PreconditionError, match="does not answer as it did in training"):
        prove("a", [canary(-100.0, -150.0)], [Score(-150.0, 4)], [Score(-150.0, 4)], 0.01)


def test_prove_small_expected_shift_but_none_seen_has_no_effect() -> None:
    with pytest.raises(PreconditionError, match="no effect"):
        prove("a", [canary(-100.0, -100.2)], [Score(-100.2, 4)], [Score(-100.2, 4)], 0.01)


def test_prove_small_expected_shift_and_small_one_seen_passes() -> None:
    proof = prove("a", [canary(-100.0, -100.2)], [Score(-100.0, 4)], [Score(-100.1, 4)], 0.01)
    assert proof.mean_shift_nats == pytest.approx(0.1)


def test_prove_base_moved_by_the_adapter_refused() -> None:
    # The base is 3 nats off; 1 % of 106 and 0.1 * sqrt(4) are allowed: 1.26.
    with pytest.raises(PreconditionError, match=r"base model no longer answers as the base: canary 0"):
        prove("a", [canary(-100.0, -106.0)], [Score(-100.0, 4)], [Score(-103.0, 4)], 0.01)
    prove("a", [canary(-100.0, -106.0)], [Score(-100.0, 4)], [Score(-105.0, 4)], 0.01)


def test_prove_shift_within_rounding_errors_measured_on_smollm2_passes() -> None:
    prove("a", [canary(-40.0, -40.6, 10)], [Score(-40.1, 10)], [Score(-40.2, 10)], 0.01)


def test_prove_nan_from_engine_refused() -> None:
    with pytest.raises(PreconditionError):
        prove("a", [canary(-100.0, -150.0)], [Score(math.nan, 4)], [Score(-150.0, 4)], 0.01)


def test_prove_other_token_count_blames_tokenizer() -> None:
    with pytest.raises(PreconditionError, match="5 tokens here and 4 in the trainer"):
        prove("a", [canary(-100.0, -150.0)], [Score(-100.0, 5)], [Score(-150.0, 5)], 0.01)


def test_prove_sure_text_has_absolute_slack() -> None:
    # 16 tokens at -0.5 nats in all: slack 0.4 nats.
    proof = prove("a", [canary(-0.5, -9.0, 16)], [Score(-0.6, 16)], [Score(-9.0, 16)], 0.01)
    assert proof.tolerance == pytest.approx(0.81)
