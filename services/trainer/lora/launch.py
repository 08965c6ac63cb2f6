"""Starts a job's workers, waits for them, and says what came of it. The caller is the job's own process."""

import secrets
from dataclasses import replace

import structlog

from services.trainer.lora.worker import Order, begin_attempt, read_answer
from services.trainer.store import Outcome

log = structlog.get_logger(__name__)


def run_workers(order: Order) -> Outcome:
    """The workers' answer.

    Raises:
        NotReadyError: no Ray cluster answers.
        Exception: of the launcher, if the workers ended without an answer as often as they may.
    """
    order = replace(order, attempt=secrets.token_hex(8))
    begin_attempt(order)
    if order.compute.backend == "ray":
        from services.trainer.lora.launch_ray import launch
    else:
        from services.trainer.lora.launch_torchrun import launch
    try:
        launch(order)
    except Exception:
        answer = read_answer(order)
        if answer is None:
            raise
        # The job's own error has been the end of its workers.
        log.info("training.workers_ended", code=answer.error_code, exc_info=True)
        return answer
    answer = read_answer(order)
    if answer is None:
        raise RuntimeError(f"the workers of {order.job_dir} ended without an answer")
    return answer
