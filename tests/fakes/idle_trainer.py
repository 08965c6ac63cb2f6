"""The trainer's job runner without a child: each job fails at once, so that no process is started."""

from services.trainer.jobs import JobRunner
from services.trainer.store import JobFolder, Outcome
from services.trainer.types import Job


class IdleJobRunner(JobRunner):
    """Everything around the child is the real runner's."""

    async def _run_child(self, job: Job, folder: JobFolder) -> int:
        folder.write_outcome(Outcome(error_code="PRECONDITION", error_message="no training here"))
        return 1
