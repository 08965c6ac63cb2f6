"""What ``recompute.py`` of a bundle runs: every check, in words and as a table."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from services.orchestrator.audit.checking import Outcome, check_bundle
from services.orchestrator.audit.files import FolderFiles

CANNOT_FIND = (
    "What this cannot find: a bundle that somebody forged as a whole, texts, embeddings and numbers that fit "
    "each other. Against that, compare the bundle's sha256 with one that you were told elsewhere "
    "(--expect-sha256), the evidence's sha256 with the run's report page, or run the study again. Embeddings "
    "and log-probabilities are taken as recorded: computing them again needs the models, whose fingerprints "
    "are in report.json under provenance."
)


def main(folder: Path) -> int:
    """Check the unpacked bundle in a folder, print what was found; 0 if nothing is wrong, 1 otherwise."""
    outcome = check_bundle(FolderFiles(folder))
    print(table(outcome))
    for note in version_notes(outcome.facts):
        print(f"note: {plain(note)}")
    print(f"\n{CANNOT_FIND}\n\n{verdict(outcome)}")
    return 0 if outcome.ok else 1


def verdict(outcome: Outcome) -> str:
    """The end of it in one sentence."""
    faults = sum(len(check.faults) + check.more for check in outcome.checks)
    if faults:
        return f"NOT VERIFIED: {faults} fault{'s' if faults != 1 else ''}, listed above."
    comparison = outcome.comparison
    numbers = sum(section.numbers for section in comparison.sections.values()) if comparison else 0
    return f"VERIFIED: {numbers} numbers of report.json were computed again from the bundle and are the same."


def version_notes(facts: Mapping[str, Any]) -> Sequence[str]:
    """Where this process computes with other versions than the bundle was made with."""
    notes = []
    if facts.get("python") not in (None, platform.python_version()):
        notes.append(f"made with Python {facts['python']}, checked with {platform.python_version()}")
    libraries = facts.get("libraries")
    for name, made in sorted(libraries.items()) if isinstance(libraries, dict) else ():
        try:
            here = version(str(name))
        except PackageNotFoundError:
            here = "none"
        if here != made:
            notes.append(f"made with {name} {made}, checked with {here}")
    return notes


def table(outcome: Outcome) -> str:
    """The checks and the numbers as text."""
    lines = []
    for check in outcome.checks:
        lines.append(f"{'ok   ' if check.ok else 'FAULT'}  {check.question} ({check.checked} checked)")
        lines += [f"         {fault}" for fault in check.faults]
        lines += [f"         and {check.more} more"] if check.more else []
    comparison = outcome.comparison
    if comparison is not None:
        lines += [
            "",
            f"{'part of report.json':<24}{'recomputed':>11}{'numbers':>9}{'recorded':>10}{'largest gap':>13}",
        ]
        for section in comparison.sections.values():
            lines.append(
                f"{section.name:<24}{section.compared:>11}{section.numbers:>9}{section.taken:>10}"
                f"{section.largest_gap:>13.1e}"
            )
        lines += ["", "Taken from the record, because no bundle can give them again:"]
        for why, paths in comparison.taken.items():
            lines.append(f"  {len(paths):>5}  {why}: {', '.join(_some(paths))}")
    return "\n".join(plain(line) for line in lines)


def plain(text: str) -> str:
    """Without control characters: what is printed may be a stranger's, and a terminal obeys some."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The same as data."""
    comparison = outcome.comparison
    numbers: Mapping[str, Any] | None = None
    if comparison is not None:
        numbers = {
            "sections": [
                {
                    "name": section.name,
                    "recomputed": section.compared,
                    "numbers": section.numbers,
                    "recorded": section.taken,
                    "largest_gap": section.largest_gap,
                }
                for section in comparison.sections.values()
            ],
            "differences": [
                {"path": found.path, "reported": found.reported, "computed": found.computed}
                for found in comparison.differences
            ],
            "recorded": comparison.taken,
        }
    return {
        "ok": outcome.ok,
        "run_id": outcome.facts.get("run_id"),
        "checks": [
            {
                "id": check.id,
                "ok": check.ok,
                "checked": check.checked,
                "question": check.question,
                "faults": check.faults,
                "more_faults": check.more,
            }
            for check in outcome.checks
        ],
        "numbers": numbers,
        "cannot_find": CANNOT_FIND,
    }


def _some(paths: list[str]) -> list[str]:
    return paths if len(paths) <= 3 else [*paths[:3], "…"]
