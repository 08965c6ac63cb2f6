"""The model under training: a frozen base, a PEFT adapter, and a forward pass for batches.

No architecture is assumed: a model is what AutoModelForCausalLM loads, with an output
embedding that the forward hook of ``AnswerLogits`` can narrow.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear as LoraLinear
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from services.common.errors import InvalidInputError, PreconditionError
from services.trainer.init_adapter import check_init_adapter
from services.trainer.lora.dataset import EncodedExample
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
    model.requires_grad_(False)
    model.config.use_cache = False
    placed: PreTrainedModel = model.to(device)
    return placed


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
    layers: list[Any] = [module for module in adapted.modules() if isinstance(module, LoraLinear)]
    for layer in layers:
        layer.forward = partial(_lora_forward, layer)
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

    def __init__(self, model: PeftModel) -> None:
        self._model = model
        self._rows: Tensor | None = None
        self._columns: Tensor | None = None
        head = model.get_output_embeddings()
        if not isinstance(head, nn.Module):
            raise InvalidInputError(f"{type(model.base_model.model).__name__} has no output embedding")
        head.register_forward_pre_hook(self._select)

    def __call__(
        self, examples: Sequence[EncodedExample], *, ends: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits [tokens, vocabulary], targets [tokens] and owners [tokens] of a batch.

        Args:
            examples: the batch.
            ends: where each example's targets stop; by default at its end.
        """
        device = next(self._model.parameters()).device
        width = max(len(e.token_ids) for e in examples)
        # Any id will do as padding: nothing attends to it and nothing is predicted from it.
        ids = torch.tensor([[*e.token_ids, *([0] * (width - len(e.token_ids)))] for e in examples])
        stops = ends or [len(e.token_ids) for e in examples]
        places = [
            (row, column)
            for row, (example, stop) in enumerate(zip(examples, stops, strict=True))
            for column in range(example.answer_start, stop)
        ]
        rows, columns = torch.tensor(places).unbind(1)
        self._rows, self._columns = rows.to(device), (columns - 1).to(device)
        logits = self._model(input_ids=ids.to(device), use_cache=False).logits[0]
        return logits, ids[rows, columns].to(device), self._rows

    def _select(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = inputs[0]
        return (hidden[self._rows, self._columns].unsqueeze(0), *inputs[1:])
