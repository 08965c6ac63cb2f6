"""Each kind of change of a log is found, named and placed."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.hash_chain import FIRST_PREVIOUS, Anchor, entry_sha256, read_lines, verify

Entry = dict[str, Any]


def chain(count: int, actor: str = "key:ci") -> Iterator[Entry]:
    previous = FIRST_PREVIOUS
    for sequence in range(1, count + 1):
        entry: Entry = {
            "sequence": sequence,
            "time": "2026-11-26T04:00:00.000000+00:00",
            "actor": actor,
            "action": "run.create",
            "target_kind": "run",
            "target": f"r-{sequence}",
            "details": "{}",
            "previous_sha256": previous,
        }
        previous = entry_sha256(entry)
        yield {**entry, "sha256": previous}


def test_verify_untouched_and_empty_are_intact() -> None:
    entries = list(chain(10))
    found = verify(entries, [Anchor(4, entries[3]["sha256"]), Anchor(10, entries[9]["sha256"])])
    assert (found.intact, found.entries, found.head_sha256) == (True, 10, entries[-1]["sha256"])
    assert verify([]).intact
    assert verify([]).head_sha256 == FIRST_PREVIOUS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("actor", "key:other"),
        ("action", "run.cancel"),
        ("target", "r-9"),
        ("target_kind", "adapter"),
        ("details", '{"a":1}'),
        ("time", "2026-11-26T05:00:00.000000+00:00"),
        ("previous_sha256", "1" * 64),
        ("sha256", "1" * 64),
    ],
)
def test_verify_altered_field_is_found(field: str, value: str) -> None:
    entries = list(chain(10))
    entries[4][field] = value
    found = verify(entries)
    assert (found.intact, found.broken_at, found.entries) == (False, 5, 4)
    assert "altered" in found.reason


def test_verify_altered_and_hashed_anew_is_found_at_the_next() -> None:
    entries = list(chain(10))
    entries[4]["actor"] = "key:other"
    entries[4]["sha256"] = entry_sha256(entries[4])
    found = verify(entries)
    assert (found.broken_at, "replaced or added" in found.reason) == (6, True)


def test_verify_missing_reordered_and_duplicated_are_told_apart() -> None:
    entries = list(chain(10))
    assert verify(entries[:4] + entries[5:]).reason == "entry 5 is missing: entry 6 follows on entry 4"
    assert (
        verify(entries[:4] + entries[7:]).reason == "entries 5 to 7 are missing: entry 8 follows on entry 4"
    )
    assert verify(entries[1:]).broken_at == 1
    moved = entries[:4] + entries[5:7] + [entries[4]] + entries[7:]
    assert verify(moved).reason == "entry 5 is out of order: it comes after entry 6"
    twice = [*entries[:5], entries[4], *entries[5:]]
    assert verify(twice).reason == "entry 5 is there twice"
    early = [*entries[:5], entries[1], *entries[5:]]
    assert verify(early).reason == "entry 2 is out of order: it comes after entry 5"


def test_verify_cut_end_and_a_log_written_anew_need_a_known_entry() -> None:
    entries = list(chain(10))
    known = Anchor(9, entries[8]["sha256"])
    assert verify(entries[:8]).intact
    cut = verify(entries[:8], [known])
    assert (cut.broken_at, cut.reason) == (
        9,
        "the log ends with entry 8: entries up to 9 are missing",
    )
    forged = list(chain(10, "key:other"))
    assert verify(forged).intact
    anew = verify(forged, [known])
    assert (anew.broken_at, "written anew" in anew.reason) == (9, True)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"sequence": true}',
        b'{"sequence": 1.0}',
        b"[" * 100_000,
        b'{"sequence":1}',
    ],
)
def test_verify_line_that_is_no_entry_is_broken_not_a_crash(line: bytes) -> None:
    found = verify(read_lines([line]))
    assert (found.intact, found.broken_at) == (False, 1)
    assert "no entry" in found.reason


def test_verify_lone_surrogate_is_an_entry_like_another() -> None:
    entries = list(chain(2))
    entries[1]["actor"] = "\ud800"
    assert "altered" in verify(read_lines(json.dumps(one) for one in entries)).reason


@given(st.lists(st.integers(0, 9), max_size=14))
def test_verify_any_other_order_is_broken(places: list[int]) -> None:
    entries = list(chain(10))
    found = verify([entries[place] for place in places])
    assert found.intact == (places == list(range(len(places))))


def test_verify_long_log_in_flat_memory() -> None:
    tracemalloc.start()
    found = verify(chain(20_000))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.entries == 20_000
    assert peak_bytes < 1_000_000


def test_module_needs_the_standard_library_alone() -> None:
    path = Path(__file__).parents[3] / "services" / "common" / "hash_chain.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
