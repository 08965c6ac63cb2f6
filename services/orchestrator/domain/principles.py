"""From a completion to one principle, and which principles say the same (METHOD: parsing, duplicates).

Rule: the first line that states something, without list marks, markdown, labels, quotes and
pleasantries; of it the first sentence, and a second one where the first is very short.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_SHORT_SENTENCE_CHARS = 40
_MAX_SENTENCES = 2
_MIN_WORDS = 3
# One character of a script without spaces says about as much as half a word.
_DENSE = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]"
)

_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_END = re.compile(r"(?:[.!?…؟۔।]+[\"'”’»)\]*_]*(?=\s|$)|[。！？｡]+[\"'”’」』》）]*)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|cf|vs|art|no|dr|mr|mrs|ms|st|fig|u\.s|u\.n|approx|para)|\b[A-Z])\.$", re.I
)
_BULLET = re.compile(
    r"^\s*(?:>+\s*|#{1,6}\s+|[-*+•·–—▪●]\s+|\(?(?:[0-9\u0660-\u0669]{1,3}|[a-zA-Z]|[ivx]{1,4})[.)、]\s*(?=\S)"
    r"|[（(]?[一二三四五六七八九十]{1,3}[）)、]\s*|第[一二三四五六七八九十0-9]{1,3}[,，、:：]\s*)+"
)
_LABEL = re.compile(
    r"^(?:(?:the\s+)?(?:original|aligned|realigned|re-aligned|equivalent|new|revised|rewritten|ethical|guiding)?\s*"
    r"(?:principle|rule|answer|response|output|assistant|commandment)\s*(?:#?\d{1,3})?"
    r"|(?:原则|原則|回答|答案|答)[一二三四五六七八九十\d]{0,3}|(?:ال)?(?:مبدأ|إجابة|جواب)[^:：]{0,20})\s*[:：]\s*",
    re.I,
)
_TITLE = re.compile(r"^(?P<title>[^:：.!?。！？؟\"“«]{2,60})[:：]\s*(?P<rest>\S.*)$", re.DOTALL)
_PLEASANTRY = re.compile(
    r"^(?:sure|certainly|of course|okay|ok|absolutely|great|thank(?:s| you)|yes|hello|hi|gladly|alright"
    r"|here(?:'s|’s| is| are)|the following|below (?:is|are)|i(?:'m|’m| am) (?:glad|happy|pleased|excited|here|delighted)"
    r"|i(?:'d|’d| would) (?:be (?:glad|happy)|love|suggest)|i hope|let(?:'s|’s| me)|this principle"
    r"|当然|好的|以下|下面|没问题|很高兴|當然|بالتأكيد|بالطبع|إليك|فيما يلي|حسنا|يسعدني)(?:\b|(?<=[\u3400-\u9fff]))",
    re.I,
)
_REFUSAL = re.compile(
    r"\bi(?:'m|’m| am) (?:very |so |really )?sorry\b|^\W*(?:sorry|my apologies|i apologi[sz]e)\b"
    r"|\bi (?:can(?:'t|’t|not| not)|won(?:'t|’t)|will not|am (?:not able|unable)|(?:do not|don(?:'t|’t)) feel comfortable)"
    r"\s+(?:to\s+)?(?:\w+ly\s+)?(?:assist|help|comply|fulfil+|provide|generate|create|write|answer|do|engage|continue|offer|produce|discuss)"
    r"|\bi(?:'m|’m| am) (?:not able|unable) to\b|\bi must (?:decline|refuse)\b"
    r"|^\W*(?:很|非常)?(?:抱歉|对不起|對不起)|我(?:无法|不能|無法)(?:协助|帮助|提供|回答|生成|满足|協助|幫助|完成)"
    r"|^\W*(?:عذرا|عذراً|آسف|أعتذر)|لا (?:أستطيع|يمكنني) (?:المساعدة|تقديم|الإجابة|مساعدتك)",
    re.I,
)
_REFUSAL_WINDOW_CHARS = 200
_QUOTES = "\"'“”‘’«»「」『』《》„`"


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
    if _REFUSAL.search(body[:_REFUSAL_WINDOW_CHARS]):
        return Parsed("", Outcome.REFUSAL)
    body = _join(prefill, body)
    lines = [line for line in body.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        last = number == len(lines) - 1
        candidate, finished = _statement(line)
        if not candidate or (not finished and not last and _titled(line, candidate)):
            continue
        if not finished and finish_reason == "length" and last:
            return Parsed("", Outcome.TRUNCATED)
        known = {normalise(answer) for answer in shot_answers}
        if normalise(candidate) in known:
            return Parsed("", Outcome.DUPLICATE)
        return Parsed(candidate, Outcome.OK)
    return Parsed(
        "", Outcome.TRUNCATED if finish_reason == "length" and len(lines) == 1 else Outcome.NO_PRINCIPLE
    )


def sentences(text: str) -> list[str]:
    """Sentences of one line, in scripts with and without spaces; the last may be unfinished."""
    found, start = [], 0
    for match in _END.finditer(text):
        before = text[start : match.end()].rstrip(_QUOTES + ")*_]")
        rest = text[match.end() :].lstrip()
        if match.group().startswith(".") and (_ABBREVIATION.search(before) or rest[:1].islower()):
            if rest:
                continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    if tail := text[start:].strip():
        found.append(tail)
    return found


def normalise(text: str) -> str:
    """Compared form: compatibility-folded, lower case, letters and digits with single spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(char if unicodedata.category(char)[0] in "LNM" else " " for char in folded)
    return " ".join(kept.split())


def similarity(left: str, right: str) -> float:
    """How alike two texts are, in [0, 1]: Dice coefficient of their character shingles.

    Three characters a shingle, two where either text is in a script without spaces (Chinese,
    Japanese, Thai), whose sentences are short. 1 means equal but for case, spaces and punctuation,
    or almost always so.
    """
    first, second = normalise(left), normalise(right)
    size = 2 if _DENSE.search(first) or _DENSE.search(second) else 3
    return _dice(_shingles(first, size), _shingles(second, size))


class NearDuplicates:
    """Principles seen so far, asked whether a new one repeats one of them."""

    def __init__(self, threshold: float, texts: Iterable[str] = ()) -> None:
        self._threshold = threshold
        self._seen: list[tuple[frozenset[str], frozenset[str], bool]] = []
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Remember a principle."""
        self._seen.append(_both(text))

    def matches(self, text: str) -> bool:
        """Whether a remembered principle is at least as similar as the threshold."""
        two, three, dense = _both(text)
        return any(
            _dice(two, seen_two) >= self._threshold
            if dense or seen_dense
            else _dice(three, seen_three) >= self._threshold
            for seen_two, seen_three, seen_dense in self._seen
        )


def near_duplicate_rate(texts: Iterable[str], threshold: float) -> float:
    """Share of texts that are near duplicates of an earlier one; 0 for no texts."""
    seen, repeated, total = NearDuplicates(threshold), 0, 0
    for text in texts:
        total += 1
        repeated += seen.matches(text)
        seen.add(text)
    return repeated / total if total else 0.0


def _both(text: str) -> tuple[frozenset[str], frozenset[str], bool]:
    plain = normalise(text)
    return _shingles(plain, 2), _shingles(plain, 3), bool(_DENSE.search(plain))


def _shingles(text: str, size: int) -> frozenset[str]:
    if len(text) <= size:
        return frozenset({text})
    return frozenset(text[start : start + size] for start in range(len(text) - size + 1))


def _dice(left: frozenset[str], right: frozenset[str]) -> float:
    return 2 * len(left & right) / (len(left) + len(right))


def _join(prefill: str, text: str) -> str:
    if not prefill or text.lstrip().casefold().startswith(prefill.strip().casefold()):
        return text
    # Some detokenisers drop the space in front of a completion's first word.
    glue = " " if _spaced_word(prefill[-1]) and _spaced_word(text[0]) else ""
    return f"{prefill}{glue}{text}"


def _spaced_word(char: str) -> bool:
    return char.isalnum() and not _DENSE.match(char)


def _statement(line: str) -> tuple[str, bool]:
    """(principle, ends with a full stop) of one line; ("", False) if it states nothing."""
    heading = line.lstrip().startswith("#")
    bare = _strip_marks(line)
    if heading or bare.endswith((":", "：")):
        return "", False
    parts = sentences(bare)
    while parts and _PLEASANTRY.match(parts[0]):
        _, colon, rest = parts[0].replace("：", ":").partition(":")
        parts = [_strip_marks(rest), *parts[1:]] if colon and rest.strip() else parts[1:]
        parts = sentences(" ".join(parts)) if colon and parts else parts
    parts = [part for part in parts if not part.rstrip(_QUOTES).endswith(("?", "？", "؟"))]
    if not parts:
        return "", False
    chosen = parts[:1]
    if _size(chosen[0]) < _SHORT_SENTENCE_CHARS and len(parts) > 1 and _finished(parts[1]):
        chosen = parts[:_MAX_SENTENCES]
    joiner = "" if _DENSE.search(chosen[0]) else " "
    statement = _unquote(joiner.join(chosen))
    if _words(statement) < _MIN_WORDS:
        return "", False
    return statement, _finished(statement)


def _titled(line: str, statement: str) -> bool:
    """Whether an unfinished line over others is a title: wholly bold, or a few words."""
    return bool(re.fullmatch(r"\W*\*\*[^*]+\*\*\W*", line.strip())) or _words(statement) <= 5


def _strip_marks(line: str) -> str:
    """The line without list marks, emphasis, labels, titles and quotes around it."""
    text, before = line.strip(), ""
    while text != before:
        before = text
        text = _BULLET.sub("", text)
        text = re.sub(r"(\*\*|__|`)", "", text)
        text = re.sub(r"(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)", "", text).strip()
        text = _LABEL.sub("", text)
        text = _unquote(text)
    title = _TITLE.match(text)
    if title and _words(title["title"]) <= 4 and _words(title["rest"]) >= 5 and not _PLEASANTRY.match(text):
        text = _unquote(title["rest"].strip())
    return " ".join(text.split())


def _unquote(text: str) -> str:
    stripped = text.strip()
    if stripped[:1] in _QUOTES and stripped[:1]:
        inner = stripped[1:]
        closing = max((inner.rfind(quote) for quote in _QUOTES), default=-1)
        # Only quotes around the whole: a quotation inside a sentence stays.
        if closing < 0:
            return inner.strip()
        if closing >= len(inner) - 2 and not any(quote in inner[:closing] for quote in '"“”«»「」『』'):
            return (inner[:closing] + inner[closing + 1 :]).strip()
    return stripped


def _finished(text: str) -> bool:
    return bool(re.search(r"[.!…؟۔।。！｡][\"'”’»」』)\]]*$", text))


def _size(text: str) -> int:
    return len(text) + 2 * len(_DENSE.findall(text))


def _words(text: str) -> float:
    dense = len(_DENSE.findall(text))
    return dense / 2 + sum(1 for word in normalise(_DENSE.sub(" ", text)).split() if word)
