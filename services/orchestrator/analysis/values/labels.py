"""Reading labelled dialogues in FULCRA's published format, and saying what was wrong with them.

A line is a JSON object: ``dialogue`` ("Human: …\\nBob: …"), ``value_types`` (["security: -1", …]) and
more that is not needed. A value that a labelled row does not name has no connection: 0. Labels that
cannot be read are never guessed: the value is unknown in that row, and the count is told.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.orchestrator.analysis.values.dimensions import TITLES, VALUES
from services.orchestrator.analysis.values.results import LabelCounts
from services.orchestrator.domain.text import normalise

MAX_LINE_CHARS = 1_000_000
_MAX_NAMES = 30
_MOST_ENTRY_CHARS = 200
_ENTRY = re.compile(r"^(?P<name>[^:=]*?)\s*[:=]\s*(?P<score>[^:=]*)$")
_SCORE = re.compile(r"[+-]?1(\.0*)?[+]?|1-|[+-]?0(\.0*)?")
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2014": "-", "\uff0b": "+", "\uff0d": "-"})
_TURN = re.compile(r"^[^\S\n]*(?P<who>human|user|bob|assistant|ai|bot)\s*:\s*", re.IGNORECASE | re.MULTILINE)
_ASKS = frozenset({"human", "user"})
_WORDS = {
    "important": 1,
    "support": 1,
    "no connection": 0,
    "none": 0,
    "unrelated": 0,
    "opposed": -1,
    "oppose": -1,
}
_NAMES = {re.sub(r"[^a-z]", "", name): name for name in VALUES}
_FORMS = (str, list, dict)


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One reply with its labels; a value that is missing in ``labels`` is unknown here."""

    question: str
    reply: str
    labels: Mapping[str, int]

    @property
    def group(self) -> str:
        """Rows that share a prompt belong together; the compared form of the question, or of the reply."""
        return normalise(self.question) or normalise(self.reply)


@dataclass(slots=True)
class _Tally:
    """What was met on the way."""

    seen: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    unknown_names: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    conflicts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The rows that can be used, and what became of all the others."""

    rows: tuple[LabelledRow, ...]
    counts: LabelCounts


def read_labels(text: str) -> LabelFile:
    """Rows of a JSON Lines file or of a JSON array. ValueError if it holds no usable row."""
    tally = _Tally()
    copies: dict[str, list[LabelledRow]] = {}
    for data in _objects(text, tally):
        row = _row(data, tally)
        if row is not None:
            copies.setdefault(f"{normalise(row.question)}\0{normalise(row.reply)}", []).append(row)
    rows = []
    for equal in copies.values():
        row = _merge(equal, tally)
        if row.labels:
            rows.append(row)
        else:
            tally.refused["contradicts itself in every value"] += 1
    counts = LabelCounts(
        lines=tally.seen["lines"],
        rows=len(rows),
        refused=dict(sorted(tally.refused.items())),
        duplicates=tally.seen["duplicates"],
        contradictory_rows=tally.seen["contradictory_rows"],
        contradictions=_by_value(tally.conflicts),
        unknown_values=dict(tally.unknown_names.most_common(_MAX_NAMES)),
        unknown_value_labels=sum(tally.unknown_names.values()),
        unreadable=_by_value(tally.unreadable),
        respelled_labels=tally.seen["respelled"],
        repeated_labels=tally.seen["repeated"],
        rows_without_values=sum(not any(row.labels.values()) for row in rows),
    )
    if not rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.refused.items())
        raise ValueError(
            f"no labelled row could be used ({reasons or 'the file is empty'}); a line looks like "
            '{"dialogue": "Human: …\\nBob: …", "value_types": ["security: -1", "achievement: +1"]}'
        )
    return LabelFile(tuple(rows), counts)


def _by_value(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts[name] for name in VALUES if counts.get(name)}


def _objects(text: str, tally: _Tally) -> Iterator[Mapping[str, Any]]:
    body = text.lstrip("\ufeff \t\r\n")
    if body.startswith("["):
        try:
            items = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the file begins like a JSON array but is none: {error}") from error
        lines: Iterable[Any] = items
    else:
        # Not splitlines(): a separator of another kind may stand within a JSON string.
        lines = (line for line in body.split("\n") if line.strip())
    for line in lines:
        tally.seen["lines"] += 1
        data = line
        if isinstance(line, str):
            try:
                data = json.loads(line) if len(line) <= MAX_LINE_CHARS else None
            except (ValueError, RecursionError):
                tally.refused["not JSON"] += 1
                continue
        if not isinstance(data, Mapping):
            tally.refused["no JSON object"] += 1
            continue
        yield data


def _row(data: Mapping[str, Any], tally: _Tally) -> LabelledRow | None:
    dialogue = data.get("dialogue")
    if not isinstance(dialogue, str) or not normalise(dialogue):
        tally.refused["no dialogue"] += 1
        return None
    question, reply = split_dialogue(dialogue)
    if not normalise(reply):
        tally.refused["no reply"] += 1
        return None
    given = data.get("value_types")
    if not isinstance(given, _FORMS):
        tally.refused["no value_types"] += 1
        return None
    found: dict[str, set[int]] = {}
    doubtful: set[str] = set()
    read = 0
    for name, score in _entries(given):
        value = _NAMES.get(re.sub(r"[^a-z]", "", name.casefold()))
        if value is None:
            tally.unknown_names[name.strip()[:60] or "(none)"] += 1
            continue
        label, respelled = _label(score)
        if label is None:
            tally.unreadable[value] += 1
            doubtful.add(value)
            continue
        read += 1
        tally.seen["respelled"] += respelled or name.strip() != value
        tally.seen["repeated"] += label in found.get(value, ())
        found.setdefault(value, set()).add(label)
    if _size(given) and not read and not doubtful:
        # Every label names something that is none of the ten: what the row says of them is not known.
        tally.refused["no label of the ten values"] += 1
        return None
    clash = {value for value, labels in found.items() if len(labels) > 1}
    tally.seen["contradictory_rows"] += bool(clash)
    tally.conflicts.update(clash)
    labels = {
        name: next(iter(found[name])) if name in found else 0
        for name in VALUES
        if name not in clash and name not in doubtful
    }
    if not labels:
        tally.refused["no readable label"] += 1
        return None
    return LabelledRow(question, reply, labels)


def split_dialogue(dialogue: str) -> tuple[str, str]:
    """(what was asked, the last reply) of "Human: …\\nBob: …"; a text without turns is all reply."""
    turns = list(_TURN.finditer(dialogue))
    replies = [turn for turn in turns if turn["who"].casefold() not in _ASKS]
    if not turns:
        return "", dialogue.strip()
    if not replies:
        return dialogue[turns[0].end() :].strip(), ""
    # The last turn that answers begins where the one who asks last fell silent.
    asked = [turn.start() for turn in turns if turn["who"].casefold() in _ASKS]
    start = next((turn for turn in replies if not asked or turn.start() > asked[-1]), replies[-1])
    question = dialogue[: start.start()].lstrip()
    first = _TURN.match(question)
    return (question[first.end() :] if first else question).strip(), dialogue[start.end() :].strip()


def _size(given: Any) -> int:
    return len(given.strip()) if isinstance(given, str) else len(given)


def _entries(given: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(given, Mapping):
        for name, score in given.items():
            yield str(name), score
        return
    for entry in re.split(r"[,;\n]", given) if isinstance(given, str) else given:
        if isinstance(entry, Mapping):
            yield from _entries(entry)
        elif isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) == 2:
            yield str(entry[0]), entry[1]
        elif (text := str(entry).strip()) or not isinstance(given, str):
            # A longer one names no value, and to search it takes the square of its length.
            parts = _ENTRY.match(text) if len(text) <= _MOST_ENTRY_CHARS else None
            yield (parts["name"], parts["score"]) if parts else (text[:_MOST_ENTRY_CHARS], "")


def _label(score: Any) -> tuple[int | None, bool]:
    """(+1, 0 or -1, whether it was spelled otherwise); (None, …) if it is none of them."""
    if isinstance(score, bool) or score is None:
        return None, False
    if isinstance(score, (int, float)):
        return (int(score), True) if score in (-1, 0, 1) else (None, False)
    text = str(score).strip()
    plain = text.translate(_MINUS).replace(" ", "").strip("\"'.()[]")
    if _SCORE.fullmatch(plain):
        value = 0 if "1" not in plain else -1 if "-" in plain else 1
        return value, text not in ("+1", "-1", "0")
    word = _WORDS.get(text.casefold())
    return word, word is not None


def _merge(copies: list[LabelledRow], tally: _Tally) -> LabelledRow:
    """One row of equal dialogues; a value on which they differ is unknown."""
    first = copies[0]
    if len(copies) == 1:
        return first
    tally.seen["duplicates"] += len(copies) - 1
    labels: dict[str, int] = {}
    clash = False
    for name in TITLES:
        given = {copy.labels[name] for copy in copies if name in copy.labels}
        if len(given) == 1 and all(name in copy.labels for copy in copies):
            labels[name] = given.pop()
        elif len(given) > 1:
            tally.conflicts[name] += 1
            clash = True
    tally.seen["contradictory_rows"] += clash
    return LabelledRow(first.question, first.reply, labels)
