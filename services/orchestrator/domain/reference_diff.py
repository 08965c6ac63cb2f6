"""What changed between two versions of a reference set."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from services.orchestrator.domain.reference import ReferencePrinciple, ReferenceSet

_DESCRIBED = (
    "title",
    "version",
    "review_date",
    "steward",
    "responsible",
    "source",
    "languages",
    "stakeholders_consulted",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changed. ``what`` names it ("principles.care.text"); None means it is not there."""

    what: str
    old: str | None
    new: str | None

    @property
    def kind(self) -> str:
        """added, removed or changed."""
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"


@dataclass(frozen=True, slots=True)
class ReferenceDiff:
    """Changes by part. Those of ``principles`` and ``topics`` change what a run measures."""

    governance: tuple[Change, ...]
    principles: tuple[Change, ...]
    topics: tuple[Change, ...]
    note: str = ""

    @property
    def measures_differently(self) -> bool:
        """True if runs with the two versions cannot be compared."""
        return bool(self.principles or self.topics)


def diff_reference_sets(old: ReferenceSet, new: ReferenceSet) -> ReferenceDiff:
    """Compare two versions; principles are matched by id, topics by id."""
    governance = [
        Change(name, _shown(getattr(old, name)), _shown(getattr(new, name)))
        for name in ("id", *_DESCRIBED)
        if getattr(old, name) != getattr(new, name)
    ]
    added_changes = [line for line in new.changes if line not in old.changes]
    governance += [Change("changes", None, line) for line in added_changes]
    governance += [Change("changes", line, None) for line in old.changes if line not in new.changes]
    diff = ReferenceDiff(
        governance=tuple(governance),
        principles=_principles(old, new),
        topics=_topics(old.topics, new.topics),
    )
    if diff.measures_differently and old.version == new.version and old.id == new.id:
        return ReferenceDiff(
            diff.governance,
            diff.principles,
            diff.topics,
            note=f"the content differs but both say version {old.version}: raise the version",
        )
    return diff


def _principles(old: ReferenceSet, new: ReferenceSet) -> tuple[Change, ...]:
    before = {principle.id: principle for principle in old.principles}
    after = {principle.id: principle for principle in new.principles}
    found = []
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            found.append(Change(f"principles.{name}", before[name].text, None))
        elif name not in before:
            found.append(Change(f"principles.{name}", None, after[name].text))
        else:
            found += _fields(before[name], after[name])
    return tuple(found)


def _fields(old: ReferencePrinciple, new: ReferencePrinciple) -> list[Change]:
    return [
        Change(f"principles.{old.id}.{item.name}", getattr(old, item.name), getattr(new, item.name))
        for item in fields(old)
        if getattr(old, item.name) != getattr(new, item.name)
    ]


def _topics(old: Mapping[str, tuple[str, ...]], new: Mapping[str, tuple[str, ...]]) -> tuple[Change, ...]:
    return tuple(
        Change(f"topics.{topic}", _names(old.get(topic)), _names(new.get(topic)))
        for topic in dict.fromkeys((*old, *new))
        if tuple(old.get(topic, ())) != tuple(new.get(topic, ()))
    )


def _names(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else ", ".join(names)


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)
