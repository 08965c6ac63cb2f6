"""Two JSON documents, leaf by leaf: what is equal, what differs, and what nobody can compute again."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_INDEX = re.compile(r"\[\d+\]")
TOLERANCE = 1e-9
ABSOLUTE_TOLERANCE = 1e-12
"""Below it two numbers count as equal: what is left of sums that cancel."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Leaves that are taken from the record: a pattern of paths, and why.

    In a pattern ``[]`` stands for any index, ``*`` for one key, a trailing ``**`` for everything below.
    """

    pattern: str
    why: str

    def matches(self, path: str) -> bool:
        """Whether a path such as ``swap.loads[0].duration_s`` is meant."""
        return bool(_regex(self.pattern).fullmatch(_INDEX.sub("[]", path)))


@dataclass(frozen=True, slots=True)
class Difference:
    """One leaf that is not what was computed; ``missing`` stands where one side has none."""

    path: str
    computed: Any
    reported: Any


@dataclass(slots=True)
class Section:
    """What was compared below one key of the document."""

    name: str
    compared: int = 0
    numbers: int = 0
    taken: int = 0
    largest_gap: float = 0.0


@dataclass(slots=True)
class Comparison:
    """All of it. ``uncovered`` are paths that nothing computes and no rule names."""

    sections: dict[str, Section] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    uncovered: list[str] = field(default_factory=list)
    taken: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.differences and not self.uncovered


MISSING = "(missing)"
DEEPER = "(an object or a list)"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, leaf) of everything in a document; an empty list or object is a leaf."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{place}]")
    else:
        yield path, value


def compare(
    computed: Mapping[str, Any],
    reported: Mapping[str, Any],
    rules: Sequence[Rule],
    loose: Mapping[str, float],
) -> Comparison:
    """Hold a reported document against what was computed of it.

    ``computed`` has the shape of ``reported`` with parts left out. Numbers agree to ``TOLERANCE`` of their
    size; under the top-level keys of ``loose`` to the tolerance given there, of their size or of 1.
    """
    expected, found = dict(leaves(computed)), dict(leaves(reported))
    result = Comparison()
    for path, value in found.items():
        name = re.split(r"[.\[]", path, maxsplit=1)[0]
        section = result.sections.setdefault(name, Section(name))
        if path in expected:
            _compare_leaf(result, section, path, expected[path], value, loose.get(name))
            continue
        rule = next((rule for rule in rules if rule.matches(path)), None)
        if rule is None and any(other.startswith((f"{path}.", f"{path}[")) for other in expected):
            result.differences.append(Difference(path, DEEPER, value))
        elif rule is None:
            result.uncovered.append(path)
        else:
            section.taken += 1
            result.taken.setdefault(rule.why, []).append(path)
    for path in expected.keys() - found.keys():
        # An empty list or object computed where the report has entries is told by those entries.
        if not (
            _is_empty(expected[path]) and any(other.startswith((f"{path}.", f"{path}[")) for other in found)
        ):
            result.differences.append(Difference(path, expected[path], MISSING))
    result.differences.sort(key=lambda difference: difference.path)
    return result


def _compare_leaf(
    result: Comparison, section: Section, path: str, computed: Any, reported: Any, loose: float | None
) -> None:
    section.compared += 1
    both_empty = _is_empty(computed) and _is_empty(reported)
    if is_number(computed) and is_number(reported):
        section.numbers += 1
        gap = abs(computed - reported)
        section.largest_gap = max(section.largest_gap, gap)
        relative, absolute = (TOLERANCE, ABSOLUTE_TOLERANCE) if loose is None else (loose, loose)
        if math.isclose(computed, reported, rel_tol=relative, abs_tol=absolute):
            return
    elif both_empty or (type(computed) is type(reported) and computed == reported):
        return
    result.differences.append(Difference(path, computed, reported))


def is_number(value: Any) -> bool:
    """An int or float; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_empty(value: Any) -> bool:
    return isinstance(value, list | tuple | dict) and not value


def _regex(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\*\*", "\0").replace(r"\*", r"[^.\[]+").replace("\0", ".*")
    return re.compile(text)
