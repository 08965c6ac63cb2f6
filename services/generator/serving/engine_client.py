"""The engine as vLLM's server sees it: the engine's own, with the request's adapter held while it generates.

Nothing of vLLM is imported: what its engine gives is read by its attributes (vLLM 0.32).
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from services.generator.metrics import TOKENS
from services.generator.serving.exchange import CURRENT, Part


class EngineClient:
    """Everything is the engine's own, but ``generate``.

    vLLM's server cancels a request whose caller left and does not wait until the engine has let go of it. An
    adapter that is removed in between would make vLLM load it again, from a folder that is gone.
    """

    def __init__(self, llm: Any, stop_token_ids: tuple[int, ...]) -> None:
        """``stop_token_ids``: tokens that end an answer beside those of the model's own settings."""
        self._llm = llm
        self._stop_token_ids = stop_token_ids
        self._prompt, self._generated = TOKENS.labels("prompt"), TOKENS.labels("generated")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llm, name)

    def let_go(self) -> None:
        """Forget the engine, whoever still holds this: vLLM's server has caches that nobody can empty."""
        self._llm = None

    async def generate(
        self, prompt: Any, sampling_params: Any, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """vLLM's, under the request's hold, counted, and told to the request's exchange."""
        exchange = CURRENT.get()
        exchange.hold.retain()
        part = Part()
        exchange.parts.append(part)
        output: Any = None
        generated = 0
        try:
            if exchange.operation == "chat" and not sampling_params.ignore_eos:
                self._end_turns(sampling_params)
            async with aclosing(self._llm.generate(prompt, sampling_params, *args, **kwargs)) as outputs:
                async for output in outputs:
                    # Each output holds what is new since the one before.
                    for answer in output.outputs:
                        generated += len(answer.token_ids)
                        if answer.finish_reason is not None:
                            part.reasons[answer.index] = answer.finish_reason
                    yield output
            part.ended = True
        except Exception as error:
            part.error = type(error).__name__
            raise
        finally:
            self._generated.inc(generated)
            if output is not None:
                part.prompt_tokens, part.generated_tokens = len(output.prompt_token_ids or ()), generated
                self._prompt.inc(part.prompt_tokens)
            exchange.hold.release()

    def _end_turns(self, params: Any) -> None:
        """Some models' generation settings lack the token that their chat template ends a turn with."""
        given = params.stop_token_ids or []
        params.stop_token_ids = [*given, *(one for one in self._stop_token_ids if one not in given)]
