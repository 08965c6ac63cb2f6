"""QLoRA: the frozen base in 4 bits, the adapter in float32 (Dettmers et al. 2023, arXiv:2305.14314).

bitsandbytes does it, through transformers. It is imported here and only when a job asks for it.
"""

import importlib.util
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from services.common.errors import InvalidInputError, PreconditionError
from services.trainer.lora.model import freeze


def load_quantised_base(folder: Path, dtype: torch.dtype, device: str) -> PreTrainedModel:
    """The base model with its linear layers in NF4, doubly quantised; products are taken in ``dtype``.

    Raises:
        PreconditionError: bitsandbytes is not installed.
        InvalidInputError: the folder holds no causal language model that transformers knows.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise PreconditionError(
            "VALIGN_TRAINER_QUANTIZATION is nf4 and bitsandbytes is not installed; "
            "install valign[qlora], or set it to none"
        )
    config: Any = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            quantization_config=config,
            device_map={"": device},
            attn_implementation="sdpa",
        )
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInputError(f"cannot load a causal language model from {folder}: {error}") from error
    freeze(model)
    quantised: PreTrainedModel = model
    return quantised
