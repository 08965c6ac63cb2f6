"""What the guards are given beside the evidence, and the views on it that they share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.analysis.derived import sample
from services.orchestrator.analysis.evidence import Arm, ArmKind, Evidence, Key
from services.orchestrator.analysis.results import ArmResult, Contrast, Scale
from services.orchestrator.analysis.statistics.bootstrap import Bootstrap

MAX_RESAMPLES: Final = 2_000
"""Resamples behind a guard's interval at most: the second figure of its ends is beyond its use."""

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GuardContext:
    """Results that the analysis has before the guards are asked.

    ``cheap``: texts of the arms that the analysis makes itself, by name ("constant", "copied") and input.
    """

    arms: tuple[ArmResult, ...]
    scale: Scale
    primary: Contrast | None
    cheap: Mapping[str, dict[Key, tuple[str, ...]]]


@dataclass(frozen=True)
class Drawn:
    """Texts of arms of one kind on the test inputs, flat: n texts.

    ``inputs``: place of each text's input among the material's keys, ``seeds``: place of its arm, both (n,).
    """

    texts: tuple[str, ...]
    inputs: NDArray[np.intp]
    seeds: NDArray[np.intp]
    n_inputs: int
    n_seeds: int

    def matrix(self, values: Floats) -> Floats:
        """Mean of ``values`` (shape (n,)) by input and seed: (inputs, seeds), NaN where no text is."""
        cell = self.inputs * self.n_seeds + self.seeds
        size = self.n_inputs * self.n_seeds
        count = np.bincount(cell, minlength=size)
        with np.errstate(invalid="ignore"):
            mean = np.bincount(cell, weights=values, minlength=size) / np.where(count, count, np.nan)
        return np.asarray(mean.reshape(self.n_inputs, self.n_seeds), dtype=np.float64)

    def bounded(self, size: int, seed: int) -> "Drawn":
        """At most ``size`` of the texts, drawn by the seed."""
        chosen = np.array(sample(range(len(self.texts)), size, seed), dtype=np.intp)
        texts = tuple(self.texts[place] for place in chosen)
        return Drawn(texts, self.inputs[chosen], self.seeds[chosen], self.n_inputs, self.n_seeds)


class Material:
    """Views on the evidence that several guards need; each is made once, when it is first asked for."""

    def __init__(self, evidence: Evidence, context: GuardContext) -> None:
        self.evidence = evidence
        self.context = context
        self.gate: Mapping[str, Any] = evidence.study["gate"]
        self.seed = int(evidence.study["seed"])
        self.confidence = float(evidence.study["measurement"]["confidence"])
        self.resamples = min(int(evidence.study["measurement"]["resamples"]), MAX_RESAMPLES)
        self._bootstraps: dict[tuple[int, ...], Bootstrap] = {}
        targets, originals = evidence.targets(), evidence.texts(ArmKind.ORIGINAL.value)
        self.keys = tuple(key for key in evidence.keys("test") if key in targets and key in originals)
        self.topic_of = np.array([evidence.topic_ids.index(topic) for topic, _ in self.keys], dtype=np.intp)
        self.all_targets = targets
        self.all_originals = {key: texts[0] for key, texts in originals.items()}
        self.targets = tuple(targets[key] for key in self.keys)
        self.originals = tuple(self.all_originals[key] for key in self.keys)
        self.tuned_arms = evidence.of_kind(ArmKind.TUNED)

    @cached_property
    def tuned(self) -> Drawn:
        """Texts of the tuned arms, all training seeds and samples."""
        return self._drawn(self.tuned_arms)

    @cached_property
    def base(self) -> Drawn:
        """Texts of the base model under the third prompt."""
        return self._drawn(self.evidence.of_kind(ArmKind.BASE_P3))

    @cached_property
    def references(self) -> Drawn:
        """The target of each test input."""
        return self._drawn(self.evidence.of_kind(ArmKind.ALIGNED), slice(0, 1))

    @cached_property
    def second_references(self) -> Drawn:
        """Independent draws of the reference beside the target; no text where none were drawn."""
        return self._drawn(self.evidence.of_kind(ArmKind.ALIGNED), slice(1, None))

    @cached_property
    def train_targets(self) -> tuple[str, ...]:
        """Different reference texts that the model was trained on, sorted."""
        train = self.evidence.keys("train")
        return tuple(sorted({self.all_targets[key] for key in train if key in self.all_targets}))

    def unit(self, texts: Sequence[str], encoder: str = "primary") -> Rows:
        """Unit rows of these texts: shape (n, dimension), float32. KeyError names a text without a row."""
        rows = self.evidence.vectors[encoder].of(texts)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.where(length > 0, length, 1), dtype=np.float32)

    def bootstrap(self, strata: tuple[int, ...]) -> Bootstrap:
        """The resamples of clusters in these strata, under the run's seed."""
        if strata not in self._bootstraps:
            names = [str(stratum) for stratum in strata]
            self._bootstraps[strata] = Bootstrap(names, self.resamples, self.confidence, self.seed)
        return self._bootstraps[strata]

    def why_not_run(self, name: str, otherwise: str) -> str:
        """Why a probe was not run, as the run says it, or ``otherwise``."""
        return str(self.evidence.facts.get("not_run", {}).get(name, otherwise))

    def _drawn(self, arms: Sequence[Arm], samples: slice = slice(None)) -> Drawn:
        place = {key: number for number, key in enumerate(self.keys)}
        rows = [
            (text, place[key], seed)
            for seed, arm in enumerate(arms)
            for key, texts in self.evidence.texts(arm.name).items()
            if key in place
            for text in texts[samples]
        ]
        return Drawn(
            tuple(text for text, _, _ in rows),
            np.array([key for _, key, _ in rows], dtype=np.intp),
            np.array([seed for _, _, seed in rows], dtype=np.intp),
            len(self.keys),
            max(1, len(arms)),
        )
