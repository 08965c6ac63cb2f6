"""QLoRA where its library is not installed."""

import importlib.util
from pathlib import Path

import pytest
import torch

from services.common.errors import PreconditionError
from services.trainer.lora.quantise import load_quantised_base


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_load_quantised_base_without_bitsandbytes_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match=r"bitsandbytes is not installed; install valign\[qlora\]"):
        load_quantised_base(tmp_path, torch.float32, "cpu")
