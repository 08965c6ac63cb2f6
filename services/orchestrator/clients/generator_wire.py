"""Prompts, completions and scores as the generator's contract writes them."""

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from services.common.pb.generator.v1 import generator_pb2 as pb
from services.orchestrator.clients.parts import in_parts
from services.orchestrator.domain.prompts import Prompt
from services.orchestrator.ports import Completion, GenerationItem, GeneratorInfo, Score, ScoreItem

GENERATE: Callable[[Any], Callable[..., Any]] = attrgetter("Generate")
SCORE: Callable[[Any], Callable[..., Any]] = attrgetter("Score")
"""The streams of a stub."""


def generator_info(reply: pb.DescribeResponse) -> GeneratorInfo:
    """Identity of the served model, and its limits."""
    return GeneratorInfo(
        model=reply.model,
        revision=reply.revision,
        fingerprint=reply.fingerprint,
        max_model_len=reply.max_model_len,
        max_lora_rank=reply.max_lora_rank,
        engine_version=reply.engine_version,
        device=reply.device,
        device_name=reply.device_name,
        gpus=reply.gpus,
    )


def generate_writer(adapter: str) -> Callable[[Sequence[GenerationItem]], Iterator[pb.GenerateRequest]]:
    """Writes the messages of a call by an adapter; "" is the base model."""
    return lambda items: (
        pb.GenerateRequest(adapter=adapter, items=[_generate_item(item) for item in part])
        for part in in_parts(items, lambda item: _size_bytes(item.prompt))
    )


def routed_writer(route: str) -> Callable[[Sequence[GenerationItem]], Iterator[pb.GenerateRequest]]:
    """Writes the messages of a call by a public name."""
    return lambda items: (
        pb.GenerateRequest(route=route, items=[_generate_item(item) for item in part])
        for part in in_parts(items, lambda item: _size_bytes(item.prompt))
    )


def score_writer(adapter: str) -> Callable[[Sequence[ScoreItem]], Iterator[pb.ScoreRequest]]:
    """Writes the messages of a call that scores."""
    return lambda items: (
        pb.ScoreRequest(
            adapter=adapter,
            items=[
                pb.ScoreItem(id=item.key, prompt=_prompt(item.prompt), continuation=item.continuation)
                for item in part
            ],
        )
        for part in in_parts(items, lambda item: _size_bytes(item.prompt) + 4 * len(item.continuation))
    )


def score(reply: pb.ScoreResponse) -> Score:
    """The score, or the item's error."""
    return Score(
        key=reply.id,
        logprob=reply.logprob,
        tokens=reply.tokens,
        error_code=reply.error.code,
        error_message=reply.error.message,
    )


def _size_bytes(prompt: Prompt) -> int:
    # Four bytes a character at most, in UTF-8.
    return 64 + 4 * (len(prompt.prefill) + sum(len(turn.content) for turn in prompt.messages))


def _prompt(prompt: Prompt) -> pb.Prompt:
    return pb.Prompt(
        messages=[pb.Message(role=turn.role, content=turn.content) for turn in prompt.messages],
        assistant_prefill=prompt.prefill,
    )


def _generate_item(item: GenerationItem) -> pb.GenerateItem:
    sampling = pb.Sampling(
        temperature=item.sampling.temperature,
        top_p=item.sampling.top_p,
        max_tokens=item.sampling.max_tokens,
        seed=item.sampling.seed,
    )
    return pb.GenerateItem(id=item.key, prompt=_prompt(item.prompt), sampling=sampling)


def completion(reply: pb.GenerateResponse) -> Completion:
    """The completion, or the item's error."""
    return Completion(
        key=reply.id,
        text=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        adapter=reply.adapter,
        adapter_sha256=reply.adapter_sha256,
        error_code=reply.error.code,
        error_message=reply.error.message,
    )
