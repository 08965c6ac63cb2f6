"""What a bundle says that happened: its completions, and the sets that the study holds in full."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pydantic import ValidationError

from services.orchestrator.analysis.archives import read_jsonl
from services.orchestrator.analysis.evidence import Key, text_sha256
from services.orchestrator.domain.prompts import PromptSet
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.domain.topics import Topic
from services.orchestrator.schemas import PromptSetDocument, ReferenceSetDocument, TopicDocument


@dataclass(frozen=True, slots=True)
class Completion:
    """One draw as it was stored. ``principle`` is the parsed text, empty if ``outcome`` is not "ok"."""

    arm: str
    topic_id: str
    index: int
    draw: int
    text: str
    principle: str
    outcome: str
    finish_reason: str
    completion_tokens: int
    adapter: str
    adapter_sha256: str

    @property
    def key(self) -> Key:
        return self.topic_id, self.index


@dataclass(frozen=True, slots=True)
class Sets:
    """The study's topics and sets.

    ``other`` is what the arm "other" was trained on, None if the study names none; ``endpoint`` is True if
    the prompts went to an endpoint of somebody else's.
    """

    topics: Mapping[str, Topic]
    reference: ReferenceSet
    other: ReferenceSet | None
    prompts: PromptSet
    endpoint: bool = False


_NUMBERS = frozenset({"index", "draw", "completion_tokens"})
_NAMES = frozenset(field.name for field in fields(Completion)) | {"sha256"}


def read_completions(name: str, data: bytes) -> tuple[Completion, ...]:
    """The lines of completions.jsonl. ValueError names a line that is malformed or has another sha256."""
    return tuple(_completions(name, data))


def _completions(name: str, data: bytes) -> Iterator[Completion]:
    for number, line in read_jsonl(name, data):
        if set(line) != _NAMES:
            raise ValueError(f"{name} line {number}: its keys are {sorted(line)}, expected {sorted(_NAMES)}")
        for key, value in line.items():
            if type(value) is not (int if key in _NUMBERS else str):
                raise ValueError(f"{name} line {number}: {key} is {value!r}")
        digest = line.pop("sha256")
        completion = Completion(**line)
        if digest != _sha256(name, number, completion.text):
            raise ValueError(f"{name} line {number}: the text's sha256 is not {digest}: the text was changed")
        yield completion


def _sha256(name: str, number: int, text: str) -> str:
    try:
        return text_sha256(text)
    except ValueError as error:  # a lone surrogate, which JSON can escape
        raise ValueError(f"{name} line {number}: {error}") from error


def by_arm(completions: Sequence[Completion]) -> dict[str, list[Completion]]:
    """Completions by arm, arms by name."""
    found: dict[str, list[Completion]] = {}
    for completion in completions:
        found.setdefault(completion.arm, []).append(completion)
    return dict(sorted(found.items()))


def read_sets(study: Mapping[str, Any]) -> Sets:
    """Topics and sets of a resolved study. ValueError for a study in which they are not written out."""
    try:
        topics = tuple(TopicDocument.model_validate(topic).to_domain() for topic in study["topics"])
        other = (study.get("arms") or {}).get("other_reference_set")
        return Sets(
            topics={topic.id: topic for topic in topics},
            reference=ReferenceSetDocument.model_validate(study["reference_set"]).to_domain(),
            other=ReferenceSetDocument.model_validate(other).to_domain() if isinstance(other, dict) else None,
            prompts=PromptSetDocument.model_validate(study["prompt_set"]).to_domain(),
            endpoint=study.get("endpoint") is not None,
        )
    except (ValidationError, KeyError, TypeError) as error:
        raise ValueError(f"study.json: {error}") from error
