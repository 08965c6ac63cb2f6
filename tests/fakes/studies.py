"""Small studies for tests, with prompts that the fake generator knows."""

from collections.abc import Sequence
from typing import Any

from services.orchestrator.study import Study, resolve

ENGLISH = (("privacy", "Privacy"), ("fairness", "Fairness"))


def other_set(topics: Sequence[tuple[str, str]] = ENGLISH) -> dict[str, Any]:
    """Another reference set for the same topics, which the fake generator knows."""
    return {
        "id": "other-set",
        "title": "Other set",
        "version": "1.0",
        "review_date": "2027-01-01",
        "steward": "tests",
        "responsible": "tests",
        "source": "none",
        "principles": [{"id": "law", "heading": "Law", "text": "Other: process it lawfully."}],
        "topics": {id_: ["law"] for id_, _ in topics},
    }


def study_json(
    topics: Sequence[tuple[str, str]] = ENGLISH, principles: int = 10, iterations: int = 2, **changes: Any
) -> dict[str, Any]:
    """A resolved study as JSON-able data; ``changes`` replaces top-level keys. No control is trained, and
    two samples are drawn, unless they say so."""
    data: dict[str, Any] = {
        "name": "test-study",
        "topics": [{"id": id_, "title": title, "description": f"About {title}."} for id_, title in topics],
        "reference_set": {
            "id": "test-set",
            "title": "Test set",
            "version": "1.0",
            "review_date": "2027-01-01",
            "steward": "tests",
            "responsible": "tests",
            "source": "none",
            "principles": [{"id": "truth", "heading": "Truth", "text": "You shall tell the truth."}],
            "topics": {id_: ["truth"] for id_, _ in topics},
        },
        "prompt_set": {
            "id": "test-prompts",
            "title": "Test prompts",
            "version": "1.0",
            "stages": {
                "original": {"user": "P1 {topic}"},
                "aligned": {"user": "P2 {principle} / {reference_principles}"},
                "realigned": {"user": "P3 {principle}"},
            },
        },
        "principles_per_topic": principles,
        "seed": 7,
        "stop": {"max_iterations": iterations, "min_relative_improvement": -1.0},
        "arms": {"training_seeds": 1, "controls": []},
        "measurement": {"samples": 2, "resamples": 200, "permutations": 200},
        **changes,
    }
    return resolve(Study.model_validate(data)).as_json()
