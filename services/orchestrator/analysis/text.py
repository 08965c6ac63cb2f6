"""Words of a text, the text without its marker words, and an English sentence turned into its opposite."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from services.orchestrator.domain.text import DENSE_SCRIPT, normalise

NOTHING_LEFT: Final = "…"
"""Stands for a text of which masking left no letter: an encoder needs something to read."""

_STRONG = "shall|must|should|ought to"
_WEAK = "may|can|will|would|could|might"
_AUXILIARIES = (_STRONG, _WEAK, "is|are|was|were", "has|have|had", "does|do|did")
_NEGATORS = re.compile(
    r"\b(?:not|never|no|none|nobody|nothing|nor|neither|cannot|without|hardly|scarcely)\b", re.I
)
_COMPARED = re.compile(r"\bno (?=(?:longer|more|less|fewer|later|earlier|further|greater) than\b)", re.I)
_NEGATIVE_OPENINGS = {
    "no one": "Everyone",
    "nobody": "Everybody",
    "nothing": "Everything",
    "none": "All",
    "no": "Any",
}
_CONTRACTIONS = (
    (re.compile(r"\bcan(?:not|'t)\b", re.I), "can not"),
    (re.compile(r"\bwon't\b", re.I), "will not"),
    (re.compile(r"\bshan't\b", re.I), "shall not"),
    (re.compile(r"(?<=[a-z])n't\b", re.I), " not"),
)
# A clause that begins with one of these is an order.
_ORDERS = re.compile(
    r"(?:act|allow|answer|ask|be|bear|build|care|check|choose|design|do|ensure|explain|find|give|guard|help|hold|"
    r"honou?r|inform|keep|leave|let|limit|listen|live|love|make|minimi[sz]e|offer|open|promote|protect|provide|"
    r"prove|put|record|remember|report|respect|rest|return|say|see|seek|serve|share|show|speak|stand|stay|"
    r"support|take|teach|tell|test|train|treat|trust|use|value|work)\b",
    re.I,
)
# Third person singular, where the plain form is the word without its s.
_STATED = re.compile(
    r"\b(matter|respect|protect|ensure|require|need|deserve|keep|use|treat|explain|tell|give|share|serve|"
    r"support|promote|allow|help|provide|include|benefit|speak|honour|honor|belong)s\b",
    re.I,
)


def tokenise(text: str) -> tuple[str, ...]:
    """Words in compared form (lower case, no punctuation); of dense scripts, characters."""
    spaced = DENSE_SCRIPT.sub(lambda match: f" {match.group()} ", normalise(text))
    return tuple(spaced.split())


def mask(text: str, markers: Sequence[str]) -> str:
    """The text without the markers (whole words, any case); other words stay as they were written.

    ``NOTHING_LEFT`` if no letter or digit is left.
    """
    if not markers:
        return text
    plain = text.replace("’", "'")
    masked = _pattern(tuple(markers)).sub(" ", plain)
    if masked == plain:
        return text
    tidy = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(masked.split())).lstrip(" ,.;:-")
    return tidy if any(char.isalnum() for char in tidy) else NOTHING_LEFT


def count_markers(text: str, markers: Sequence[str]) -> int:
    """How many of the markers stand in the text, repetitions counted; longer markers are seen first."""
    return len(_pattern(tuple(markers)).findall(text.replace("’", "'"))) if markers else 0


@lru_cache(maxsize=32)
def _pattern(markers: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(
        {marker.strip() for marker in markers if marker.strip()}, key=lambda m: (-len(m), m)
    )
    words = ("\\s+".join(re.escape(word) for word in marker.split()) for marker in longest_first)
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", re.I)


def negate(text: str) -> str | None:
    """The opposite of an English sentence by rules on its modal or auxiliary verb; None where none fits.

    A negated clause loses its negation ("You shall not steal" to "You shall steal"); one that is not
    negated gets one, unless another negative word in it would make that a double negation. Every
    clause between semicolons or full stops is turned, so that the result does not contradict itself.
    """
    pieces = re.split(r"([;.!?]+\s*)", text.replace("’", "'").strip())
    turned: list[str] = []
    for place, piece in enumerate(pieces):
        if place % 2 or not piece.strip():
            turned.append(piece)
            continue
        clause = _negate_clause(piece.strip())
        if clause is None:
            return None
        opens = place == 0 or not pieces[place - 1].startswith(";")
        turned.append(clause[0].upper() + clause[1:] if opens else clause)
    result = "".join(turned)
    return result if tokenise(result) != tokenise(text) else None


def _negate_clause(clause: str) -> str | None:
    for pattern, plain in _CONTRACTIONS:
        clause = pattern.sub(plain, clause)
    if _COMPARED.search(clause):
        return _COMPARED.sub("", clause)
    for opening, opposite in _NEGATIVE_OPENINGS.items():
        if re.match(rf"{opening}\b", clause, re.I):
            return _affirmed(opposite + clause[len(opening) :])
    if _rest_negated(clause) == 0 and re.match(r"(?:everyone|everybody)\b", clause, re.I):
        return "No one" + clause[len(clause.split()[0]) :]
    if re.match(r"do not\b|it matters\b", clause, re.I):
        order = clause.lower().startswith("do")
        return _affirmed(clause[7:]) if order else f"{clause[:3]}does not matter{clause[10:]}"
    for verbs in _AUXILIARIES:
        if match := re.search(rf"(?<!\bto )\b({verbs})\b(?:\s+(not|never|only|always)\b)?", clause, re.I):
            return _turn_verb(clause, match)
    first, _, rest = clause.partition(" ")
    if first.lower() == "never":
        return f"Always {rest}"
    if first.lower() == "always":
        return None if _rest_negated(rest) else f"Never {rest}"
    if _rest_negated(clause):
        return None
    if _ORDERS.fullmatch(first):
        return f"do not {first.lower()} {rest}"
    if match := _STATED.search(clause):
        return f"{clause[: match.start()]}does not {match.group(1)}{clause[match.end() :]}"
    return None


def _turn_verb(clause: str, match: "re.Match[str]") -> str | None:
    verb, adverb = match.group(1), (match.group(2) or "").lower()
    before, after = clause[: match.start()], clause[match.end() :]
    if adverb in ("not", "never"):
        return _affirmed(before + verb + after)
    if _rest_negated(clause):
        return None
    if adverb == "only":
        return f"{before}{verb} not{after}"
    if re.search(r"\bonly\b", clause, re.I):
        # "only for a purpose": its opposite is not "not only".
        return None
    if adverb == "always":
        return f"{before}{verb} never{after}"
    if verb.lower() == "ought to":
        return f"{before}ought not to{after}"
    if verb.lower() in ("has", "have") and not re.match(r"\s+(?:been|to be|\w+(?:ed|en))\b", after):
        return f"{before}{'does' if verb.lower() == 'has' else 'do'} not have{after}"
    if not before and verb.lower() == "do":
        return f"do not{after}" if _ORDERS.match(after.lstrip()) else f"do not do{after}"
    return f"{before}{verb} not{after}"


def _affirmed(clause: str) -> str:
    """A clause that lost its negation: "nor" becomes "or"."""
    return re.sub(r"\bnor\b", "or", clause)


def _rest_negated(clause: str) -> int:
    return len(_NEGATORS.findall(clause))
