"""Probe utility: does the tuned model still do ordinary work as the base model does?

Both score the answers that are shipped with the general prompts (negative log-likelihood), and both score
what each of them says by itself: the mean of ``log p(x) - log q(x)`` over texts x drawn from p estimates the
divergence of Kullback and Leibler (1951) of p from q without bias, here in both directions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from services.common.errors import PreconditionError
from services.orchestrator.domain.prompts import Message, Prompt
from services.orchestrator.general_prompts import GeneralPromptSet
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.probes_asking import Tell, Told, ask_scores, ask_texts
from services.orchestrator.ports import AdapterRef, GenerationItem, Sampling, ScoreItem
from services.orchestrator.study import digest

Models = Sequence[tuple[str, AdapterRef | None]]


def questions(prompts: GeneralPromptSet, models: Models) -> int:
    """How many items the probe asks: answers and completions of each model, and completions scored."""
    scored = sum(1 for source, _ in models for by, _ in models if _is_scored(models, source, by))
    return len(prompts.prompts) * (2 * len(models) + scored)


def _is_scored(models: Models, source: str, by: str) -> bool:
    # Tuned models are compared with the base, not with each other.
    return source == by or models[0][0] in (source, by)


async def probe_utility(
    ctx: RunContext, prompts: GeneralPromptSet, models: Models, tell: Tell
) -> dict[str, Any]:
    """The probe's material; PreconditionError if no prompt could be answered by every model.

    ``models`` begins with the base: its texts are scored by all, those of a tuned model by both of the two.
    A prompt that one model cannot be asked (too long for it, for example) is left out for all, and named
    under "failed".
    """
    asked = {prompt.id: Prompt((Message("user", prompt.text),)) for prompt in prompts.prompts}
    answers, texts = {}, {}
    for arm, adapter in models:
        items = [ScoreItem(prompt.id, asked[prompt.id], prompt.answer) for prompt in prompts.prompts]
        answers[arm] = await ask_scores(ctx, f"utility/answers/{arm}", items, adapter, tell)
        drawn = [_drawn(ctx, prompts.id, name, prompt) for name, prompt in asked.items()]
        texts[arm] = await ask_texts(ctx, f"utility/{arm}", drawn, adapter, tell)
    scores: dict[tuple[str, str], Mapping[str, Told]] = {}
    for by, adapter in models:
        for source, _ in models:
            if not _is_scored(models, source, by):
                continue
            said = {name: text for name, told in texts[source].items() if (text := _scorable(told.text))}
            items = [ScoreItem(name, asked[name], text) for name, text in said.items()]
            found = await ask_scores(ctx, f"utility/{source}/by/{by}", items, adapter, tell)
            tell(len(asked) - len(items))
            # A model that ended at once has said nothing: no tokens, and nothing to differ in.
            scores[source, by] = dict.fromkeys(asked, Told()) | found
    failed = _failed([*answers.values(), *texts.values(), *scores.values()])
    kept = [name for name in asked if name not in failed]
    if not kept:
        raise PreconditionError(f"no general prompt could be answered: {next(iter(failed.values()))}")
    for arm, found in texts.items():
        if not any(_scorable(found[name].text) for name in kept):
            raise PreconditionError(f"'{arm}' said nothing on any of {len(kept)} general prompts")
    return {
        "prompt_set": {
            "id": prompts.id,
            "version": prompts.version,
            "sha256": digest(asdict(prompts)),
        },
        "prompts": [
            {"id": prompt.id, "text": prompt.text, "answer": prompt.answer}
            for prompt in prompts.prompts
            if prompt.id in kept
        ],
        "answers": {arm: _rows(found, kept) for arm, found in answers.items()},
        "completions": {
            arm: [{"id": name, "text": found[name].text, "tokens": found[name].tokens} for name in kept]
            for arm, found in texts.items()
        },
        "scores": [
            {"source": source, "by": by, **row}
            for (source, by), found in scores.items()
            for row in _rows(found, kept)
        ],
        "failed": [{"id": name, "why": why} for name, why in failed.items()],
    }


def _drawn(ctx: RunContext, set_id: str, name: str, prompt: Prompt) -> GenerationItem:
    # The same seed for every model: what differs is the model and not the luck of the draw.
    seed = int(digest([ctx.study.seed, "utility", set_id, name])[:16], 16) >> 1
    most = ctx.study.guards.general_max_new_tokens
    return GenerationItem(name, prompt, Sampling(temperature=1.0, top_p=1.0, max_tokens=most, seed=seed))


def _scorable(text: str) -> str:
    # Without a chat template the space behind "Assistant:" is the model's own, and the scorer puts one too.
    return text.removeprefix(" ")


def _failed(answers: Sequence[Mapping[str, Told]]) -> dict[str, str]:
    return {name: told.error for found in answers for name, told in found.items() if told.error}


def _rows(found: Mapping[str, Told], names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"id": name, "logprob": found[name].logprob, "tokens": found[name].tokens} for name in names]
