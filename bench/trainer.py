"""Training speed: our trainer, a plain transformers + PEFT loop, and TRL's SFTTrainer.

The same model, examples, tokens, adapter and optimizer settings; the three take turns in one
process, so that a busy machine slows all of them. JSON on stdout:

    python -m bench.trainer [--model FOLDER] [--steps N] [--rounds N] [--dtype bfloat16|float32]

Tokens are those of prompts and answers, without padding. TRL runs with its defaults but for
gradient checkpointing, which is off (it would only slow it down). Packages: trl, datasets.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.result import MODELS, finish
from services.trainer.lora.dataset import EncodedExample, batch_indices, encode_examples
from services.trainer.types import Example, LoraSpec, Message, TrainingSpec

LORA = LoraSpec(16, 32.0, 0.05, ("q_proj", "k_proj", "v_proj", "o_proj"))
TARGETS = {"plain": 1.2, "trl": 1.0}
WORDS = (
    *("an", "AI", "system", "should", "be", "open", "about", "how", "it", "works", "and", "whom", "serves"),
    *("fair", "just", "honest", "private", "people", "data", "decision", "user", "right", "duty", "harm"),
    *("neighbour", "witness", "keep", "share", "ask", "answer", "explain", "reason", "trust", "clear"),
)


def make_examples(count: int) -> tuple[Example, ...]:
    """Examples of the third prompt stage's size: a prompt of 60-90 tokens, an answer of 15-35."""
    chance = random.Random(0)

    def words(low: int, high: int) -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(low, high)))

    ask = (
        "Rewrite this principle so that it reflects ethical awareness. Answer with one sentence. Principle: "
    )
    return tuple(
        Example((Message("user", ask + words(12, 30)),), f"You shall {words(10, 28)}.", "all")
        for _ in range(count)
    )


def make_spec(model: Path, examples: tuple[Example, ...], dtype: str) -> TrainingSpec:
    """The paper's settings, one pass."""
    return TrainingSpec(
        base_model=str(model),
        revision="",
        base_fingerprint="",
        examples=examples,
        examples_uri="",
        examples_sha256="",
        group_weights={"all": 1.0},
        lora=LORA,
        epochs=1,
        batch_size=4,
        learning_rate=1e-5,
        adam_beta1=0.9,
        adam_beta2=0.999,
        weight_decay=0.0,
        lr_schedule="cosine",
        warmup_steps=0,
        max_grad_norm=1.0,
        max_length=1024,
        seed=0,
        dtype=dtype,
        init_adapter_uri="",
        init_adapter_sha256="",
        adapter_name_prefix="bench",
        canaries=0,
        checkpoint_every_steps=10**6,
    )


def make_ours(spec: TrainingSpec, encoded: list[EncodedExample], scratch: Path) -> Callable[[], float]:
    """Our training loop, with its checkpoint at the end and its progress."""
    import torch

    from services.trainer.lora.model import AnswerLogits, load_base, new_adapter
    from services.trainer.lora.train import train

    model = new_adapter(load_base(Path(spec.base_model), getattr(torch, spec.dtype), "cpu"), LORA, "base")
    forward = AnswerLogits(model)

    def run() -> float:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            started = time.perf_counter()
            train(spec, encoded, model, forward, checkpoints=Path(folder), report=lambda _: None)
            return time.perf_counter() - started

    return run


def make_peft(spec: TrainingSpec) -> Any:
    """A base model with a LoRA adapter, as PEFT's documentation makes one."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(spec.base_model, dtype=getattr(torch, spec.dtype))
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=LORA.rank,
        lora_alpha=LORA.alpha,
        lora_dropout=LORA.dropout,
        target_modules=list(LORA.target_modules),
    )
    return get_peft_model(model, config)


def make_plain(spec: TrainingSpec, encoded: list[EncodedExample]) -> Callable[[], float]:
    """The loop that a tutorial would show: labels of -100 on the prompt, the model's own loss."""
    import torch
    from transformers import get_cosine_schedule_with_warmup

    model = make_peft(spec)
    model.train()

    def collate(batch: list[EncodedExample]) -> dict[str, torch.Tensor]:
        width = max(len(e.token_ids) for e in batch)
        rows: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for e in batch:
            pad = width - len(e.token_ids)
            rows["input_ids"].append([*e.token_ids, *[0] * pad])
            rows["attention_mask"].append([1] * len(e.token_ids) + [0] * pad)
            rows["labels"].append(
                [-100] * e.answer_start + list(e.token_ids[e.answer_start :]) + [-100] * pad
            )
        return {name: torch.tensor(value) for name, value in rows.items()}

    def run() -> float:
        started = time.perf_counter()
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=spec.learning_rate, weight_decay=0.0)
        steps = len(encoded) // spec.batch_size
        schedule = get_cosine_schedule_with_warmup(optimizer, 0, steps)
        for step in range(steps):
            batch = [encoded[i] for i in batch_indices(step, len(encoded), spec.batch_size, spec.seed)]
            loss = model(**collate(batch)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, spec.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            loss.item()
        return time.perf_counter() - started

    return run


def make_trl(spec: TrainingSpec, encoded: list[EncodedExample], scratch: Path) -> Callable[[], float]:
    """TRL's SFTTrainer on the same tokens, loss on the completion only."""
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Clock(TrainerCallback):
        """Times the steps alone, without the trainer's set-up."""

        started = seconds = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.started

    rows = [
        {
            "input_ids": list(e.token_ids),
            "completion_mask": [0] * e.answer_start + [1] * (len(e.token_ids) - e.answer_start),
        }
        for e in encoded
    ]
    clock = Clock()
    trainer = SFTTrainer(
        model=make_peft(spec),
        args=SFTConfig(
            output_dir=str(scratch / "trl"),
            per_device_train_batch_size=spec.batch_size,
            num_train_epochs=1,
            learning_rate=spec.learning_rate,
            weight_decay=0.0,
            lr_scheduler_type="cosine",
            warmup_steps=0,
            max_grad_norm=spec.max_grad_norm,
            bf16=spec.dtype == "bfloat16",
            gradient_checkpointing=False,
            completion_only_loss=True,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(spec.base_model),
        callbacks=[clock],
    )

    def run() -> float:
        trainer.train()
        return clock.seconds

    return run


def main() -> int:
    """Measure and print; the exit status is 1 if a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=MODELS / "SmolLM2-135M-Instruct")
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps of a turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 for one a core")
    args = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr), tempfile.TemporaryDirectory() as folder:
        result = measure(args, Path(folder))
    return finish(result)


def measure(args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Tokens a second of each, as the median over the rounds, and the ratios."""
    import torch
    from transformers import AutoTokenizer

    warnings.simplefilter("ignore")
    if args.threads:
        torch.set_num_threads(args.threads)
    spec = make_spec(args.model, make_examples(4 * args.steps), args.dtype)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    encoded = encode_examples(tokenizer, spec.examples, spec.group_weights, max_length=spec.max_length)
    tokens = sum(len(e.token_ids) for e in encoded)
    runs = {
        "ours": make_ours(spec, encoded, scratch),
        "plain": make_plain(spec, encoded),
        "trl": make_trl(spec, encoded, scratch),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(args.rounds + 1):
        for name, run in runs.items():
            taken = run()
            # The first turn warms up.
            if turn:
                seconds[name].append(taken)
    # Ratios are taken within a round, where both met the same load.
    ratios = {
        name: statistics.median(a / b for a, b in zip(seconds[name], seconds["ours"], strict=True))
        for name in TARGETS
    }
    return {
        "name": "trainer",
        "model": args.model.name,
        "dtype": args.dtype,
        "threads": torch.get_num_threads(),
        "steps": args.steps,
        "rounds": args.rounds,
        "tokens_a_round": tokens,
        "answer_tokens_a_round": sum(len(e.token_ids) - e.answer_start for e in encoded),
        "tokens_per_s": {n: round(tokens / statistics.median(s), 1) for n, s in seconds.items()},
        "seconds": {n: [round(x, 3) for x in s] for n, s in seconds.items()},
        "ratio": {name: round(value, 3) for name, value in ratios.items()},
        "target": TARGETS,
        "ok": all(ratios[name] >= target for name, target in TARGETS.items()),
    }


if __name__ == "__main__":
    raise SystemExit(main())
