"""Spans of single requests, by OpenTelemetry's conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/. Texts stand in them only where a setting
asks for that: prompts are what people wrote.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from services.common import tracing
from services.generator.adapters import Lease
from services.generator.types import Completion, Engine, GenerateItem, Score, ScoreItem

PROVIDER = "vllm"


class RequestSpans:
    """One span a request; nothing where tracing is off.

    Args:
        engine: whose base model is named where no adapter is.
        content: put prompts and completions into them.
    """

    def __init__(self, engine: Engine, *, content: bool) -> None:
        self._engine = engine
        self._content = content

    @contextmanager
    def chat(self, item: GenerateItem, lease: Lease) -> Iterator[Callable[[Completion], None]]:
        """A span around one completion; what it yields is told the result."""
        if not tracing.tracing_is_on():
            yield _ignore
            return
        sampling = item.sampling
        asked = {
            **self._common("chat", lease),
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.max_tokens": sampling.max_tokens,
            "gen_ai.request.seed": sampling.seed,
            "gen_ai.request.stop_sequences": sampling.stop or None,
        }
        if self._content:
            asked["gen_ai.input.messages"] = json.dumps([_message(**turn) for turn in item.prompt.messages])
        with tracing.span(f"chat {asked['gen_ai.request.model']}", asked) as span:

            def told(result: Completion) -> None:
                span.set_attribute("gen_ai.response.model", lease.name or self._engine.info.model)
                span.set_attribute("gen_ai.response.finish_reasons", (result.finish_reason,))
                span.set_attribute("gen_ai.usage.input_tokens", result.prompt_tokens)
                span.set_attribute("gen_ai.usage.output_tokens", result.completion_tokens)
                if self._content:
                    answer = _message("assistant", result.text) | {"finish_reason": result.finish_reason}
                    span.set_attribute("gen_ai.output.messages", json.dumps([answer]))

            yield told

    @contextmanager
    def score(self, item: ScoreItem, lease: Lease) -> Iterator[Callable[[Score], None]]:
        """A span around one score. The conventions have no name for that operation; ours is ``score``."""
        if not tracing.tracing_is_on():
            yield _ignore
            return
        asked = self._common("score", lease)
        with tracing.span(f"score {asked['gen_ai.request.model']}", asked) as span:

            def told(result: Score) -> None:
                span.set_attribute("gen_ai.response.model", lease.name or self._engine.info.model)
                span.set_attribute("valign.score.tokens", result.tokens)

            yield told

    def _common(self, operation: str, lease: Lease) -> dict[str, Any]:
        return {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": lease.name or self._engine.info.model,
            "valign.adapter.sha256": lease.sha256 or None,
        }


def _message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


def _ignore(_result: Any) -> None:
    pass
