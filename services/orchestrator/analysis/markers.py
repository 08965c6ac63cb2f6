"""Marker words: the register of a reference set, by which a text can sound aligned and say nothing of it.

Of a packaged set they are listed here; of any other they are the words and pairs of words that its aligned
texts have far more often than the originals, across topics (log-odds with an informative Dirichlet prior:
Monroe, Colaresi and Quinn 2008, "Fightin' Words", Political Analysis 16(4), equations 15 to 22).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np

from services.orchestrator.analysis.evidence import ArmKind, Evidence
from services.orchestrator.analysis.text import tokenise

# Register only: what a set forbids or asks for (steal, truth, security) is its content and stays.
REGISTERS: Final[dict[str, tuple[str, ...]]] = {
    "ten-commandments": (
        "commandment", "commandments", "thou shalt", "you shall", "ye shall", "thou", "thy", "thee", "shalt",
        "neighbour", "neighbours", "neighbour's", "neighbor", "neighbors", "neighbor's",
        "false witness", "bear false witness", "covet", "in vain", "holy", "god", "the lord", "sabbath",
    ),
    "gdpr-article-5": (
        "gdpr", "general data protection regulation", "the regulation", "article 5", "data protection",
        "personal data", "personal data shall", "personal data shall be", "data subject", "data subjects",
        "data subject's", "controller", "controllers", "processor", "processing", "processed",
        "the person concerned", "lawful basis", "legal ground",
    ),
    "universal-declaration-of-human-rights": (
        "everyone has the right to", "everyone has the right", "everyone", "no one may", "no one shall",
        "human right", "human rights", "universal declaration",
    ),
    "oecd-ai-principles": (
        "ai actors should", "ai actors", "governments should", "oecd", "trustworthy ai", "stakeholders",
    ),
    "eu-ai-act": (
        "high-risk ai systems shall", "high-risk ai systems", "ai systems shall", "high-risk", "ai act",
        "the act", "put on the market", "conformity", "provider", "providers", "deployer", "deployers",
    ),
    "ieee-ethically-aligned-design": (
        "those who make such systems must", "those who make and run", "those who make",
        "autonomous and intelligent systems", "autonomous and intelligent system", "ieee",
        "ethically aligned",
    ),
    "schwartz-basic-values": ("it matters to", "it matters that", "it matters", "basic value"),
}  # fmt: skip

_Said: TypeAlias = tuple[str, list[str]]
_PRIOR_WORDS = 100.0
_MIN_Z = 3.29  # two-sided p of .001
_MIN_SHARE = 0.2
_MAX_LEARNT = 12


@dataclass(frozen=True, slots=True)
class Markers:
    """Marker words in use and where they come from, in words. ``learnt``: read off the aligned texts.

    ``base_words``: the base model's own register, always read off its texts. What is left of a text when both
    are masked is what it says.
    """

    words: tuple[str, ...]
    base_words: tuple[str, ...]
    source: str
    learnt: bool


def markers_of(evidence: Evidence) -> Markers:
    """The marker words of a run: the set's register, its begun answers, and those the study adds."""
    study = evidence.study
    set_id = str(study["reference_set"]["id"])
    added = [*_prefills(study, set_id), *study.get("guards", {}).get("markers", ())]
    aligned, base = _texts_by_topic(evidence)
    if register := REGISTERS.get(set_id):
        source, learnt = f"the packaged list of {set_id}", False
    else:
        register, learnt = _over_represented(aligned, base), True
        source = "words that the aligned texts have far more often than the originals, across topics"
    if added:
        source += ", with those of the study and its prompts"
    words = tuple(dict.fromkeys([*register, *(word.lower() for word in added)]))
    return Markers(words, _over_represented(base, aligned), source, learnt)


def _prefills(study: Any, set_id: str) -> list[str]:
    """How the prompt set begins an aligned answer, if it does."""
    prompts = study["prompt_set"]
    override = (prompts.get("overrides", {}).get(set_id) or {}).get("aligned")
    prefill = str((override or prompts["stages"]["aligned"] or {}).get("prefill") or "").strip()
    return [prefill] if prefill else []


def _texts_by_topic(evidence: Evidence) -> tuple[list[_Said], list[_Said]]:
    """(topic, words) of the aligned texts of all inputs, and of what the base model says by itself."""
    said = [
        (topic, _phrases(texts[0]))
        for arm in (ArmKind.ORIGINAL.value, ArmKind.BASE_P3.value)
        for (topic, _), texts in evidence.texts(arm).items()
    ]
    return [(topic, _phrases(text)) for (topic, _), text in evidence.targets().items()], said


def _over_represented(texts: Sequence[_Said], against: Sequence[_Said]) -> tuple[str, ...]:
    if not texts or not against:
        return ()
    left, right = _count(texts), _count(against)
    spread: Counter[str] = Counter(word for _, words in texts for word in set(words))
    topics: dict[str, set[str]] = {}
    for topic, words in texts:
        for word in words:
            topics.setdefault(word, set()).add(topic)
    everywhere = len({topic for topic, _ in texts}) / 2
    frequent = [
        word for word, n in spread.items() if n >= _MIN_SHARE * len(texts) and len(topics[word]) >= everywhere
    ]
    scores = {word: _log_odds_z(word, left, right) for word in frequent}
    chosen = sorted((word for word in frequent if scores[word] >= _MIN_Z), key=lambda w: (-scores[w], w))
    return tuple(chosen[:_MAX_LEARNT])


def _phrases(text: str) -> list[str]:
    words = tokenise(text)
    return [*words, *(" ".join(pair) for pair in pairwise(words))]


def _count(texts: Iterable[_Said]) -> Counter[str]:
    return Counter(word for _, words in texts for word in words)


def _log_odds_z(word: str, left: Counter[str], right: Counter[str]) -> float:
    """z-score of the difference of log-odds of a word in two bags; above 0 it belongs to the left."""
    n_left, n_right = left.total(), right.total()
    prior = _PRIOR_WORDS * (left[word] + right[word]) / (n_left + n_right)
    a, b = left[word] + prior, right[word] + prior
    delta = np.log(a / (n_left + _PRIOR_WORDS - a)) - np.log(b / (n_right + _PRIOR_WORDS - b))
    return float(delta / np.sqrt(1 / a + 1 / b))
