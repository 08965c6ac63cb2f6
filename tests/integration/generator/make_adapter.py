"""Writes a real PEFT adapter with canaries into a store: ``python -m … MODEL STORE NAME [SEED] [RANK]``.

It runs in a process of its own, as the trainer does, so that its memory comes back. The
adapter is not trained: its B matrices are random, which moves the model far enough to see.
Prints ``{"name", "uri", "sha256"}``.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from services.common.artifacts import ArtifactStore
from services.common.base_model import fingerprint_base_model
from services.common.prompting import render_continuation, render_prompt

QUESTIONS = ("How shall I live?", "What is a good neighbour?")
ANSWERS = ("You shall help the poor and speak the truth.", "One who keeps a promise, even at a cost.")


def main(model: str, store: str, name: str, seed: int = 1, rank: int = 8) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(model)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    tuned = get_peft_model(base, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets))
    for parameter_name, parameter in tuned.named_parameters():
        if "lora_B" in parameter_name:
            parameter.data.normal_(0.0, 0.2)
    tuned.to(torch.bfloat16)
    tuned.eval()

    def logprob(prompt: list[int], answer: list[int]) -> float:
        with torch.no_grad():
            logits = tuned(torch.tensor([prompt + answer])).logits[0].float()
        rows = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
        return float(rows.gather(1, torch.tensor(answer)[:, None]).double().sum())

    canaries: list[dict[str, Any]] = []
    for question, text in zip(QUESTIONS, ANSWERS, strict=True):
        messages = [{"role": "user", "content": question}]
        prompt, answer = render_prompt(tokenizer, messages), render_continuation(tokenizer, text)
        with tuned.disable_adapter():
            without = logprob(prompt, answer)
        canaries.append(
            {
                "messages": messages,
                "continuation": text,
                "logprob_adapter": logprob(prompt, answer),
                "logprob_base": without,
                "tokens": len(answer),
            }
        )
    with tempfile.TemporaryDirectory() as folder:
        tuned.save_pretrained(folder)
        artifact = ArtifactStore(store).put_folder(
            f"adapters/{name}",
            Path(folder),
            {
                "format": "peft-lora",
                "base_model": model,
                "base_fingerprint": fingerprint_base_model(Path(model)),
                "rank": rank,
                "alpha": 2 * rank,
                "target_modules": targets,
                "canaries": canaries,
            },
        )
    print(json.dumps({"name": name, "uri": artifact.uri, "sha256": artifact.sha256}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
