"""Which completions were paid for twice, and whether a stored one was among them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The payment keys of what was stored at a time (ns), right behind a kill."""

    time_ns: int
    stored: frozenset[str]


@dataclass(frozen=True, slots=True)
class Account:
    """One run's payments: how many, how many again, and those again that were stored before."""

    paid: int
    again: int
    most_after_one_kill: int
    stored_before: tuple[str, ...]


def account(payments: Sequence[tuple[int, str]], snapshots: Sequence[Snapshot]) -> Account:
    """Look through the payments of one run.

    A completion that was made but not stored when something died was in flight: it may be made again.
    One that a snapshot holds may not.
    """
    seen: Counter[str] = Counter()
    after: Counter[int] = Counter()
    wrong: list[str] = []
    paid = again = 0
    for time_ns, key in sorted(payments):
        paid += 1
        earlier = [number for number, snapshot in enumerate(snapshots) if snapshot.time_ns < time_ns]
        if any(key in snapshots[number].stored for number in earlier):
            wrong.append(key)
        elif seen[key]:
            again += 1
            after[earlier[-1] if earlier else -1] += 1
        seen[key] += 1
    return Account(paid, again + len(wrong), max(after.values(), default=0), tuple(wrong))
