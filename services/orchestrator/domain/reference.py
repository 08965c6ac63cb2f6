"""Reference value sets: the values that a model's principles are held against (paper section 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True, slots=True)
class ReferencePrinciple:
    """One principle of a reference set. ``source`` cites where it comes from."""

    id: str
    heading: str
    text: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class ReferenceSet:
    """A versioned set with its map topic id -> principle ids, and the people who answer for it.

    ``steward`` is the owner: the body or role that keeps the wording; ``responsible`` is whom to write to;
    ``stakeholders_consulted`` says whose views went into this version; ``review_date`` (ISO date) is when
    the set must be looked at again; ``changes`` has a line a version, the newest first.
    """

    id: str
    title: str
    version: str
    review_date: str
    steward: str
    responsible: str
    source: str
    principles: tuple[ReferencePrinciple, ...]
    topics: Mapping[str, tuple[str, ...]]
    languages: tuple[str, ...] = ("en",)
    changes: tuple[str, ...] = field(default=())
    stakeholders_consulted: tuple[str, ...] = field(default=())

    def principles_for(self, topic_id: str) -> tuple[ReferencePrinciple, ...]:
        """The principles mapped to a topic, in the mapping's order; empty if there are none."""
        by_id = {principle.id: principle for principle in self.principles}
        return tuple(by_id[name] for name in self.topics.get(topic_id, ()))

    def overdue_review(self, today: date) -> str | None:
        """A warning, if the review date has passed; None otherwise."""
        due = date.fromisoformat(self.review_date)
        if today <= due:
            return None
        days = (today - due).days
        return (
            f"the reference set '{self.id}' {self.version} was due for review on {self.review_date}, "
            f"{days} day{'' if days == 1 else 's'} ago; ask {self.responsible} whether it still holds"
        )

    def unknown_principles(self) -> tuple[tuple[str, str], ...]:
        """(topic id, principle id) of every mapping to a principle that the set does not have."""
        known = {principle.id for principle in self.principles}
        return tuple(
            (topic, name) for topic, names in self.topics.items() for name in names if name not in known
        )
