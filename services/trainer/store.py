"""Jobs on disk: one folder a job, so that a restarted service knows all of them.

jobs/<id>/request.json      the spec, written once
          status.json       the job's state, replaced in one step
          progress.jsonl    one line a step, appended by the child
          outcome.json      the child's last word, written in one step
          checkpoints/      of the run
          child.log         what the child wrote to stdout and stderr
"""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from services.trainer.types import Job, JobState, Progress, TrainedAdapter, TrainingSpec

log = structlog.get_logger(__name__)

EXIT_NO_SPACE = 74
"""A child that could not even write its last word ends with this status (EX_IOERR of sysexits.h)."""
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def no_space(error: OSError) -> bool:
    """True if a disk is full, or the share of it that we may fill."""
    return error.errno in _NO_SPACE


@dataclass(frozen=True, slots=True)
class Outcome:
    """A child's last word: an adapter, or an error of the table."""

    adapter: TrainedAdapter | None = None
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The files of one job."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the run's checkpoints."""
        return self.path / "checkpoints"

    @property
    def progress(self) -> Path:
        """File of the job's curve."""
        return self.path / "progress.jsonl"

    @property
    def log(self) -> Path:
        """File of the child's stdout and stderr."""
        return self.path / "child.log"

    @property
    def lock(self) -> Path:
        """File that the child holds locked: never two children on one job."""
        return self.path / "lock"

    def read_spec(self) -> TrainingSpec:
        """The job's spec."""
        return TrainingSpec.from_json(json.loads((self.path / "request.json").read_text()))

    def write_outcome(self, outcome: Outcome) -> None:
        """The child's last word."""
        write_atomic(self.path / "outcome.json", asdict(outcome))

    def read_outcome(self) -> Outcome | None:
        """The child's last word, or None if there is none yet."""
        try:
            raw = json.loads((self.path / "outcome.json").read_text())
        except FileNotFoundError:
            return None
        adapter = TrainedAdapter(**raw["adapter"]) if raw["adapter"] else None
        return Outcome(adapter, raw["error_code"], raw["error_message"])

    def read_progress(self, offset: int) -> tuple[list[Progress], int]:
        """Whole lines written since byte ``offset``, and the offset to go on from."""
        try:
            with self.progress.open("rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], offset
        whole = data[: data.rfind(b"\n") + 1]
        points = []
        for line in whole.splitlines():
            try:
                points.append(Progress(**json.loads(line)))
            except (ValueError, TypeError):
                # A power cut can tear a line; the curve lacks a point then, and the job goes on.
                log.warning("trainer.progress_line_torn", job=self.path.name)
        return points, offset + len(whole)

    def log_tail(self, max_bytes: int = 4000) -> str:
        """The end of the child's log."""
        try:
            data = self.log.read_bytes()
        except FileNotFoundError:
            return ""
        return data[-max_bytes:].decode(errors="replace")

    def drop_work(self) -> None:
        """Remove what only a running job needs."""
        for name in ("checkpoints", "work"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def drop_results(self, *, keep_work: bool = False) -> None:
        """Forget how the job ended, and its curve: it begins anew, or with ``keep_work`` at its last
        checkpoint. Its child has ended.

        The last word goes last: after a crash in here the job has ended as before.
        """
        if not keep_work:
            self.drop_work()
        for name in ("progress.jsonl", "child.log", "outcome.json"):
            (self.path / name).unlink(missing_ok=True)


class JobStore:
    """All jobs below one folder."""

    def __init__(self, state_dir: Path) -> None:
        self._jobs_dir = state_dir / "jobs"

    def folder(self, job_id: str) -> JobFolder:
        """The files of a job, which need not exist."""
        return JobFolder(self._jobs_dir / job_id)

    def create(self, job: Job, spec: TrainingSpec) -> None:
        """Write a new job; after a crash in here the job is either known or not."""
        folder = self._jobs_dir / job.job_id
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "request.json", spec.to_json())
        self.write(job)

    def write(self, job: Job) -> None:
        """Replace a job's state; its progress lies in a file of its own."""
        raw = asdict(job)
        del raw["progress"]
        write_atomic(self._jobs_dir / job.job_id / "status.json", raw)

    def load_all(self) -> list[Job]:
        """Every job, oldest first."""
        return sorted(self._load(), key=lambda job: (job.created_ns, job.job_id))

    def _load(self) -> Iterator[Job]:
        for path in self._jobs_dir.glob("*/status.json"):
            raw: dict[str, Any] = json.loads(path.read_text())
            raw["state"] = JobState(raw["state"])
            raw["adapter"] = TrainedAdapter(**raw["adapter"]) if raw["adapter"] else None
            points, _ = self.folder(path.parent.name).read_progress(0)
            yield Job(**raw, progress=points[-1] if points else None)


def write_atomic(path: Path, data: dict[str, Any]) -> None:
    """Replace a JSON file in one step, on disk before it is visible."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w") as file:
            json.dump(data, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        raise
