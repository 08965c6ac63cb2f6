"""What lists can be asked for: pages, filters and order, the same for every list that grows (AIP-158).

A page token is bound to the filters and the order that it was made with: with others it is refused, since
the pages would not be of one list.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from services.common.errors import InvalidInputError

MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50
MAX_FILTER_CHARACTERS = 255

Choice = TypeVar("Choice", bound=StrEnum)


class ListOrder(StrEnum):
    """In which order a list comes."""

    NEWEST = "create_time desc"
    OLDEST = "create_time"


class Verdict(StrEnum):
    """What a run's gate said."""

    PROMOTE = "promote"
    HOLD = "hold"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: ``size`` at most 200, ``token`` of the page before ("" for the first)."""

    size: int = DEFAULT_PAGE_SIZE
    token: str = ""
    order: ListOrder = ListOrder.NEWEST

    def bounded(self) -> "Page":
        """At most 200 a page, also if more are asked for; InvalidInputError below 1."""
        if self.size < 1:
            raise InvalidInputError(f"page_size must be from 1 to {MAX_PAGE_SIZE}, not {self.size}")
        return Page(min(self.size, MAX_PAGE_SIZE), self.token, self.order)


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; what is empty or None asks for nothing."""

    name: str = ""
    created_by: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    reference_set: str = ""
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries of the audit log; what is empty or None asks for nothing."""

    actor: str = ""
    action: str = ""
    target_kind: str = ""
    target: str = ""
    time_after: datetime | None = None
    time_before: datetime | None = None


def binding(order: ListOrder, filters: dict[str, Any]) -> str:
    """A short hash (hex) of a list's order and filters, for its page tokens."""
    asked = {name: value for name, value in filters.items() if value not in ("", None)}
    text = json.dumps([order.value, asked], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def asked_of(where: RunFilter | AuditFilter) -> dict[str, Any]:
    """A filter's fields by name."""
    return asdict(where)


def one_of(kind: type[Choice], text: str, name: str) -> Choice | None:
    """A choice by its text; None for "". InvalidInputError names what there is."""
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(repr(item.value) for item in kind)
        raise InvalidInputError(f"{name} {text[:80]!r} is not known; it is one of {known}") from None


def utc(moment: datetime) -> datetime:
    """The same moment in UTC; ValueError for one that has no zone, or none in UTC's calendar."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs its zone, for example 2026-11-21T14:03:05Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("this moment is outside the years 1 to 9999 in UTC") from None
