"""Pausing, resuming and retrying runs over gRPC, and their steps."""

from typing import Any

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.api import convert
from services.orchestrator.application import Application
from services.orchestrator.expecting import expecting


class ControlServicer:
    """The part of ``OrchestratorServicer`` that steers runs."""

    _application: Application

    async def PauseRun(self, request: pb.PauseRunRequest, context: Any) -> pb.PauseRunResponse:
        """Stop a run where it is."""
        with expecting("run", request.run_id, convert.etags(request)):
            run = await self._application.pause_run(request.run_id)
        return pb.PauseRunResponse(run=convert.run_to_pb(run))

    async def ResumeRun(self, request: pb.ResumeRunRequest, context: Any) -> pb.ResumeRunResponse:
        """Let a paused run go on."""
        with expecting("run", request.run_id, convert.etags(request)):
            run = await self._application.resume_run(request.run_id)
        return pb.ResumeRunResponse(run=convert.run_to_pb(run))

    async def RetryRun(self, request: pb.RetryRunRequest, context: Any) -> pb.RetryRunResponse:
        """Open a run that has ended again."""
        budget = {field.name: value for field, value in request.budget.ListFields()}
        with expecting("run", request.run_id, convert.etags(request)):
            run = await self._application.retry_run(request.run_id, request.from_step, budget)
        return pb.RetryRunResponse(run=convert.run_to_pb(run))

    async def ListRunSteps(self, request: pb.ListRunStepsRequest, context: Any) -> pb.ListRunStepsResponse:
        """The steps that a run has recorded."""
        found = await self._application.run_steps(request.run_id)
        return pb.ListRunStepsResponse(
            steps=[
                pb.RunStep(number=step.number, name=step.name, error_code=step.error_code) for step in found
            ]
        )
