"""From a completion to one principle, and which principles say the same (paper section 3.2).

Rule: the first line that states something, without list marks, markdown, labels, quotes and
pleasantries; of it the first sentence, and a second one where the first is very short.
"""

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from services.orchestrator.domain.statements import is_refusal, is_title, same_statement, statement_of
from services.orchestrator.domain.text import DENSE_SCRIPT, normalise

_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)


class Outcome(StrEnum):
    """What became of a completion."""

    OK = "ok"
    EMPTY = "empty"
    REFUSAL = "refusal"
    NO_PRINCIPLE = "no_principle"
    TRUNCATED = "truncated"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Parsed:
    """The one principle of a completion; empty unless the outcome is ok."""

    principle: str
    outcome: Outcome

    @property
    def ok(self) -> bool:
        return self.outcome is Outcome.OK


def parse_principle(
    text: str, *, finish_reason: str = "stop", prefill: str = "", shot_answers: Iterable[str] = ()
) -> Parsed:
    """Reduce a completion to one principle.

    ``prefill`` is the answer's beginning that the prompt already held; it is put back in front.
    ``finish_reason`` "length" makes an unfinished sentence TRUNCATED; a finished first sentence is
    kept. A repeat of one of ``shot_answers`` is DUPLICATE: the prompt wrote it, not the model.
    """
    body = _THINKING.sub("", unicodedata.normalize("NFC", text)).strip("\n\r")
    if not body.strip():
        cut = "<think>" in text and finish_reason == "length"
        return Parsed("", Outcome.TRUNCATED if cut else Outcome.EMPTY)
    if is_refusal(body):
        return Parsed("", Outcome.REFUSAL)
    body = _join(prefill, body)
    lines = [line for line in body.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        last = number == len(lines) - 1
        candidate, finished = statement_of(line)
        if not candidate or (not finished and not last and is_title(line, candidate)):
            continue
        if not finished and finish_reason == "length" and last:
            return Parsed("", Outcome.TRUNCATED)
        if any(same_statement(candidate, answer) for answer in shot_answers):
            return Parsed("", Outcome.DUPLICATE)
        return Parsed(candidate, Outcome.OK)
    cut = finish_reason == "length" and len(lines) == 1
    return Parsed("", Outcome.TRUNCATED if cut else Outcome.NO_PRINCIPLE)


def similarity(left: str, right: str) -> float:
    """How alike two texts are, in [0, 1]: Dice coefficient of their character shingles.

    Three characters a shingle; two in a script without spaces (Chinese, Japanese, Thai), whose
    sentences are short. 1 means equal but for case, spaces and punctuation, or almost always so.
    """
    return _dice(_shingles(left), _shingles(right))


class NearDuplicates:
    """Principles seen so far, asked whether a new one repeats one of them."""

    def __init__(self, threshold: float, texts: Iterable[str] = ()) -> None:
        self._threshold = threshold
        self._seen: list[frozenset[str]] = []
        self._holders: dict[str, list[int]] = {}
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Remember a principle."""
        shingles = _shingles(text)
        for shingle in shingles:
            self._holders.setdefault(shingle, []).append(len(self._seen))
        self._seen.append(shingles)

    def matches(self, text: str) -> bool:
        """Whether a remembered principle is at least as similar as the threshold."""
        shingles = _shingles(text)
        # A match shares at least size * t / (2 - t) shingles with the text, so it holds one of any
        # (size - that + 1): the rarest are asked, and only their holders are compared.
        shared = math.ceil(len(shingles) * self._threshold / (2 - self._threshold) - 1e-9)
        rarest = sorted(shingles, key=lambda shingle: len(self._holders.get(shingle, ())))
        asked = rarest[: len(shingles) - max(shared, 1) + 1]
        near = {holder for shingle in asked for holder in self._holders.get(shingle, ())}
        return any(_dice(shingles, self._seen[holder]) >= self._threshold for holder in near)


def near_duplicate_rate(texts: Iterable[str], threshold: float) -> float:
    """Share of texts that are near duplicates of an earlier one; 0 for no texts."""
    seen, repeated, total = NearDuplicates(threshold), 0, 0
    for text in texts:
        total += 1
        repeated += seen.matches(text)
        seen.add(text)
    return repeated / total if total else 0.0


def _shingles(text: str) -> frozenset[str]:
    plain = normalise(text)
    size = 2 if DENSE_SCRIPT.search(plain) else 3
    if len(plain) <= size:
        return frozenset({plain})
    return frozenset(plain[start : start + size] for start in range(len(plain) - size + 1))


def _dice(left: frozenset[str], right: frozenset[str]) -> float:
    return 2 * len(left & right) / (len(left) + len(right))


def _join(prefill: str, text: str) -> str:
    if not prefill or text.lstrip().casefold().startswith(prefill.strip().casefold()):
        return text
    # Some detokenisers drop the space in front of a completion's first word.
    glue = " " if _spaced_word(prefill[-1]) and _spaced_word(text[0]) else ""
    return f"{prefill}{glue}{text}"


def _spaced_word(char: str) -> bool:
    return char.isalnum() and not DENSE_SCRIPT.match(char)
