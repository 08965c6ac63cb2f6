"""One way of measuring: an encoder, and what is done to the texts before it. Value differences of arms by it.

Only test inputs are measured. Samples of an input are averaged first; training seeds stay apart, since they
are a source of chance of their own.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.analysis.cheap import cheap_arms
from services.orchestrator.analysis.evidence import ArmKind, Evidence, Key
from services.orchestrator.analysis.statistics import pairs
from services.orchestrator.analysis.statistics.bootstrap import Bootstrap, Column
from services.orchestrator.domain.difference import unit_rows

Floats: TypeAlias = NDArray[np.float64]
Texts: TypeAlias = Mapping[Key, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Measured:
    """Value differences of the arms of one kind, by training seed and input.

    ``differences``: to the own reference text; ``others``: to those of the topic's other inputs (NaN where
    there is none); both of shape (training seeds, inputs). ``missing``: test inputs without a text.
    """

    kind: ArmKind
    keys: tuple[Key, ...]
    differences: Floats
    others: Floats
    outputs: int
    training_seeds: int
    missing: int

    def column(self, keys: tuple[Key, ...], others: bool = False) -> Column:
        """The values of these inputs, in this order."""
        values = self.others if others else self.differences
        if keys != self.keys:
            place = {key: number for number, key in enumerate(self.keys)}
            values = values[:, [place[key] for key in keys]]
        return Column(values, self.kind.value if self.training_seeds else "")


class Instrument:
    """Measures a run's evidence with one encoder ("primary" or "second")."""

    def __init__(
        self,
        evidence: Evidence,
        vectors: str = "primary",
        transform: Callable[[str], str] | None = None,
        cheap: Mapping[str, Texts] | None = None,
    ) -> None:
        """``transform`` changes every text, references too, before it is looked up among the vectors.

        ``cheap``: texts of the arms that nobody generated; by default they are made from the evidence.
        """
        self.evidence = evidence
        self._vectors = evidence.vectors[vectors]
        self._transform = transform
        self._cheap = cheap
        self._measured: dict[tuple[ArmKind, ArmKind], Measured | None] = {}
        self._bootstraps: dict[tuple[str, ...], Bootstrap] = {}

    @cached_property
    def test(self) -> tuple[Key, ...]:
        """Test inputs, in the study's order."""
        return self.evidence.keys("test")

    @cached_property
    def _texts(self) -> dict[str, dict[Key, tuple[str, ...]]]:
        """Texts on test inputs by arm and input, in order of sample: one pass over the outputs."""
        wanted = set(self.test)
        found: dict[str, dict[Key, list[tuple[int, str]]]] = {}
        for output in self.evidence.outputs:
            if output.key in wanted:
                mine = found.setdefault(output.arm, {}).setdefault(output.key, [])
                mine.append((output.sample, output.text))
        return {
            arm: {key: tuple(text for _, text in sorted(rows)) for key, rows in by_key.items()}
            for arm, by_key in found.items()
        }

    def texts(self, kind: ArmKind) -> list[Texts]:
        """Texts on test inputs of the arms of a kind, one mapping an arm, by training seed."""
        if kind in (ArmKind.CONSTANT, ArmKind.COPIED):
            if self._cheap is None:
                self._cheap = cheap_arms(self.evidence)
            made = self._cheap.get(kind.value)
            return [made] if made else []
        arms = [self._texts.get(arm.name, {}) for arm in self.evidence.of_kind(kind)]
        return [arm for arm in arms if arm]

    def references(self, kind: ArmKind = ArmKind.ALIGNED) -> dict[Key, str]:
        """The first reference text of each test input."""
        names = [arm.name for arm in self.evidence.of_kind(kind)]
        mine = self._texts.get(names[0], {}) if names else {}
        return {key: mine[key][0] for key in self.test if key in mine}

    def rows(self, texts: list[str]) -> NDArray[np.float32]:
        """Embeddings, shape (n, dimension). KeyError names a text that was not embedded."""
        return self._vectors.of([self._transform(text) for text in texts] if self._transform else texts)

    def measure(self, kind: ArmKind, reference: ArmKind = ArmKind.ALIGNED) -> Measured | None:
        """The arms of a kind against the reference texts of ``reference``; None if there is no text.

        An input counts if every arm of the kind has a text for it and it has a reference text. The aligned
        arm is measured by its further draws.
        """
        if (kind, reference) not in self._measured:
            self._measured[kind, reference] = self._measure(kind, reference)
        return self._measured[kind, reference]

    def _measure(self, kind: ArmKind, reference: ArmKind) -> Measured | None:
        arms = self.texts(kind)
        if kind is reference:
            arms = [{key: texts[1:] for key, texts in arm.items() if len(texts) > 1} for arm in arms]
        goals = self.references(reference)
        keys = tuple(key for key in self.test if key in goals and all(key in arm for arm in arms))
        if not arms or not keys:
            return None
        targets = unit_rows(self.rows([goals[key] for key in keys]))
        groups = company(keys)
        differences, others = [], []
        for arm in arms:
            counts = [len(arm[key]) for key in keys]
            sums = pairs.unit_sums(self.rows([text for key in keys for text in arm[key]]), counts)
            means = sums / np.asarray(counts, dtype=np.float64)[:, None]
            differences.append(pairs.own(means, targets))
            others.append(pairs.others(means, targets, groups))
        trained = [arm for arm in self.evidence.of_kind(kind) if arm.training_seed is not None]
        return Measured(
            kind=kind,
            keys=keys,
            differences=np.stack(differences),
            others=np.stack(others),
            outputs=sum(len(arm[key]) for arm in arms for key in keys),
            training_seeds=len(arms) if trained else 0,
            missing=len(self.test) - len(keys),
        )

    @cached_property
    def ceiling(self) -> tuple[tuple[Key, ...], Column] | None:
        """Mean difference of all pairs of an input's reference texts; None if none has two."""
        drawn = self.texts(ArmKind.ALIGNED)
        keys = tuple(key for key in self.test if drawn and len(drawn[0].get(key, ())) > 1)
        if not keys:
            return None
        counts = [len(drawn[0][key]) for key in keys]
        sums = pairs.unit_sums(self.rows([text for key in keys for text in drawn[0][key]]), counts)
        return keys, Column(pairs.within(sums, counts)[None])

    @cached_property
    def register_only(self) -> tuple[tuple[Key, ...], Column] | None:
        """Reference texts against those of the topic's other inputs; None without any such pair."""
        goals = self.references()
        keys = with_others(tuple(goals))
        if not keys:
            return None
        rows = unit_rows(self.rows([goals[key] for key in keys]))
        return keys, Column(pairs.others(rows, rows, company(keys))[None])

    def bootstrap(self, keys: tuple[Key, ...]) -> Bootstrap:
        """The resamples of these inputs, under the run's seed."""
        settings = self.evidence.study["measurement"]
        topics = tuple(topic for topic, _ in keys)
        if topics not in self._bootstraps:
            self._bootstraps[topics] = Bootstrap(
                topics, settings["resamples"], settings["confidence"], self.evidence.study["seed"]
            )
        return self._bootstraps[topics]


def company(keys: Sequence[Key]) -> list[str]:
    """By input, the group whose other inputs it is held against: its topic.

    Where no topic has two inputs, all inputs together are one group.
    """
    topics = [topic for topic, _ in keys]
    return topics if len(set(topics)) < len(topics) else [""] * len(topics)


def with_others(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    """The inputs whose group has another one."""
    groups = company(keys)
    sizes = Counter(groups)
    return tuple(key for key, group in zip(keys, groups, strict=True) if sizes[group] > 1)
