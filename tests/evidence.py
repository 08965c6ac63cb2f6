"""Synthetic evidence whose truth is known: texts of subject, register and filler words, as bags of words.

A text's embedding is the normalised sum of its words' random vectors, so *any* text can be embedded (masked,
negated, shortened ones too), two texts lie near when they share words, and a second encoder is the same with
other vectors. Originals speak of a subject in the base model's register; references of the same subject in
the reference set's register; what the tuned model does is chosen:

    faithful   keeps the subject and speaks in the reference's register
    constant   one central training target, always
    copied     the training target whose original is nearest
    shuffled   the reference's register, but another input's subject
    untouched  what the base model says under the third prompt
"""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.orchestrator.analysis.derived import required_texts
from services.orchestrator.analysis.evidence import Arm, ArmKind, Evidence, Key, Output, Vectors
from services.orchestrator.domain.split import split_pairs
from tests.fakes.studies import study_json

Model: TypeAlias = Literal["faithful", "constant", "copied", "shuffled", "untouched"]
Texts: TypeAlias = dict[Key, str]
Rng: TypeAlias = np.random.Generator

REFERENCE = "test-set"
OTHER = "other-set"
_REGISTER = {
    REFERENCE: ("bear", "false", "witness", "against", "neighbor", "honor", "covet", "steal"),
    OTHER: ("personal", "data", "lawful", "controller", "processed", "erased", "purpose", "consent"),
}
_OPENING = {REFERENCE: ("You", "shall"), OTHER: ("Data", "must")}
_BASE_REGISTER = ("system", "model", "users", "developers", "responsible", "ethical", "design", "output")
_SYLLABLES = ("ba", "ko", "ri", "tu", "ven", "sol", "mi", "dar", "pel", "no", "gra", "fi", "lum", "se", "qua")
_SUBJECT_WORDS, _VOCABULARY, _FILLERS, _CHUNK = 6, 60, 300, 20_000


def make_evidence(
    topics: int | Sequence[str] = 3,
    inputs: int = 30,
    samples: int = 3,
    model: Model = "faithful",
    seed: int = 0,
    seeds: int = 2,
    *,
    reference_samples: int = 2,
    dimension: int = 128,
    controls: Sequence[str] = ("uniform", "shuffled", "other"),
    probes: bool = False,
    second: bool = True,
    measure_only: bool = False,
    required: Callable[[Evidence], Mapping[str, Iterable[str]]] | None = None,
    **study: Any,
) -> Evidence:
    """Evidence of a run of ``topics`` topics (number or ids) with ``inputs`` inputs each.

    Args:
        samples: texts per test input of every arm that generates.
        model: what the tuned model (``seeds`` training seeds) does; controls behave as they should.
        reference_samples: reference texts per test input; 1 leaves no ceiling.
        controls: training arms beside the tuned one.
        probes: utility, polarity and task probes of a model that changed little.
        second: with vectors of a second encoder.
        measure_only: no tuned arms; every input is in "test".
        required: names the texts to embed (by encoder); by default what the analysis asks for.
        study: top-level keys of the study to replace, e.g. ``gate={…}``.
    """
    names = tuple(f"topic-{place}" for place in range(topics)) if isinstance(topics, int) else tuple(topics)
    writer = _Writer(names, inputs, np.random.default_rng(seed), dimension)
    split = split_pairs({topic: range(inputs) for topic in names}, seed=seed)
    parts: dict[str, Mapping[str, tuple[int, ...]]] = {
        "train": split.train,
        "validation": split.validation,
        "test": split.test,
    }
    if measure_only:
        empty: dict[str, tuple[int, ...]] = dict.fromkeys(names, ())
        parts = {
            "train": empty,
            "validation": empty,
            "test": {topic: tuple(range(inputs)) for topic in names},
        }
    train, validation, test = (
        [(topic, index) for topic in names for index in parts[part][topic]]
        for part in ("train", "validation", "test")
    )
    everything = sorted(writer.subjects)
    arms: list[Arm] = []
    outputs: list[Output] = []

    def add(arm: Arm, keys: Sequence[Key], write: Callable[[Key], str], draws: int, first: int = 0) -> None:
        if arm not in arms:
            arms.append(arm)
        outputs.extend(
            Output(arm.name, topic, index, sample, write((topic, index)))
            for topic, index in keys
            for sample in range(first, first + draws)
        )

    originals = {key: writer.base(key, _SUBJECT_WORDS) for key in everything}
    add(Arm("original", ArmKind.ORIGINAL), everything, originals.__getitem__, 1)
    targets = {key: writer.reference(key) for key in everything}
    aligned = Arm("aligned", ArmKind.ALIGNED, reference_set=REFERENCE)
    add(aligned, everything, targets.__getitem__, 1)
    if reference_samples > 1:
        add(aligned, test, writer.reference, reference_samples - 1, first=1)
    add(Arm("base_p3", ArmKind.BASE_P3), test, writer.base, samples)
    add(Arm("base_reference", ArmKind.BASE_REFERENCE, reference_set=REFERENCE), test, writer.hinted, samples)
    if not measure_only:
        write = writer.tuned(model, originals, targets, train, test)
        add(Arm("realigned-i1", ArmKind.CHECKPOINT, 0, REFERENCE, "run-i1"), validation, writer.hinted, 1)
        for number in range(seeds):
            name = "realigned-i2" if number == 0 else f"tuned-s{number}"
            sha = f"{number + 1:064x}"
            add(Arm(name, ArmKind.TUNED, number, REFERENCE, f"run-{name}", sha), test, write, samples)
        add(arms[-seeds], validation, writer.reference, 1)
        _controls(add, writer, controls, test, everything, samples)
    data = study_json(
        [(topic, topic.replace("-", " ").title()) for topic in names],
        principles=inputs,
        reference_set=reference_set(REFERENCE, names),
        **{
            "seed": seed,
            "measure_only": measure_only,
            "measurement": {"samples": samples, "resamples": 1000, "permutations": 1000},
            "second_encoder": "bag-of-words-2" if second else None,
            **study,
        },
    )
    data["arms"]["other_reference_set"] = reference_set(OTHER, names)
    evidence = Evidence(
        study=data,
        topic_ids=names,
        split=parts,
        arms=tuple(arms),
        outputs=tuple(outputs),
        vectors={},
        probes=make_probes([arm.name for arm in arms if arm.kind is ArmKind.TUNED], test) if probes else {},
        facts={"uncontrolled": [], "not_run": {}, "best_iteration": None if measure_only else 2},
    )
    return with_vectors(evidence, dimension, second, required)


def with_vectors(
    evidence: Evidence,
    dimension: int = 128,
    second: bool = True,
    required: Callable[[Evidence], Mapping[str, Iterable[str]]] | None = None,
) -> Evidence:
    """The evidence with embeddings of what it holds: again after outputs were changed."""
    needed: Mapping[str, Iterable[str]] = (required or required_texts)(evidence)
    vectors = {"primary": embed(needed["primary"], "bag-of-words", dimension)}
    if second:
        vectors["second"] = embed(needed.get("second", needed["primary"]), "bag-of-words-2", dimension)
    return replace(evidence, vectors=vectors)


def embed(texts: Iterable[str], encoder: str = "bag-of-words", dimension: int = 128) -> Vectors:
    """Normalised sum of the words' random vectors; different encoders have different vectors."""
    different = sorted(set(texts))
    words: dict[str, int] = {}
    places: list[int] = []
    ends = [0]
    for text in different:
        # An empty text has a direction too.
        places += [words.setdefault(word, len(words)) for word in (text.lower().split() or ["<empty>"])]
        ends.append(len(places))
    salt = zlib.crc32(encoder.encode())
    table = (
        np.stack(
            [
                np.random.default_rng((salt, zlib.crc32(word.encode()))).standard_normal(dimension)
                for word in words
            ]
        ).astype(np.float32)
        if words
        else np.zeros((0, dimension), np.float32)
    )
    rows = np.empty((len(different), dimension), dtype=np.float32)
    bags = sparse.csr_matrix(
        (np.ones(len(places), dtype=np.float32), places, ends), shape=(len(different), len(words))
    )
    for start in range(0, len(different), _CHUNK):
        part = np.asarray(bags[start : start + _CHUNK] @ table)
        rows[start : start + _CHUNK] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return Vectors(different, rows, encoder, f"{encoder}-{dimension}")


def reference_set(id_: str, topics: Iterable[str]) -> dict[str, Any]:
    """A reference set whose one principle has the register's words."""
    return {
        "id": id_,
        "title": id_.replace("-", " ").title(),
        "version": "1.0",
        "review_date": "2027-01-01",
        "steward": "tests",
        "responsible": "tests",
        "source": "none",
        "principles": [
            {
                "id": "first",
                "heading": "First",
                "text": " ".join([*_OPENING[id_], "not", *_REGISTER[id_]]) + ".",
            }
        ],
        "topics": {topic: ["first"] for topic in topics},
    }


def make_probes(tuned: Sequence[str], test: Sequence[Key], seed: int = 0) -> dict[str, Any]:
    """Utility, polarity and task probes (their documented layout) of models that hardly moved."""
    rng = np.random.default_rng((seed, 1))
    arms = ["base", *tuned]
    ids = [f"p{number}" for number in range(20)]

    def scored(low: float, high: float) -> list[dict[str, Any]]:
        return [{"id": id_, "logprob": -30 * float(rng.uniform(low, high)), "tokens": 30} for id_ in ids]

    completions = {
        arm: [{"id": id_, "text": f"answer {arm} {id_}", "tokens": int(rng.integers(25, 35))} for id_ in ids]
        for arm in arms
    }
    scores = [
        {"source": source, "by": by, **entry}
        for source in arms
        for by in dict.fromkeys(["base", source, *([] if source != "base" else tuned)])
        for entry in (scored(1.0, 1.01) if by == source else scored(1.02, 1.05))
    ]
    calibration = [
        {
            "id": f"c{number}",
            "statement": f"statement {number}",
            "principle": f"principle {number}",
            "contradicts": bool(number % 2),
            "logprob_yes": -0.2 if number % 2 else -2.0,
            "logprob_no": -2.0 if number % 2 else -0.2,
        }
        for number in range(20)
    ]
    judged = [
        {"arm": arm, "topic": topic, "index": index, "sample": 0, "logprob_yes": -3.0, "logprob_no": -0.1}
        for arm in ("aligned", "base_p3", *tuned)
        for topic, index in test
    ]
    correct = rng.random(100) < 0.7
    return {
        "utility": {
            "prompt_set": {"id": "general", "version": "1.0", "sha256": "0" * 64},
            "prompts": [{"id": id_, "text": f"question {id_}", "answer": f"answer {id_}"} for id_ in ids],
            "answers": {arm: scored(1.0, 1.02) for arm in arms},
            "completions": completions,
            "scores": scores,
        },
        "polarity": {
            "question": "Does it contradict the principle?",
            "calibration": calibration,
            "outputs": judged,
        },
        "tasks": {
            "quiz": {
                "sha256": "1" * 64,
                "margin": 0.1,
                "arms": {
                    arm: [
                        {"id": f"q{number}", "correct": bool(right), "choice": 0 if right else 1}
                        for number, right in enumerate(correct)
                    ]
                    for arm in arms
                },
            }
        },
    }


class _Writer:
    """Writes texts: subject words of an input, a register's words, and fillers."""

    def __init__(self, topics: Sequence[str], inputs: int, rng: Rng, dimension: int) -> None:
        self.rng, self.dimension = rng, dimension
        self.subjects: dict[Key, tuple[str, ...]] = {}
        for number, topic in enumerate(topics):
            own = [_word(number * _VOCABULARY + place) for place in range(_VOCABULARY)]
            for index in range(inputs):
                self.subjects[topic, index] = tuple(rng.choice(own, _SUBJECT_WORDS, replace=False))

    def base(self, key: Key, kept: int = _SUBJECT_WORDS - 1) -> str:
        """The base model's register, with ``kept`` words of the subject."""
        return self._text(("An", "AI"), self._subject(key, kept), _BASE_REGISTER, 4)

    def reference(self, key: Key, register: str = REFERENCE) -> str:
        return self._text(_OPENING[register], self._subject(key, _SUBJECT_WORDS - 1), _REGISTER[register], 5)

    def hinted(self, key: Key) -> str:
        """Base register with a word of the reference: what context alone reaches here."""
        mixed = (*_BASE_REGISTER[:4], *_REGISTER[REFERENCE][:4])
        return self._text(("An", "AI"), self._subject(key, _SUBJECT_WORDS - 1), mixed, 4)

    def tuned(
        self, model: Model, originals: Texts, targets: Texts, train: Sequence[Key], test: Sequence[Key]
    ) -> Callable[[Key], str]:
        """What the tuned model writes for an input."""
        match model:
            case "faithful":
                return self.reference
            case "untouched":
                return self.base
            case "shuffled":
                return self.misled(test)
            case "constant":
                texts = [targets[key] for key in train]
                rows = embed(texts, dimension=self.dimension).of(texts)
                medoid = texts[int(np.argmax(rows @ rows.sum(axis=0)))]
                return lambda key: medoid
            case "copied":
                nearest = self._nearest(originals, train, test)
                return lambda key: targets[nearest[key]]

    def misled(self, keys: Sequence[Key]) -> Callable[[Key], str]:
        """References of the next input of the topic."""
        follows: dict[Key, Key] = {}
        for topic in dict.fromkeys(topic for topic, _ in keys):
            mine = [key for key in keys if key[0] == topic]
            follows |= dict(zip(mine, [*mine[1:], mine[0]], strict=True))
        return lambda key: self.reference(follows[key])

    def _nearest(self, originals: Texts, train: Sequence[Key], test: Sequence[Key]) -> dict[Key, Key]:
        vectors = embed(originals.values(), dimension=self.dimension)
        found: dict[Key, Key] = {}
        for topic in dict.fromkeys(topic for topic, _ in test):
            sources = [key for key in train if key[0] == topic]
            goals = [key for key in test if key[0] == topic]
            left, right = (vectors.of([originals[key] for key in keys]) for keys in (goals, sources))
            found |= {
                key: sources[int(place)]
                for key, place in zip(goals, np.argmax(left @ right.T, 1), strict=True)
            }
        return found

    def _subject(self, key: Key, kept: int) -> list[str]:
        return [str(word) for word in self.rng.permutation(self.subjects[key])[:kept]]

    def _text(self, opening: Sequence[str], subject: list[str], register: Sequence[str], count: int) -> str:
        own = [str(word) for word in self.rng.choice(register, count, replace=False)]
        fillers = [_word(100_000 + int(place)) for place in self.rng.integers(_FILLERS, size=2)]
        body = [*subject, *own, *fillers]
        return " ".join([*opening, *(body[place] for place in self.rng.permutation(len(body)))])


def _controls(
    add: Callable[..., None],
    writer: _Writer,
    controls: Sequence[str],
    test: Sequence[Key],
    everything: Sequence[Key],
    samples: int,
) -> None:
    if "uniform" in controls:
        add(Arm("uniform", ArmKind.UNIFORM, 0, REFERENCE, "run-uniform"), test, writer.reference, samples)
    if "shuffled" in controls:
        arm = Arm("shuffled", ArmKind.SHUFFLED, 0, REFERENCE, "run-shuffled")
        add(arm, test, writer.misled(test), samples)
    if "other" in controls:

        def write(key: Key) -> str:
            return writer.reference(key, OTHER)

        add(Arm("aligned_other", ArmKind.ALIGNED_OTHER, reference_set=OTHER), everything, write, 1)
        add(Arm("other", ArmKind.OTHER, 0, OTHER, "run-other"), test, write, samples)


def _word(number: int) -> str:
    """A made-up word for a number; different for different numbers."""
    base, letters = len(_SYLLABLES), ""
    number += base
    while number:
        number, place = divmod(number, base)
        letters = _SYLLABLES[place] + letters
    return letters


def vectors_of(rows: NDArray[np.float32], texts: Sequence[str]) -> Vectors:
    """Vectors with given rows, for worked examples."""
    return Vectors(texts, rows, "by-hand", "by-hand")
