"""The model under training: a frozen base, a PEFT adapter, and a forward pass for batches.

No architecture is assumed: a model is what AutoModelForCausalLM loads, with an output
embedding that the forward hook of ``AnswerLogits`` can narrow.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from services.common.errors import InvalidInputError, PreconditionError
from services.trainer.init_adapter import check_init_adapter
from services.trainer.lora.dataset import EncodedExample
from services.trainer.lora.dropout import BatchPlan, ExampleDropout, Span
from services.trainer.lora.packing import one_a_row, packed
from services.trainer.types import LoraSpec

_ADAPTER = "default"


def load_base(folder: Path, dtype: torch.dtype, device: str) -> PreTrainedModel:
    """The base model with frozen weights.

    Raises:
        InvalidInputError: the folder holds no causal language model that transformers knows.
    """
    try:
        config = AutoConfig.from_pretrained(folder)
        text_config = config.get_text_config()
        # PyTorch's fused attention has no softcapping (Gemma 2): it would be left out in silence.
        capped = getattr(text_config, "attn_logit_softcapping", None)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation="eager" if capped else "sdpa"
        )
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInputError(f"cannot load a causal language model from {folder}: {error}") from error
    freeze(model)
    placed: PreTrainedModel = model.to(device)
    return placed


def freeze(model: PreTrainedModel) -> None:
    """Leave the base as it is: only an adapter's weights are trained."""
    model.requires_grad_(False)
    model.config.use_cache = False


def new_adapter(model: PreTrainedModel, lora: LoraSpec, base_model: str) -> PeftModel:
    """Put a fresh LoRA adapter on the model: weights in float32, B at 0.

    Raises:
        InvalidInputError: a target module is not among the model's linear layers.
    """
    network: Any = model
    head = network.get_output_embeddings()
    linear = {
        name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head
    }
    unknown = [
        target
        for target in lora.target_modules
        if not any(name == target or name.endswith(f".{target}") for name in linear)
    ]
    if unknown:
        known = sorted({name.rpartition(".")[2] for name in linear})
        raise InvalidInputError(
            f"lora.target_modules: {', '.join(unknown)} not in this model, which has {', '.join(known)}"
        )
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=sorted(lora.target_modules),
        bias="none",
    )
    adapted = get_peft_model(model, config, adapter_name=_ADAPTER)
    # PEFT writes the folder that the weights came from; the job's own name for them is told instead.
    adapted.peft_config[_ADAPTER].base_model_name_or_path = base_model
    layers: list[Any] = [module for module in adapted.modules() if isinstance(module, LoraLayer)]
    for number, layer in enumerate(layers):
        layer.forward = partial(_lora_forward, layer)
        if lora.dropout:
            layer.lora_dropout[_ADAPTER] = ExampleDropout(lora.dropout, number)
    return adapted


def _lora_forward(layer: Any, x: Tensor) -> Tensor:
    """PEFT's own forward of a plain LoRA layer, in the base model's dtype.

    PEFT casts each layer's input and both products to the adapter's float32 and back. As under
    autocast, and as the generator serves it, the products are taken in the base's dtype here; the
    weights, their gradients' sums and the optimizer stay float32.
    """
    base: Tensor = layer.base_layer(x)
    if layer.disable_adapters:
        return base
    down = layer.lora_A[_ADAPTER].weight.to(x.dtype)
    up = layer.lora_B[_ADAPTER].weight.to(x.dtype)
    inner = functional.linear(layer.lora_dropout[_ADAPTER](x), down)
    summed = torch.addmm(base.flatten(0, -2), inner.flatten(0, -2), up.t(), alpha=layer.scaling[_ADAPTER])
    return summed.view_as(base)


def adapter_parameters(model: PeftModel) -> dict[str, nn.Parameter]:
    """The trained parameters by their names in the adapter's file."""
    return {
        name.replace(f".{_ADAPTER}.", "."): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def load_adapter_weights(model: PeftModel, folder: Path, lora: LoraSpec) -> None:
    """Put the weights of a published adapter into the model's adapter.

    Raises:
        InvalidInputError: it is no plain LoRA, or its shape is not the one that was asked for.
        PreconditionError: its files are not what they should be.
    """
    config = check_init_adapter(folder)
    try:
        tensors = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError) as error:
        raise PreconditionError(f"the adapter to continue from cannot be read: {error}") from error
    wanted = {
        "peft_type": "LORA",
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "target_modules": sorted(lora.target_modules),
    }
    given = {key: config.get(key) for key in wanted}
    if isinstance(given["target_modules"], list):
        given["target_modules"] = sorted(given["target_modules"])
    extras = {k: config[k] for k in ("modules_to_save", "use_dora", "use_rslora") if config.get(k)}
    extras |= {"bias": config["bias"]} if config.get("bias", "none") != "none" else {}
    if given != wanted or extras:
        raise InvalidInputError(
            f"the adapter to continue from has {given | extras}, the job wants plain LoRA with {wanted}"
        )
    parameters = adapter_parameters(model)
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    if shapes != found:
        odd = sorted(set(shapes.items()) ^ set(found.items()))[:4]
        raise InvalidInputError(f"the adapter to continue from does not fit this base model: {odd}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


class AnswerLogits:
    """Runs a batch and returns logits of answer tokens only.

    The vocabulary projection is a large part of a small model's work, and the prompt's logits
    carry no loss. A hook on the output embedding passes on only the hidden states that predict
    an answer token, so that what the model does behind it (scaling, softcapping) stays its own.
    Batches are padded on the right: with causal attention no answer token sees the padding, so
    that no attention mask is needed.
    """

    def __init__(self, model: PeftModel, network: nn.Module | None = None, *, pack_tokens: int = 0) -> None:
        """Of a model.

        Args:
            model: whose output embedding is hooked.
            network: what is called, if something is wrapped around the model.
            pack_tokens: tokens of a row that several examples share; 0 gives each example a row.
        """
        self._model = model
        self._network = network or model
        self._pack_tokens = pack_tokens
        self._device = next(model.parameters()).device
        self._rows: Tensor | None = None
        self._columns: Tensor | None = None
        self._plan = BatchPlan()
        for module in model.modules():
            if isinstance(module, ExampleDropout):
                module.plan = self._plan
        head = model.get_output_embeddings()
        if not isinstance(head, nn.Module):
            raise InvalidInputError(f"{type(model.base_model.model).__name__} has no output embedding")
        head.register_forward_pre_hook(self._select)

    def __call__(
        self,
        examples: Sequence[EncodedExample],
        *,
        ends: Sequence[int] | None = None,
        seed: int = 0,
        places: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [tokens, vocabulary], targets [tokens] and owners [tokens] of a batch.

        Args:
            examples: the batch.
            ends: where each example's targets stop; by default at its end.
            seed: of the dropout.
            places: of the examples in the global batch; by default in their order.
        """
        laid = packed(examples, self._pack_tokens) if self._pack_tokens else one_a_row(examples)
        self._plan.seed = seed
        self._plan.spans = [
            Span(row, start, len(example.token_ids), place)
            for (row, start), example, place in zip(
                laid.starts, examples, places or range(len(examples)), strict=True
            )
        ]
        ids = torch.tensor(laid.token_ids)
        stops = ends or [len(e.token_ids) for e in examples]
        tokens = [
            (row, start + column, owner)
            for owner, ((row, start), example, stop) in enumerate(
                zip(laid.starts, examples, stops, strict=True)
            )
            for column in range(example.answer_start, stop)
        ]
        rows, columns, owners = torch.tensor(tokens).unbind(1)
        device = self._device
        self._rows, self._columns = rows.to(device), (columns - 1).to(device)
        positions = None if laid.positions is None else torch.tensor(laid.positions).to(device)
        logits = self._network(input_ids=ids.to(device), position_ids=positions, use_cache=False).logits[0]
        return logits, ids[rows, columns].to(device), owners.to(device)

    def unwrap(self) -> None:
        """From now on call the model itself, with a row for each example."""
        self._network, self._pack_tokens = self._model, 0

    def _select(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = inputs[0]
        return (hidden[self._rows, self._columns].unsqueeze(0), *inputs[1:])


@torch.no_grad()
def check_packing(model: PeftModel, forward: AnswerLogits, examples: Sequence[EncodedExample]) -> None:
    """Ask the model whether examples of one row see each other; all workers ask at the same time.

    Raises:
        PreconditionError: they do: this model takes no notice of positions that begin again.
    """
    shortest = min(examples, key=lambda e: len(e.token_ids))
    # Other tokens of the same length come first in the row: seen or not, that makes the difference.
    before = replace(shortest, token_ids=shortest.token_ids[::-1])
    training = model.training
    model.eval()
    alone, _, _ = forward([shortest])
    logits, _, owners = forward([before, shortest])
    model.train(training)
    alone, behind = alone.float(), logits[owners == 1].float()
    apart = float((alone - behind).norm() / alone.norm())
    # Rounding gives some 1e-6 in float32 and 1e-2 in bfloat16.
    if not apart < (1e-3 if logits.dtype == torch.float32 else 0.1):
        raise PreconditionError(
            f"examples of one packed row see each other in {type(model.get_base_model()).__name__} (logits "
            f"differ by {apart:.2g} with another example before them); set VALIGN_TRAINER_PACKING=false"
        )
