"""Canaries: what the trainer itself finds the first examples' answers to be worth."""

from collections.abc import Sequence

import structlog
import torch
from peft import PeftModel

from services.trainer.artifacts import Canary
from services.trainer.lora.dataset import EncodedExample, as_messages
from services.trainer.lora.model import AnswerLogits
from services.trainer.types import Example

log = structlog.get_logger(__name__)


@torch.no_grad()
def measure_canaries(
    model: PeftModel, forward: AnswerLogits, examples: Sequence[Example], encoded: Sequence[EncodedExample]
) -> list[Canary]:
    """Log-probabilities of the answers (without the end of turn), with the adapter and without.

    The weights are cast to bfloat16 first, as the generator serves them: the swap proof must
    compare like with like. The model is of no use for training afterwards.
    """
    # Not ``model.to``: that would also round the buffers, of which the rotary frequencies stay float32
    # in every server. At position 100 the rounding turns a feature by up to 0.1 rad.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    model.eval()
    canaries: list[Canary] = []
    for example, item in zip(examples, encoded, strict=True):
        with_adapter = _log_probability(forward, item)
        with model.disable_adapter():
            without = _log_probability(forward, item)
        tokens = item.answer_end - item.answer_start
        canaries.append(Canary(tuple(as_messages(example)), example.answer, with_adapter, without, tokens))
        log.info(
            "training.canary",
            logprob_adapter=with_adapter,
            logprob_base=without,
            shift_per_token=round((with_adapter - without) / tokens, 4),
        )
    return canaries


def _log_probability(forward: AnswerLogits, item: EncodedExample) -> float:
    logits, targets, _ = forward([item], ends=[item.answer_end])
    log_probabilities = torch.log_softmax(logits.float(), dim=-1)
    return float(log_probabilities.gather(1, targets.unsqueeze(1)).double().sum())
