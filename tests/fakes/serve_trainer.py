"""The trainer's real service, whose jobs train nothing: ``python -m tests.fakes.serve_trainer STEP_S``.

Jobs, state folder, child processes, checkpoints, adapters and outcomes are real; what a child computes
between two of its checkpoints is ``STEP_S`` seconds of sleep (see ``quick_training``).
"""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import IO

from services.common.lifecycle import run_service
from services.common.logs import configure_logging
from services.common.pb.trainer.v1 import trainer_pb2_grpc
from services.common.settings import load_settings
from services.trainer.jobs import JobRunner
from services.trainer.servicer import SERVICE_NAME, TrainerServicer
from services.trainer.settings import TrainerSettings


class QuickRunner(JobRunner):
    """Starts ``quick_training`` where the service starts ``services.trainer.lora``."""

    def __init__(self, settings: TrainerSettings, step_s: float) -> None:
        super().__init__(settings)
        self._step_s = step_s

    async def _spawn(self, job_dir: Path, output: IO[bytes]) -> Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.fakes.quick_training", str(job_dir)),
            *("--parent", str(os.getpid())),
            *("--artifacts", self._settings.artifacts_uri),
            *("--step-s", str(self._step_s)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


async def serve(settings: TrainerSettings, step_s: float) -> None:
    """As ``services.trainer.__main__`` does."""
    runner = QuickRunner(settings, step_s)
    await run_service(
        name="trainer",
        settings=settings,
        service_names=(SERVICE_NAME,),
        register=lambda server: trainer_pb2_grpc.add_TrainerServiceServicer_to_server(
            TrainerServicer(runner), server
        ),
        start=runner.run,
        stop=runner.wait_closed,
    )


def main() -> None:
    """Read the settings, serve until a signal."""
    settings = load_settings(TrainerSettings)
    configure_logging("trainer", settings.log_level, settings.log_format)
    asyncio.run(serve(settings, float(sys.argv[1])))


if __name__ == "__main__":
    main()
