"""The trainer port over gRPC."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import grpc

from services.common.artifacts import ArtifactStore
from services.common.errors import ErrorCode, NotReadyError, ValignError
from services.common.pb.trainer.v1 import trainer_pb2 as pb
from services.common.pb.trainer.v1 import trainer_pb2_grpc as pb_grpc
from services.common.rpc.client import as_valign_error
from services.common.rpc.fence import epoch_metadata
from services.orchestrator.clients.patience import OnWaiting, Patience, Waiter, no_one_told, patiently
from services.orchestrator.ports import AdapterRef, TrainingExample, TrainingRequest, TrainingStatus

SERVICE = "trainer"
INLINE_BYTES = 1 << 20
"""Examples beyond this size travel through the artifact store."""
_MAX_STREAM_S = 48 * 3600.0
_ENDED = frozenset({"succeeded", "failed", "cancelled"})
_STATES = {
    pb.TRAINING_STATE_QUEUED: "queued",
    pb.TRAINING_STATE_RUNNING: "running",
    pb.TRAINING_STATE_SUCCEEDED: "succeeded",
    pb.TRAINING_STATE_FAILED: "failed",
    pb.TRAINING_STATE_CANCELLED: "cancelled",
}


def job_id_of(request: TrainingRequest) -> str:
    """sha256 (hex) of the request's canonical JSON: the same request is the same job."""
    canonical = json.dumps(asdict(request), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class GrpcTrainer:
    """Calls wait for a trainer that is away; watching goes on where a broken stream stopped."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        artifacts: ArtifactStore,
        patience: Patience | None = None,
        on_waiting: OnWaiting = no_one_told,
    ) -> None:
        self._stub = pb_grpc.TrainerServiceStub(channel)
        self._artifacts = artifacts
        self._patience = patience or Patience()
        self._on_waiting = on_waiting

    def job_id(self, request: TrainingRequest) -> str:
        """``job_id_of(request)``."""
        return job_id_of(request)

    async def start(self, request: TrainingRequest, restart_ended: bool = False) -> str:
        """Begin or join the job; its id is ``job_id_of(request)``.

        ``restart_ended`` begins a job anew that has failed or was cancelled, instead of joining it.
        """
        job_id = job_id_of(request)
        message = pb.StartTrainingRequest(
            job_id=job_id, spec=self._spec(request), restart_ended=restart_ended
        )
        await patiently(
            SERVICE,
            self._patience,
            self._on_waiting,
            lambda: self._stub.StartTraining(
                message, timeout=self._patience.call_s, metadata=epoch_metadata()
            ),
        )
        return job_id

    async def watch(self, job_id: str) -> AsyncIterator[TrainingStatus]:
        """The job's states until it has ended."""
        waiter = Waiter(SERVICE, self._patience, self._on_waiting)
        ended = False
        while not ended:
            call = self._stub.WatchTraining(pb.WatchTrainingRequest(job_id=job_id), timeout=_MAX_STREAM_S)
            try:
                async for reply in call:
                    status = _status(reply.job)
                    waiter.progress()
                    yield status
                    # Read on: what the job cost comes with the stream's end.
                    ended = ended or status.state in _ENDED
            except grpc.aio.AioRpcError as error:
                if not ended:
                    await waiter.pause(as_valign_error(error))
                continue
            finally:
                call.cancel()
            if not ended:
                await waiter.pause(_stream_ended(job_id))

    async def cancel(self, job_id: str) -> TrainingStatus | None:
        """Kill the job and return how far it came; one that has ended is no error. None: it is unknown."""
        try:
            reply = await self._stub.CancelTraining(
                pb.CancelTrainingRequest(job_id=job_id),
                timeout=self._patience.call_s,
                metadata=epoch_metadata(),
            )
        except grpc.aio.AioRpcError as error:
            known = as_valign_error(error)
            if known.code is not ErrorCode.NOT_FOUND:
                raise known from error
            return None
        return _status(reply.job)

    def _spec(self, request: TrainingRequest) -> pb.TrainingSpec:
        lora, training = request.lora, request.training
        spec = pb.TrainingSpec(
            base_model=request.base_model,
            revision=request.base_revision,
            base_fingerprint=request.base_fingerprint,
            group_weights=dict(request.group_weights),
            lora=pb.LoraSpec(
                rank=lora["rank"],
                alpha=lora["alpha"],
                dropout=lora["dropout"],
                target_modules=lora["target_modules"],
            ),
            epochs=training["epochs"],
            batch_size=training["batch_size"],
            learning_rate=training["learning_rate"],
            adam_beta1=training["adam_beta1"],
            adam_beta2=training["adam_beta2"],
            weight_decay=training["weight_decay"],
            lr_schedule=training["lr_schedule"],
            warmup_steps=training["warmup_steps"],
            max_grad_norm=training["max_grad_norm"],
            max_length=training["max_length"],
            seed=request.seed,
            dtype=training["dtype"],
            adapter_name_prefix=request.adapter_name_prefix,
            canaries=training["canaries"],
            checkpoint_every_steps=training["checkpoint_every_steps"],
        )
        if request.init_adapter is not None:
            spec.init_adapter_uri = request.init_adapter.uri
            spec.init_adapter_sha256 = request.init_adapter.sha256
        lines = b"".join(_line(example) for example in request.examples)
        if len(lines) <= INLINE_BYTES:
            spec.examples.extend(_example(example) for example in request.examples)
        else:
            sha256 = hashlib.sha256(lines).hexdigest()
            stored = self._artifacts.put_bytes(f"examples/{sha256}.jsonl", lines)
            spec.examples_uri, spec.examples_sha256 = stored.uri, stored.sha256
        return spec


def _stream_ended(job_id: str) -> ValignError:
    return NotReadyError(f"the trainer ended the stream of job {job_id[:8]} before the job's end")


def _example(example: TrainingExample) -> pb.Example:
    turns = [pb.Message(role=turn.role, content=turn.content) for turn in example.prompt.messages]
    return pb.Example(messages=turns, answer=example.answer, group=example.group)


def _line(example: TrainingExample) -> bytes:
    data: dict[str, Any] = {
        "messages": [{"role": turn.role, "content": turn.content} for turn in example.prompt.messages],
        "answer": example.answer,
        "group": example.group,
    }
    return json.dumps(data, ensure_ascii=False).encode() + b"\n"


def _status(job: pb.TrainingJob) -> TrainingStatus:
    has_progress = job.HasField("progress")
    progress = job.progress
    adapter = None
    if job.HasField("adapter") and job.adapter.name:
        adapter = AdapterRef(name=job.adapter.name, sha256=job.adapter.sha256, uri=job.adapter.uri)
    return TrainingStatus(
        job_id=job.job_id,
        state=_STATES.get(job.state, "queued"),
        step=progress.step,
        total_steps=progress.total_steps,
        epoch=progress.epoch,
        loss=progress.loss if has_progress else None,
        learning_rate=progress.learning_rate if has_progress else None,
        tokens_per_s=progress.tokens_per_s if has_progress else None,
        time_left_s=progress.time_left_s if has_progress else None,
        adapter=adapter,
        error_code=job.error_code,
        error_message=job.error_message,
        duration_s=job.duration_s,
        device=progress.device,
        device_name=progress.device_name,
        workers=progress.workers,
        create_time_ns=job.create_time_ns,
        cpu_s=job.cpu_s,
        gpu_s=job.gpu_s,
    )
