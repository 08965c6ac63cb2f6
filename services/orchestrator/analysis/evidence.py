"""Everything a verdict rests on: the texts that a run kept, their embeddings, scores and settings.

An ``Evidence`` is what the loop collects, what an audit bundle carries and what the analysis reads.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Key: TypeAlias = tuple[str, int]
"""(topic id, index) of an input: the place of one original principle."""


class ArmKind(StrEnum):
    """What an arm is for (docs/guides/statistics.md)."""

    ORIGINAL = "original"  # base model, first prompt: the paper's "before"
    ALIGNED = "aligned"  # the reference texts; sample 0 is the target, later ones independent draws
    BASE_P3 = "base_p3"  # base model, third prompt
    BASE_REFERENCE = "base_reference"  # base model, third prompt with the reference in context
    TUNED = "tuned"  # best checkpoint, or its recipe again under another training seed
    UNIFORM = "uniform"  # the same training with equal topic weights
    SHUFFLED = "shuffled"  # the same training on targets that belong to other inputs
    OTHER = "other"  # the same training towards another reference set
    ALIGNED_OTHER = "aligned_other"  # reference texts of that other set, for the same inputs
    CONSTANT = "constant"  # one central training target for every input; made by the analysis
    COPIED = "copied"  # the training target of the nearest training input; made by the analysis
    CHECKPOINT = "checkpoint"  # an iteration's adapter that was not chosen; validation only


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm: the name under which its completions are stored, and what it is.

    ``training_seed`` numbers the training seeds from 0; None for arms that train nothing.
    ``reference_set`` is the id of the set that the arm was trained on or written for, "" for none.
    """

    name: str
    kind: ArmKind
    training_seed: int | None = None
    reference_set: str = ""
    adapter: str = ""
    adapter_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """One kept text: the principle that an arm gives for an input in one sample (0, 1, …)."""

    arm: str
    topic_id: str
    index: int
    sample: int
    text: str

    @property
    def key(self) -> Key:
        return self.topic_id, self.index


class Vectors:
    """Embeddings of one encoder by text. Rows are float32 as the encoder gave them, not normalised."""

    def __init__(
        self, texts: Sequence[str], rows: NDArray[np.float32], encoder: str, fingerprint: str
    ) -> None:
        """``texts``: n different texts; ``rows``: shape (n, dimension). ValueError if they do not match."""
        if len(texts) != len(rows) or len(set(texts)) != len(texts):
            raise ValueError(f"{len(texts)} texts ({len(set(texts))} different) and {len(rows)} rows")
        self.texts = tuple(texts)
        self.rows = rows
        self.encoder = encoder
        self.fingerprint = fingerprint
        self._place = {text: place for place, text in enumerate(self.texts)}

    def __contains__(self, text: object) -> bool:
        return text in self._place

    def of(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Rows of these texts, shape (n, dimension). KeyError names a text that was not embedded."""
        return self.rows[[self._place[text] for text in texts]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it.

    ``study``: the resolved study as JSON-able data (``ResolvedStudy.as_json``).
    ``split``: part ("train", "validation", "test") -> topic id -> indices. In a run that only measured,
    every input is in "test".
    ``outputs``: kept texts of all arms that generated, any order.
    ``vectors``: "primary" always, "second" where a second encoder was there. They hold at least every
    text that ``derived.required_texts`` names.
    ``probes``: scored material by name, JSON-able: "utility", "polarity", "tasks", "values"; a probe that
    was not run is missing.
    ``facts``: JSON-able: "iterations", "best_iteration", "stop_reason", "uncontrolled" (list of what could
    not be controlled), "not_run" (probe or arm name -> why).
    """

    study: Mapping[str, Any]
    topic_ids: tuple[str, ...]
    split: Mapping[str, Mapping[str, tuple[int, ...]]]
    arms: tuple[Arm, ...]
    outputs: tuple[Output, ...]
    vectors: Mapping[str, Vectors]
    probes: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def keys(self, part: str) -> tuple[Key, ...]:
        """Inputs of a part, in the study's order of topics and then by index."""
        return tuple((topic, index) for topic in self.topic_ids for index in self.split[part].get(topic, ()))

    def of_kind(self, kind: ArmKind) -> tuple[Arm, ...]:
        """Arms of a kind, by training seed."""
        found = [arm for arm in self.arms if arm.kind is kind]
        return tuple(sorted(found, key=lambda arm: (arm.training_seed or 0, arm.name)))

    def texts(self, arm: str) -> dict[Key, tuple[str, ...]]:
        """Texts of an arm by input, in order of sample; inputs without a text are missing."""
        found: dict[Key, list[tuple[int, str]]] = {}
        for output in self.outputs:
            if output.arm == arm:
                found.setdefault(output.key, []).append((output.sample, output.text))
        return {key: tuple(text for _, text in sorted(rows)) for key, rows in sorted(found.items())}

    def targets(self) -> dict[Key, str]:
        """The reference text of each input: sample 0 of the aligned arm."""
        return {
            output.key: output.text
            for output in self.outputs
            if output.arm == ArmKind.ALIGNED.value and output.sample == 0
        }


def text_sha256(text: str) -> str:
    """Sha256 (hex) of a text in UTF-8: its name in an audit bundle."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
