"""What a training request must be, before any model is loaded."""

import math
import re

from services.common.errors import InvalidInputError
from services.trainer.types import Example, TrainingSpec

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MODULE_NAME = re.compile(r"[A-Za-z0-9_.]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ROLES = ("system", "user", "assistant")
SCHEDULES = ("cosine", "linear", "constant")
MAX_CANARIES = 256
DTYPES = ("bfloat16", "float32")


def check_job_id(job_id: str) -> str:
    """Return an id that is safe as a folder's name; raises InvalidInputError otherwise."""
    if not _SAFE_NAME.fullmatch(job_id):
        raise InvalidInputError(
            f"job_id {job_id!r} is no safe name: 1 to 128 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
    return job_id


def check_spec(spec: TrainingSpec) -> None:
    """Raises InvalidInputError that lists everything wrong with the spec."""
    problems = [
        message
        for wrong, message in (
            (not spec.base_model, "base_model is empty"),
            (not _SAFE_NAME.fullmatch(spec.adapter_name_prefix), "adapter_name_prefix is no safe name"),
            (not 1 <= spec.lora.rank <= 512, f"lora.rank is {spec.lora.rank}, not in 1..512"),
            (not _positive(spec.lora.alpha), f"lora.alpha is {spec.lora.alpha}, not above 0"),
            (not 0 <= spec.lora.dropout < 1, f"lora.dropout is {spec.lora.dropout}, not in [0, 1)"),
            (not spec.lora.target_modules, "lora.target_modules is empty"),
            (spec.epochs < 1, "epochs is 0"),
            (spec.batch_size < 1, "batch_size is 0"),
            (not _positive(spec.learning_rate), f"learning_rate is {spec.learning_rate}, not above 0"),
            (not 0 <= spec.adam_beta1 < 1, f"adam_beta1 is {spec.adam_beta1}, not in [0, 1)"),
            (not 0 <= spec.adam_beta2 < 1, f"adam_beta2 is {spec.adam_beta2}, not in [0, 1)"),
            (not _at_least_0(spec.weight_decay), f"weight_decay is {spec.weight_decay}, not 0 or more"),
            (spec.lr_schedule not in SCHEDULES, f"lr_schedule {spec.lr_schedule!r} is none of {SCHEDULES}"),
            (not _at_least_0(spec.max_grad_norm), f"max_grad_norm is {spec.max_grad_norm}, not 0 or more"),
            (spec.max_length < 2, f"max_length is {spec.max_length}, not at least 2"),
            (spec.dtype not in DTYPES, f"dtype {spec.dtype!r} is none of {DTYPES}"),
            (
                not 1 <= spec.canaries <= MAX_CANARIES,
                f"canaries is {spec.canaries}, not in 1..{MAX_CANARIES}; they prove the swap",
            ),
            (spec.checkpoint_every_steps < 1, "checkpoint_every_steps is 0"),
            (
                bool(spec.examples) == bool(spec.examples_uri),
                "give either examples or examples_uri, not both and not neither",
            ),
            (
                bool(spec.examples_uri) and not _SHA256.fullmatch(spec.examples_sha256),
                "examples_sha256 is no sha256 in lower-case hex",
            ),
            (
                bool(spec.init_adapter_uri) and not _SHA256.fullmatch(spec.init_adapter_sha256),
                "init_adapter_sha256 is no sha256 in lower-case hex",
            ),
            (
                bool(spec.base_fingerprint) and not _SHA256.fullmatch(spec.base_fingerprint),
                "base_fingerprint is no sha256 in lower-case hex",
            ),
        )
        if wrong
    ]
    problems += [
        f"lora.target_modules: {name!r} is no module name"
        for name in spec.lora.target_modules
        if not _MODULE_NAME.fullmatch(name)
    ]
    problems += [
        f"group_weights[{group!r}] is {weight}, not in [0, 1]"
        for group, weight in sorted(spec.group_weights.items())
        if not 0 <= weight <= 1
    ]
    problems += example_problems(spec.examples, spec.group_weights)
    if problems:
        raise InvalidInputError("training spec: " + "; ".join(problems[:20]), details={"problems": problems})


def example_problems(examples: tuple[Example, ...], group_weights: dict[str, float]) -> list[str]:
    """What is wrong with each example, by its position from 0."""
    problems: list[str] = []
    for index, example in enumerate(examples):
        if not example.messages:
            problems.append(f"example {index} has no messages")
        problems += [
            f"example {index} has the role {m.role!r}, none of {_ROLES}"
            for m in example.messages
            if m.role not in _ROLES
        ]
        if not example.answer.strip():
            problems.append(f"example {index} has an empty answer")
        if example.group not in group_weights:
            problems.append(f"example {index} is of group {example.group!r}, which has no weight")
    return problems


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _at_least_0(value: float) -> bool:
    return math.isfinite(value) and value >= 0
