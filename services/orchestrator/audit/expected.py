"""Everything of report.json that a bundle lets anybody compute again, and the rules for what it does not."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from services.orchestrator.analysis.compute import analyse
from services.orchestrator.analysis.evidence import ArmKind, Evidence
from services.orchestrator.analysis.gate import reviewed
from services.orchestrator.analysis.human_review import HumanReview, ReviewFile
from services.orchestrator.analysis.rated import review_results
from services.orchestrator.analysis.stage_one import freeze
from services.orchestrator.analysis.values.space import value_space
from services.orchestrator.audit.comparing import Rule
from services.orchestrator.audit.keeping import Kept
from services.orchestrator.audit.paper import paper_numbers
from services.orchestrator.domain.text import normalise

_SWAP = "the generator's swap proof: log-probabilities of canary texts, which need the model"
_TRAINING = "told by the trainer"
_TIME = "wall time"
_COST = "what the services and the clock told while it ran, and the plan before"
_IDENTITY = "identity of what was served and made: models, adapters, versions, hashes"
_RULER = "measured with the rows of a ruler, which its sha256 names and which is no part of the bundle"
_REVIEW = "where the review's frozen file lies; the file itself is in the bundle, and its sha256 is checked"
_REVISION = "who wrote this revision of the report, when and why"
_WORDS = "words about the run, no number of it"

TAKEN: Final = (
    Rule("timings_s.*", _TIME),
    Rule("external_s.*", _TIME),
    Rule("usage_s.**", _TIME),
    Rule("timings_s", _TIME),
    Rule("usage_s", _TIME),
    Rule("external_s", _TIME),
    Rule("cost.**", _COST),
    Rule("cost", _COST),
    Rule("created_at", _TIME),
    Rule("swap.loads[].**", _SWAP),
    Rule("swap", _SWAP),
    Rule("iterations[].training.*", _TRAINING),
    Rule("iterations[].training", _TRAINING),
    Rule("iterations[].adapter.*", _IDENTITY),
    Rule("iterations[].adapter", _IDENTITY),
    Rule("adapter.*", _IDENTITY),
    Rule("adapter", _IDENTITY),
    Rule("base_model", _IDENTITY),
    Rule("encoder", _IDENTITY),
    Rule("evidence.uri", _IDENTITY),
    Rule("provenance.*", _IDENTITY),
    Rule("provenance.versions.**", _IDENTITY),
    Rule("ruler.**", _RULER),
    Rule("human_review.file", _REVIEW),
    Rule("human_review.file_sha256", _REVIEW),
    Rule("revision.*", _REVISION),
    Rule("revision", _REVISION),
    Rule("schema_version", _WORDS),
    Rule("warnings[]", _WORDS),
    Rule("warnings", _WORDS),
    Rule("governance", _WORDS),
)

LOOSE: Final[Mapping[str, float]] = {
    # Computed while the run went on, from rows that were embedded in other batches, and encoders round by
    # batch: differences of one pair were seen to move by 2e-7.
    "topics": 1e-5,
    "overall": 1e-5,
    "iterations": 1e-5,
    "moved": 1e-5,
    "projection": 1e-3,
}
"""Parts of the report whose numbers need not agree to the last digits, and how far they must."""


def expected_report(
    run_id: str,
    evidence: Evidence,
    evidence_sha256: str,
    kept: Mapping[str, Kept],
    report: Mapping[str, Any],
    review: ReviewFile | None = None,
) -> dict[str, Any]:
    """Computed parts in report.json's shape. Of ``report`` only what it has is looked at, never a number.

    ``review``: the frozen file of the closed review that the report tells of.

    ValueError says which text or setting is missing.
    """
    study = evidence.study
    found: dict[str, Any] = {
        "run_id": run_id,
        "name": study["name"],
        "reference_set": study["reference_set"]["id"],
        "study": dict(study),
        "provenance": {
            "seeds": {"run": study["seed"]},
            "prompt_set": _version(study["prompt_set"]),
            "reference_set": _version(study["reference_set"]),
        },
        "counts": {arm: _counts(arm, kept) for arm in report.get("counts", {})},
        **paper_numbers(evidence),
    }
    for entry in found["iterations"]:
        arm = f"realigned-i{entry['iteration']}"
        places = {(*key, 0) for key in evidence.keys("validation")}
        entry["counts"] = kept[arm].counts(places) if arm in kept else None
    if report.get("evidence") is not None:
        found["evidence"] = {"sha256": evidence_sha256}
    if report.get("governance") is not None:
        told = study["reference_set"]
        found["governance"] = {name: told[name] for name in report["governance"] if name in told}
    if "analysis" in report:
        analysis = analyse(evidence)
        if review is not None:
            human = reviewed_by(review, evidence)
            analysis = reviewed(analysis, study["gate"], human)
            # Where the file lies, and its sha256, are told and checked apart.
            found["human_review"] = human.model_dump(mode="json", exclude={"file", "file_sha256"})
        found["analysis"] = analysis.model_dump(mode="json")
    if review is None and "human_review" in report:
        found["human_review"] = None
    if "values" in report:
        space = value_space(evidence)
        found["values"] = None if space is None else space.model_dump(mode="json")
    if study.get("ruler") is None and "ruler" in report:
        found["ruler"] = None
    return found


def reviewed_by(review: ReviewFile, evidence: Evidence) -> HumanReview:
    """Every number of a closed review, from its frozen file and the evidence."""
    _, stage = freeze(
        evidence,
        arms=review.arms,
        threshold=review.threshold,
        items_per_topic=review.items_per_topic,
        seed=review.seed,
    )
    return review_results(review, stage, evidence.topic_ids, evidence.study["measurement"])


def _counts(arm: str, kept: Mapping[str, Kept]) -> dict[str, Any]:
    # An arm of which nothing was asked has no completion.
    found = kept.get(arm, Kept({}, {}, None)).counts()
    if arm == ArmKind.ALIGNED.value:
        originals = kept[ArmKind.ORIGINAL.value].sample(0)
        aligned = kept[arm].sample(0)
        found["copied_original"] = sum(
            normalise(text) == normalise(originals[key]) for key, text in aligned.items() if key in originals
        )
    return found


def _version(document: Mapping[str, Any]) -> dict[str, str]:
    """Id, version and sha256 of a set: of its JSON with sorted keys and no spaces, in UTF-8."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return {"id": document["id"], "version": document["version"], "sha256": digest}
