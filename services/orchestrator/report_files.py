"""The sha256 of a run's report files: in the database, apart from the files, which are checked by it."""

from typing import Final, Protocol

from services.common.artifacts import Artifact
from services.orchestrator.ports import RunRecord, RunStore

_VALUE: Final = "report_files"


class Files(Protocol):
    """Where the files lie: the artifact store."""

    def get_bytes(self, uri: str, sha256: str | None = None) -> bytes: ...


def note_report_files(store: RunStore, run_id: str, *made: Artifact) -> None:
    """Before the run's row names them: a step that is repeated writes other files under other names."""
    known = store.get_value(run_id, _VALUE) or {}
    store.put_value(run_id, _VALUE, {**known, **{file.uri: file.sha256 for file in made}})


def read_report_file(store: RunStore, files: Files, run: RunRecord, uri: str) -> bytes:
    """``run.report_uri`` or ``run.report_html_uri``. PreconditionError if it is not what was written.

    A run of a version that kept no hashes is read as it is.
    """
    known = store.get_value(run.run_id, _VALUE) or {}
    return files.get_bytes(uri, known.get(uri))
