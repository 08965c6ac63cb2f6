"""One training job, from its spec to a published adapter.

It knows torch and the files of its job; it knows nothing of gRPC, queues or other jobs.
"""

import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path

import structlog
import torch
from peft import PeftModel
from transformers import AutoTokenizer

from services.common.artifacts import ArtifactStore
from services.common.base_model import fingerprint_base_model, resolve_base_model
from services.common.errors import InvalidInputError, PreconditionError
from services.trainer.artifacts import publish_adapter
from services.trainer.lora.canaries import measure_canaries
from services.trainer.lora.checkpoint import Position, load_checkpoint, save_checkpoint
from services.trainer.lora.dataset import (
    EncodedExample,
    batch_indices,
    encode_examples,
    parse_examples,
    steps_per_epoch,
)
from services.trainer.lora.loss import example_losses, weighted_mean
from services.trainer.lora.model import (
    AnswerLogits,
    adapter_parameters,
    load_adapter_weights,
    load_base,
    new_adapter,
)
from services.trainer.lora.schedule import learning_rate
from services.trainer.types import Progress, TrainedAdapter, TrainingSpec

log = structlog.get_logger(__name__)

_DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def run_job(
    spec: TrainingSpec,
    *,
    work: Path,
    checkpoints: Path,
    store: ArtifactStore,
    report: Callable[[Progress], None],
    threads: int = 0,
    device: str = "auto",
) -> TrainedAdapter:
    """Train and publish; resumes from the newest checkpoint in ``checkpoints``.

    Args:
        spec: the job, checked.
        work: folder for files that only this run needs.
        checkpoints: folder of the job's checkpoints.
        store: where the examples and adapters are.
        report: called after every optimizer step.
        threads: CPU threads; 0 for one a core.
        device: "auto", "cpu" or "cuda".

    Raises:
        InvalidInputError: the spec cannot be trained as it is, for example the loss is not finite.
        PreconditionError: another base model, a sha256 that differs, memory that does not suffice.
    """
    if threads:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(spec.seed)
    base = resolve_base_model(spec.base_model, spec.revision)
    fingerprint = fingerprint_base_model(base)
    if spec.base_fingerprint and spec.base_fingerprint != fingerprint:
        raise PreconditionError(
            f"base model {spec.base_model!r} has the fingerprint {fingerprint} here, the job wants "
            f"{spec.base_fingerprint}; give trainer and generator the same model"
        )
    tokenizer = AutoTokenizer.from_pretrained(base)
    examples = spec.examples or parse_examples(
        store.get_bytes(spec.examples_uri, spec.examples_sha256), spec.group_weights
    )
    encoded = encode_examples(tokenizer, examples, spec.group_weights, max_length=spec.max_length)
    model = new_adapter(load_base(base, _DTYPES[spec.dtype], device), spec.lora, spec.base_model)
    if spec.init_adapter_uri:
        store.fetch_folder(spec.init_adapter_uri, spec.init_adapter_sha256, work / "init")
        load_adapter_weights(model, work / "init", spec.lora)
    forward = AnswerLogits(model)
    log.info(
        "training.ready",
        device=device,
        threads=torch.get_num_threads(),
        examples=len(encoded),
        dtype=spec.dtype,
    )
    try:
        train(spec, encoded, model, forward, checkpoints=checkpoints, report=report)
        folder = work / "adapter"
        model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
        count = min(spec.canaries, len(examples))
        canaries = measure_canaries(model, forward, examples[:count], encoded[:count])
    except torch.OutOfMemoryError as error:
        raise PreconditionError(
            f"{device} ran out of memory; lower batch_size or max_length, or train on a larger device"
        ) from error
    return publish_adapter(store, folder, spec, base_fingerprint=fingerprint, canaries=canaries)


def train(
    spec: TrainingSpec,
    examples: list[EncodedExample],
    model: PeftModel,
    forward: AnswerLogits,
    *,
    checkpoints: Path,
    report: Callable[[Progress], None],
) -> None:
    """AdamW on the adapter with the weighted loss, one optimizer step a batch.

    Raises:
        InvalidInputError: the loss or the gradient is not finite; nothing is published then.
    """
    parameters = adapter_parameters(model)
    optimizer = torch.optim.AdamW(
        list(parameters.values()),
        lr=spec.learning_rate,
        betas=(spec.adam_beta1, spec.adam_beta2),
        weight_decay=spec.weight_decay,
        fused=True,
    )
    device = next(iter(parameters.values())).device.type
    model.train()
    position = load_checkpoint(checkpoints, parameters, optimizer)
    total = steps_per_epoch(len(examples), spec.batch_size) * spec.epochs
    for step in range(position.step, total):
        started = time.monotonic()
        torch.manual_seed(_step_seed(spec.seed, step))
        batch = [examples[i] for i in batch_indices(step, len(examples), spec.batch_size, spec.seed)]
        rate = learning_rate(
            spec.lr_schedule,
            step,
            peak=spec.learning_rate,
            total_steps=total,
            warmup_steps=spec.warmup_steps,
        )
        loss = _step(spec, batch, forward, optimizer, rate, step)
        position = Position(
            step + 1,
            position.tokens + sum(len(e.token_ids) for e in batch),
            position.seconds + time.monotonic() - started,
        )
        if position.step % spec.checkpoint_every_steps == 0 or position.step == total:
            save_checkpoint(checkpoints, position, parameters, optimizer)
        report(_progress(position, total, spec.epochs, loss, rate, device))


def _step(
    spec: TrainingSpec,
    batch: list[EncodedExample],
    forward: AnswerLogits,
    optimizer: torch.optim.Optimizer,
    rate: float,
    step: int,
) -> float:
    """One optimizer step; returns the batch's weighted loss in nats a token."""
    logits, targets, owners = forward(batch)
    weights = torch.tensor([e.weight for e in batch], dtype=torch.float32, device=logits.device)
    loss = weighted_mean(example_losses(logits, targets, owners, len(batch)), weights)
    value = loss.item()
    _check_finite("loss", value, step, spec)
    torch.autograd.backward(loss)
    parameters = optimizer.param_groups[0]["params"]
    norm = torch.nn.utils.clip_grad_norm_(parameters, spec.max_grad_norm or math.inf).item()
    _check_finite("gradient norm", norm, step, spec)
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return value


def _check_finite(what: str, value: float, step: int, spec: TrainingSpec) -> None:
    # The spec's fault and not ours: the same job would fail again, another learning rate may not.
    if not math.isfinite(value):
        raise InvalidInputError(
            f"the {what} is {value} at step {step + 1}: training diverged and no adapter was published; "
            f"lower learning_rate (now {spec.learning_rate:g}), use dtype float32, or check the base model"
        )


def _progress(position: Position, total: int, epochs: int, loss: float, rate: float, device: str) -> Progress:
    return Progress(
        step=position.step,
        total_steps=total,
        epoch=position.step * epochs / total,
        loss=loss,
        learning_rate=rate,
        tokens_per_s=position.tokens / position.seconds,
        time_left_s=(total - position.step) * position.seconds / position.step,
        tokens=position.tokens,
        device=device,
    )


def _step_seed(seed: int, step: int) -> int:
    """Seed of a step's dropout: a function of the position, so that a resume repeats it."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}".encode()).digest()[:8], "big") >> 1
