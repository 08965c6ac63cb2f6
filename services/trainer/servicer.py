"""The gRPC face of the trainer: convert, call, convert."""

from collections.abc import AsyncIterator

import grpc

from services.common import usage
from services.common.pb.trainer.v1 import trainer_pb2 as pb
from services.common.pb.trainer.v1 import trainer_pb2_grpc
from services.trainer.convert import job_to_pb, spec_from_pb
from services.trainer.jobs import JobRunner

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["TrainerService"].full_name


class TrainerServicer(trainer_pb2_grpc.TrainerServiceServicer):
    """Errors are raised as ValignError; the server's interceptor maps them."""

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner

    async def StartTraining(
        self, request: pb.StartTrainingRequest, context: grpc.aio.ServicerContext
    ) -> pb.StartTrainingResponse:
        """Begin a job or attach to it."""
        job, attached = self._runner.start(
            request.job_id, spec_from_pb(request.spec), restart_ended=request.restart_ended
        )
        return pb.StartTrainingResponse(job=job_to_pb(job), attached=attached)

    async def WatchTraining(
        self, request: pb.WatchTrainingRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.WatchTrainingResponse]:
        """The job's state, then every change until it has ended."""
        async for job in self._runner.watch(request.job_id):
            yield pb.WatchTrainingResponse(job=job_to_pb(job))
        # Whoever follows a job to its end is told what it cost, also if somebody was told before.
        usage.account().add(job.cpu_s, job.gpu_s)

    async def GetTraining(
        self, request: pb.GetTrainingRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetTrainingResponse:
        """The job's state."""
        return pb.GetTrainingResponse(job=job_to_pb(self._runner.get(request.job_id)))

    async def CancelTraining(
        self, request: pb.CancelTrainingRequest, context: grpc.aio.ServicerContext
    ) -> pb.CancelTrainingResponse:
        """Kill the job's process."""
        return pb.CancelTrainingResponse(job=job_to_pb(await self._runner.cancel(request.job_id)))
