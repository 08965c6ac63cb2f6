"""``python -m services.orchestrator.audit verify BUNDLE``: check a bundle with the installed analysis.

Nothing of the bundle is executed: its sources and its script are only held against the manifest.
Exit status: 0 nothing is wrong, 1 something is, 2 the file is no bundle.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from services.common.artifacts import sha256_file
from services.orchestrator.audit.checking import Check, Outcome, check_bundle
from services.orchestrator.audit.files import ZipFiles
from services.orchestrator.audit.page import check_page
from services.orchestrator.audit.recompute import CANNOT_FIND, as_json, plain, table, verdict, version_notes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="valign verify", description="Check an audit bundle.")
    commands = parser.add_subparsers(dest="command", required=True)
    verify = commands.add_parser("verify", help="check a bundle")
    verify.add_argument("bundle", type=Path)
    verify.add_argument("--expect-sha256", default="", help="the bundle's sha256 as you were told elsewhere")
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    try:
        digest = sha256_file(given.bundle)
        with given.bundle.open("rb") as file:
            files = ZipFiles(file)
            outcome = check_bundle(files, _quiet if given.json else _tell)
            outcome.checks.append(check_page(files, outcome))
    except (OSError, ValueError) as error:
        if given.json:
            print(json.dumps({"ok": False, "error": f"{given.bundle}: {error}"}))
        else:
            print(f"{given.bundle}: {error}", file=sys.stderr)
        return 2
    outcome.checks.insert(0, _digest(digest, given.expect_sha256.strip().lower()))
    notes = [*_valign_note(outcome), *version_notes(outcome.facts)]
    if given.json:
        print(json.dumps({**as_json(outcome), "sha256": digest, "notes": notes}, indent=1))
    else:
        print(table(outcome))
        print("".join(f"\nnote: {plain(note)}" for note in notes))
        print(f"{CANNOT_FIND}\n\nsha256 of the bundle: {digest}\n{verdict(outcome)}")
    return 0 if outcome.ok else 1


def _digest(found: str, expected: str) -> Check:
    if not expected:
        return Check("sha256", f"Is its sha256 one that you know? Not asked (--expect-sha256); it is {found}")
    check = Check("sha256", "Is its sha256 the one that you were told?", checked=1)
    if found != expected:
        check.faults.append(f"the bundle's sha256 is {found}, you were told {expected}")
    return check


def _valign_note(outcome: Outcome) -> list[str]:
    try:
        here = version("valign")
    except PackageNotFoundError:
        here = "unknown"
    made, ran = outcome.facts.get("valign"), outcome.facts.get("valign_of_run")
    notes = []
    if ran not in (None, made):
        notes.append(f"the run was made by valign {ran}, its bundle by {made}: their analyses may differ")
    if made in (None, here):
        return notes
    return [
        *notes,
        f"made with valign {made}, checked with {here}: the bundle's own recompute.py is the one of {made}",
    ]


def _tell(question: str) -> None:
    # Some checks take a minute: a person sees which one runs.
    print(f"… {question}", file=sys.stderr, flush=True)


def _quiet(question: str) -> None:
    return None


if __name__ == "__main__":
    sys.exit(main())
