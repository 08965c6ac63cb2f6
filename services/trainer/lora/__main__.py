"""The child process of one job: ``python -m services.trainer.lora <job folder> …``.

It dies with its parent, is alone on its job, and says its last word in ``outcome.json``. It trains itself, or
starts the workers that do and that die with it.
"""

import argparse
import errno
import fcntl
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import structlog

from services.common.artifacts import ArtifactStore
from services.common.errors import ErrorCode, ValignError
from services.common.logs import configure_logging
from services.common.process import die_with_parent
from services.trainer.compute import Compute
from services.trainer.lora.launch import run_workers
from services.trainer.lora.worker import Order
from services.trainer.store import EXIT_NO_SPACE, JobFolder, Outcome, no_space
from services.trainer.telemetry import from_origin
from services.trainer.types import Progress

log = structlog.get_logger(__name__)

_ROOM_BYTES = 1024 * 1024
_FAULT = Outcome(
    error_code=ErrorCode.INTERNAL,
    error_message="training failed by a fault of the trainer; its log has the trace",
)


def main(argv: list[str] | None = None) -> int:
    """Run the job; the exit status is 0 whenever the outcome has been written.

    A disk too full for that is EXIT_NO_SPACE.
    """
    parser = argparse.ArgumentParser(prog="services.trainer.lora", description="Run one training job.")
    parser.add_argument("job_dir", type=Path)
    parser.add_argument("--parent", type=int, required=True, help="pid of the service")
    parser.add_argument("--artifacts", required=True, help="root of the artifact store")
    parser.add_argument("--compute", type=Compute.from_text, required=True, help="JSON of Compute")
    parser.add_argument("--log-level", default="info")
    args = parser.parse_args(argv)
    die_with_parent(args.parent)
    configure_logging("trainer-job", args.log_level, "json")
    folder = JobFolder(args.job_dir)
    with folder.lock.open("w") as lock:
        # The child of an earlier service may take a moment to be gone.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.read_outcome() is None:
            with from_origin(folder):
                try:
                    folder.write_outcome(_run(folder, args))
                except OSError as error:
                    if not no_space(error):
                        raise
                    log.error("training.no_space", reason=str(error))
                    return EXIT_NO_SPACE
    return 0


def _run(folder: JobFolder, args: argparse.Namespace) -> Outcome:
    spec = folder.read_spec()
    work = folder.path / "work"
    work.mkdir(exist_ok=True)
    with folder.progress.open("a") as curve:

        def report(point: Progress) -> None:
            curve.write(json.dumps(asdict(point)) + "\n")
            curve.flush()

        try:
            if args.compute.backend != "local":
                return run_workers(Order(str(folder.path), args.artifacts, "", args.log_level, args.compute))
            # Imports torch and transformers: seconds that only a job should pay.
            from services.trainer.lora.train import run_job

            adapter = run_job(
                spec,
                work=work,
                checkpoints=folder.checkpoints,
                store=ArtifactStore(args.artifacts),
                report=report,
                device=args.compute.device,
                compute=args.compute,
            )
        except ValignError as error:
            log.warning("training.failed", code=error.code, message=error.message)
            return Outcome(error_code=error.code, error_message=error.message)
        except Exception as error:
            # Libraries that write tensors tell a full disk in errors of their own.
            left = shutil.disk_usage(folder.path).free
            if left < _ROOM_BYTES or (isinstance(error, OSError) and no_space(error)):
                # The service says it: for our last word there may be no room either.
                raise OSError(errno.ENOSPC, f"{error} ({left} bytes are free)") from error
            log.exception("training.fault")
            return _FAULT
    return Outcome(adapter=adapter)


if __name__ == "__main__":
    raise SystemExit(main())
