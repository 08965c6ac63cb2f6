"""The chain of the audit log: how an entry is hashed, and how a log is found to have been changed.

Standard library only, so that an exported log can be checked on a machine that has nothing of ours but this
file. Not to be mixed up with audit bundles, which are about one run's numbers.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FIRST_PREVIOUS = "0" * 64
"""What stands for the entry before the first."""

TEXT_FIELDS = ("time", "actor", "action", "target_kind", "target", "details", "previous_sha256")
"""Hashed with ``sequence``; ``details`` is the JSON text itself, as it was written."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """What is known of a log from elsewhere: the sha256 (hex) of the entry with this sequence number."""

    sequence: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a log holds. ``entries`` and ``head_sha256`` tell how far it was read; ``broken_at`` is the
    sequence number where it is broken (0 if it is intact), ``reason`` says how."""

    intact: bool
    entries: int
    head_sha256: str
    broken_at: int = 0
    reason: str = ""


def entry_sha256(entry: Mapping[str, Any]) -> str:
    """sha256 (hex) of an entry: over ``sequence`` and the text fields as canonical JSON.

    Canonical: sorted keys, ASCII, no spaces. Its own ``sha256`` is left out.
    """
    fields = {name: entry[name] for name in ("sequence", *TEXT_FIELDS)}
    text = json.dumps(fields, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def verify(entries: Iterable[Mapping[str, Any]], known: Sequence[Anchor] = ()) -> Verdict:
    """Read a whole log, from its first entry on, in memory that does not grow with it.

    Finds the first entry that is altered, missing, added, out of order or there twice; and, with what is
    ``known`` from elsewhere, that the end was cut off or that all of it was written anew.
    """
    rest = iter(entries)
    sequence, sha256 = 0, FIRST_PREVIOUS
    anchors = {anchor.sequence: anchor.sha256 for anchor in known if anchor.sequence > 0}
    for entry in rest:
        fault = _fault(entry, sequence, sha256, rest)
        if fault:
            return Verdict(False, sequence, sha256, *fault)
        sequence, sha256 = entry["sequence"], entry["sha256"]
        wanted = anchors.pop(sequence, sha256)
        if wanted != sha256:
            reason = (
                f"entry {sequence} has the sha256 {sha256}, known is {wanted}: it, or one before it, was"
                " written anew with all that follow"
            )
            return Verdict(False, sequence, sha256, sequence, reason)
    if anchors:
        last = max(anchors)
        reason = f"the log ends with entry {sequence}: entries up to {last} are missing"
        return Verdict(False, sequence, sha256, sequence + 1, reason)
    return Verdict(True, sequence, sha256)


def read_lines(lines: Iterable[bytes | str]) -> Iterator[Mapping[str, Any]]:
    """Entries of JSON lines. One that is none stands there as an entry that ``verify`` refuses."""
    for line in lines:
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        yield entry if isinstance(entry, dict) else {}


def _fault(
    entry: Mapping[str, Any], sequence: int, sha256: str, rest: Iterator[Mapping[str, Any]]
) -> tuple[int, str] | None:
    """(sequence number, how) if the entry does not follow the one before; may read all that follow."""
    wanted = sequence + 1
    if not _is_entry(entry):
        return wanted, f"what stands where entry {wanted} should be is no entry of an audit log"
    found: int = entry["sequence"]
    if found == sequence:
        return sequence, f"entry {sequence} is there twice"
    if found < wanted:
        return found, f"entry {found} is out of order: it comes after entry {sequence}"
    if found > wanted:
        if any(later.get("sequence") == wanted for later in rest):
            return wanted, f"entry {wanted} is out of order: it comes after entry {found}"
        missing = f"entry {wanted} is" if found == wanted + 1 else f"entries {wanted} to {found - 1} are"
        return wanted, f"{missing} missing: entry {found} follows on entry {sequence}"
    if entry["sha256"] != _sha256_or_none(entry):
        return wanted, f"entry {wanted} was altered: its content does not have its sha256"
    if entry["previous_sha256"] != sha256:
        return wanted, (
            f"entry {wanted} was not written after entry {sequence} as it is here: one of the two was"
            " replaced or added"
        )
    return None


def _is_entry(entry: Mapping[str, Any]) -> bool:
    sequence = entry.get("sequence")
    return (
        isinstance(sequence, int)
        and not isinstance(sequence, bool)
        and sequence >= 1
        and all(isinstance(entry.get(name), str) for name in (*TEXT_FIELDS, "sha256"))
    )


def _sha256_or_none(entry: Mapping[str, Any]) -> str | None:
    try:
        return entry_sha256(entry)
    except ValueError:
        return None
