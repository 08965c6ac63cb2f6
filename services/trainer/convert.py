"""Between the wire and our types; protobuf stops here."""

from services.common.pb.trainer.v1 import trainer_pb2 as pb
from services.trainer.types import Example, Job, JobState, LoraSpec, Message, TrainingSpec

_STATES = {
    JobState.QUEUED: pb.TRAINING_STATE_QUEUED,
    JobState.RUNNING: pb.TRAINING_STATE_RUNNING,
    JobState.SUCCEEDED: pb.TRAINING_STATE_SUCCEEDED,
    JobState.FAILED: pb.TRAINING_STATE_FAILED,
    JobState.CANCELLED: pb.TRAINING_STATE_CANCELLED,
}


def spec_from_pb(message: pb.TrainingSpec) -> TrainingSpec:
    """The spec of a request, unchecked."""
    return TrainingSpec(
        base_model=message.base_model,
        revision=message.revision,
        base_fingerprint=message.base_fingerprint,
        examples=tuple(
            Example(tuple(Message(m.role, m.content) for m in e.messages), e.answer, e.group)
            for e in message.examples
        ),
        examples_uri=message.examples_uri,
        examples_sha256=message.examples_sha256,
        group_weights=dict(message.group_weights),
        lora=LoraSpec(
            rank=message.lora.rank,
            alpha=message.lora.alpha,
            dropout=message.lora.dropout,
            target_modules=tuple(message.lora.target_modules),
        ),
        epochs=message.epochs,
        batch_size=message.batch_size,
        learning_rate=message.learning_rate,
        adam_beta1=message.adam_beta1,
        adam_beta2=message.adam_beta2,
        weight_decay=message.weight_decay,
        lr_schedule=message.lr_schedule,
        warmup_steps=message.warmup_steps,
        max_grad_norm=message.max_grad_norm,
        max_length=message.max_length,
        seed=message.seed,
        dtype=message.dtype,
        init_adapter_uri=message.init_adapter_uri,
        init_adapter_sha256=message.init_adapter_sha256,
        adapter_name_prefix=message.adapter_name_prefix,
        canaries=message.canaries,
        checkpoint_every_steps=message.checkpoint_every_steps,
    )


def job_to_pb(job: Job) -> pb.TrainingJob:
    """A job as the wire has it."""
    message = pb.TrainingJob(
        job_id=job.job_id,
        state=_STATES[job.state],
        error_code=job.error_code,
        error_message=job.error_message,
        duration_s=job.duration_s,
        attempts=job.attempts,
        create_time_ns=job.created_ns,
        cpu_s=job.cpu_s,
        gpu_s=job.gpu_s,
    )
    if job.progress is not None:
        p = job.progress
        message.progress.CopyFrom(
            pb.Progress(
                step=p.step,
                total_steps=p.total_steps,
                epoch=p.epoch,
                loss=p.loss,
                learning_rate=p.learning_rate,
                tokens_per_s=p.tokens_per_s,
                time_left_s=p.time_left_s,
                device=p.device,
                device_name=p.device_name,
                workers=p.workers,
            )
        )
    if job.adapter is not None:
        a = job.adapter
        message.adapter.CopyFrom(pb.TrainedAdapter(name=a.name, uri=a.uri, sha256=a.sha256))
    return message
