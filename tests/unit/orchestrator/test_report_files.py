"""Reports are read only if they are what was written."""

from pathlib import Path

import pytest

from services.common.artifacts import ArtifactStore
from services.common.errors import PreconditionError
from services.orchestrator.report_files import note_report_files, read_report_file
from tests.fakes.orchestrator import migrated_store


def test_read_report_file_changed_since_is_refused_and_unknown_is_read(tmp_path: Path) -> None:
    store, _ = migrated_store(tmp_path)
    files = ArtifactStore(str(tmp_path / "artifacts"))
    run, _ = store.create_run("r-1", "demo", {"name": "demo"})
    first = files.put_bytes("runs/r-1/report-1.json", b"{}")
    page = files.put_bytes("runs/r-1/report-1.html", b"<p>")
    # Of a version that kept no hashes.
    assert read_report_file(store, files, run, first.uri) == b"{}"
    note_report_files(store, "r-1", first, page)
    second = files.put_bytes("runs/r-1/report-2.json", b"[]")
    note_report_files(store, "r-1", second)
    for made, data in ((first, b"{}"), (page, b"<p>"), (second, b"[]")):
        assert read_report_file(store, files, run, made.uri) == data
    (tmp_path / "artifacts" / "runs" / "r-1" / "report-1.html").write_bytes(b"<x>")
    with pytest.raises(PreconditionError, match=r"report-1\.html is damaged"):
        read_report_file(store, files, run, page.uri)
    store.close()
