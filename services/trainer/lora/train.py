"""One training job, from its spec to a published adapter.

It knows torch and the files of its job; it knows nothing of gRPC, queues or other jobs.
"""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel

from services.common.artifacts import ArtifactStore
from services.common.base_model import fingerprint_base_model, resolve_base_model
from services.common.errors import InvalidInputError, PreconditionError
from services.trainer.artifacts import publish_adapter
from services.trainer.compute import Compute
from services.trainer.lora.canaries import measure_canaries
from services.trainer.lora.checkpoint import Position, load_checkpoint, save_checkpoint
from services.trainer.lora.dataset import (
    EncodedExample,
    batch_indices,
    encode_examples,
    parse_examples,
    steps_per_epoch,
)
from services.trainer.lora.loss import example_losses, part_of_weighted_mean
from services.trainer.lora.model import (
    AnswerLogits,
    adapter_parameters,
    check_packing,
    load_adapter_weights,
    load_base,
    new_adapter,
)
from services.trainer.lora.quantise import load_quantised_base
from services.trainer.lora.schedule import learning_rate
from services.trainer.lora.world import World, whole
from services.trainer.types import Progress, TrainedAdapter, TrainingSpec

log = structlog.get_logger(__name__)

_ALONE = World()
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
    compute: Compute | None = None,
) -> TrainedAdapter:
    """Train in this process alone and publish; ``run_share`` says the rest."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    adapter = run_share(
        spec,
        World(device=device),
        compute or Compute(threads=threads),
        work=work,
        checkpoints=checkpoints,
        store=store,
        report=report,
    )
    if adapter is None:
        raise AssertionError("a process that is alone leads")
    return adapter


def run_share(
    spec: TrainingSpec,
    world: World,
    compute: Compute,
    *,
    work: Path,
    checkpoints: Path,
    store: ArtifactStore,
    report: Callable[[Progress], None],
) -> TrainedAdapter | None:
    """One worker's share of a job, from the newest checkpoint in ``checkpoints`` on; worker 0 publishes.

    Args:
        spec: the job, checked.
        world: this worker's place among all.
        compute: how it is computed.
        work: folder for files that only this run needs.
        checkpoints: folder of the job's checkpoints; the same one for all workers.
        store: where the examples and adapters are.
        report: called after every optimizer step.

    Returns:
        The adapter; None in all workers but the first.

    Raises:
        InvalidInputError: the spec cannot be trained as it is, for example the loss is not finite.
        PreconditionError: another base model, a sha256 that differs, memory that does not suffice.
    """
    if compute.threads:
        torch.set_num_threads(compute.threads)
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
    dtype = _DTYPES[spec.dtype]
    try:
        model = new_adapter(_load(base, dtype, world, compute), spec.lora, spec.base_model)
        if spec.init_adapter_uri:
            init = work / f"init-{world.rank}"
            store.fetch_folder(spec.init_adapter_uri, spec.init_adapter_sha256, init)
            load_adapter_weights(model, init, spec.lora)
        pack_tokens = spec.max_length if compute.packing else 0
        forward = AnswerLogits(model, world.spread(model), pack_tokens=pack_tokens)
        if compute.packing:
            check_packing(model, forward, encoded)
        log.info(
            "training.ready",
            device=world.device,
            worker=world.rank,
            workers=world.size,
            threads=torch.get_num_threads(),
            examples=len(encoded),
            dtype=spec.dtype,
        )
        train(spec, encoded, model, forward, checkpoints=checkpoints, report=report, world=world)
        trained = {name: whole(p.detach()) for name, p in adapter_parameters(model).items()}
        if not world.leads:
            return None
        if world.shards_model or compute.quantization != "none":
            # Canaries are of the whole and unquantised base, as the generator serves it. Where only a part of
            # it, or a smaller one, was put on the device, the CPU has room.
            model = new_adapter(load_base(base, dtype, "cpu"), spec.lora, spec.base_model)
            with torch.no_grad():
                for name, parameter in adapter_parameters(model).items():
                    parameter.copy_(trained[name])
            forward = AnswerLogits(model)
        forward.unwrap()
        folder = work / "adapter"
        model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
        count = min(spec.canaries, len(examples))
        canaries = measure_canaries(model, forward, examples[:count], encoded[:count])
    except torch.OutOfMemoryError as error:
        raise PreconditionError(
            f"{world.device} ran out of memory; lower batch_size or max_length, set "
            "VALIGN_TRAINER_GRADIENT_CHECKPOINTING=true, or train on a larger device or on more of them"
        ) from error
    return publish_adapter(
        store,
        folder,
        spec,
        base_fingerprint=fingerprint,
        canaries=canaries,
        base_quantization=compute.quantization,
    )


def _load(base: Path, dtype: torch.dtype, world: World, compute: Compute) -> PreTrainedModel:
    """The frozen base on this worker's device; with FSDP2 in main memory, from where each takes its part."""
    if compute.quantization == "nf4":
        model = load_quantised_base(base, dtype, world.device)
    else:
        model = load_base(base, dtype, "cpu" if world.shards_model else world.device)
    if compute.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def train(
    spec: TrainingSpec,
    examples: list[EncodedExample],
    model: PeftModel,
    forward: AnswerLogits,
    *,
    checkpoints: Path,
    report: Callable[[Progress], None],
    world: World = _ALONE,
) -> None:
    """AdamW on the adapter with the weighted loss, one optimizer step a global batch.

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
    position = load_checkpoint(checkpoints, parameters, optimizer, world)
    total = steps_per_epoch(len(examples), spec.batch_size) * spec.epochs
    for step in range(position.step, total):
        started = time.monotonic()
        batch = [examples[i] for i in batch_indices(step, len(examples), spec.batch_size, spec.seed)]
        rate = learning_rate(
            spec.lr_schedule,
            step,
            peak=spec.learning_rate,
            total_steps=total,
            warmup_steps=spec.warmup_steps,
        )
        loss = _step(spec, batch, forward, optimizer, rate, step, world)
        position = Position(
            step + 1,
            position.tokens + sum(len(e.token_ids) for e in batch),
            position.seconds + time.monotonic() - started,
        )
        if position.step % spec.checkpoint_every_steps == 0 or position.step == total:
            save_checkpoint(checkpoints, position, parameters, optimizer, world)
        report(_progress(position, total, spec.epochs, loss, rate, device, world.size))


def _step(
    spec: TrainingSpec,
    batch: list[EncodedExample],
    forward: AnswerLogits,
    optimizer: torch.optim.Optimizer,
    rate: float,
    step: int,
    world: World,
) -> float:
    """One optimizer step; returns the global batch's weighted loss in nats a token."""
    seed = _step_seed(spec.seed, step)
    torch.manual_seed(seed)
    part = share_loss(forward, batch, world, seed)
    value = world.total(part.item())
    _check_finite("loss", value, step, spec)
    # Workers' gradients are averaged; the parts of the loss are to be added up.
    torch.autograd.backward(part * world.size)
    parameters = optimizer.param_groups[0]["params"]
    norm = whole(torch.nn.utils.clip_grad_norm_(parameters, spec.max_grad_norm or math.inf)).item()
    _check_finite("gradient norm", norm, step, spec)
    optimizer.param_groups[0]["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return value


def share_loss(forward: AnswerLogits, batch: list[EncodedExample], world: World, seed: int = 0) -> Tensor:
    """What this worker's share adds to the weighted loss of a global batch, a scalar.

    A worker without a share computes the first example with weight 0: gradients are exchanged by all.
    """
    places = world.share(batch)
    mine = [batch[place] for place in places] or [replace(batch[0], weight=0.0)]
    logits, targets, owners = forward(mine, seed=seed, places=places or [0])
    weights, everyones = (
        torch.tensor([e.weight for e in items], dtype=torch.float32, device=logits.device)
        for items in (mine, batch)
    )
    return part_of_weighted_mean(example_losses(logits, targets, owners, len(mine)), weights, everyones.sum())


def _check_finite(what: str, value: float, step: int, spec: TrainingSpec) -> None:
    # The spec's fault and not ours: the same job would fail again, another learning rate may not.
    if not math.isfinite(value):
        raise InvalidInputError(
            f"the {what} is {value} at step {step + 1}: training diverged and no adapter was published; "
            f"lower learning_rate (now {spec.learning_rate:g}), use dtype float32, or check the base model"
        )


def _progress(
    position: Position, total: int, epochs: int, loss: float, rate: float, device: str, workers: int
) -> Progress:
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
        workers=workers,
        device_name=torch.cuda.get_device_name() if device == "cuda" else "",
    )


def _step_seed(seed: int, step: int) -> int:
    """Seed of a step's dropout: a function of the position, so that a resume repeats it."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}".encode()).digest()[:8], "big") >> 1
