"""The gate with a real encoder on real sentences: what the synthetic evidence says has to hold there too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.orchestrator.analysis.compute import analyse
from services.orchestrator.analysis.evidence import ArmKind, Evidence, Vectors
from services.orchestrator.analysis.results import Analysis
from tests.unit.orchestrator.analysis.guards.sentences import Encoder, make_sentences

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encode(minilm: Path) -> Encoder:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm), device="cpu")
    known: dict[str, np.ndarray] = {}

    def rows(texts: list[str]) -> Vectors:
        different = list(dict.fromkeys(texts))
        new = [text for text in different if text not in known]
        if new:
            known.update(zip(new, model.encode(new, show_progress_bar=False), strict=True))
        return Vectors(different, np.stack([known[text] for text in different]), "all-MiniLM-L6-v2", "test")

    return rows


def _rejected(analysis: Analysis) -> set[str]:
    return {reason.rule for reason in analysis.verdict.reasons if reason.outcome == "reject"}


def test_gate_faithful_model_promotes(encode):
    evidence = make_sentences("faithful", encode)
    assert len(evidence.keys("test")) >= 30
    found = analyse(evidence)
    assert found.verdict.decision == "promote", found.verdict.headline


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        ("constant", {"specificity", "diversity", "subject", "copying"}),
        ("copied", {"specificity", "subject", "copying"}),
        ("shuffled", {"specificity", "subject", "control_shuffled"}),
        ("register", {"specificity", "subject"}),
        ("markers", {"leakage"}),
    ],
)
def test_gate_model_that_only_looks_good_rejects(encode, model, rules):
    found = analyse(make_sentences(model, encode))
    assert found.verdict.decision == "reject"
    assert rules <= _rejected(found)


def test_gate_model_that_says_you_shall_and_nothing_else_would_pass_without_the_masked_move(encode):
    """Its value difference falls, with the reference's markers masked too; only its content did not move."""
    found = analyse(make_sentences("markers", encode))
    assert found.primary.reduction.low > 0.3
    assert _rejected(found) == {"leakage"}
    measures = {item.name: item for guard in found.guards for item in guard.measures if guard.id == "leakage"}
    assert measures["masked_reduction"].low > 0
    assert abs(measures["content_move"].value) < 0.2


def test_gate_opposite_values_only_the_judge_of_polarity_sees_them(encode):
    """Sentence embeddings barely see a "not": the negated model passes unless a judge speaks."""
    clean = make_sentences("negated", encode)
    assert analyse(clean).verdict.decision == "promote"
    assert _rejected(analyse(_accused(clean))) == {"polarity"}


def _accused(evidence: Evidence) -> Evidence:
    """The judge says of every tuned text that it contradicts."""
    names = {arm.name for arm in evidence.of_kind(ArmKind.TUNED)}
    polarity = evidence.probes["polarity"]
    outputs = [
        {**item, "logprob_yes": -0.1, "logprob_no": -3.0} if item["arm"] in names else item
        for item in polarity["outputs"]
    ]
    return replace(evidence, probes={**evidence.probes, "polarity": {**polarity, "outputs": outputs}})
