"""Topics: what a study asks principles about (paper section 3.1)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. ``description`` is one sentence that prompts may quote."""

    id: str
    title: str
    description: str


@dataclass(frozen=True, slots=True)
class TopicSet:
    """A named, versioned list of topics; their order is the order of every table."""

    id: str
    title: str
    version: str
    topics: tuple[Topic, ...]
