"""What vLLM's server is given in the engine's place: the adapter held, tokens counted, endings told."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.generator.adapters import Lease
from services.generator.service import Hold
from services.generator.serving.engine_client import EngineClient
from services.generator.serving.exchange import CURRENT, Exchange
from tests.fakes.fake_llm import FakeLLM, output, params


class _Held:
    """An exchange, and whether its hold has ended."""

    def __init__(self, operation: str) -> None:
        self.ended = False
        self.hold = Hold(Lease(), self._end)
        self.exchange = Exchange(operation, "valign", "valign", self.hold)

    def _end(self) -> None:
        self.ended = True


@contextmanager
def held(operation: str = "chat") -> Iterator[_Held]:
    made = _Held(operation)
    token = CURRENT.set(made.exchange)
    try:
        yield made
    finally:
        CURRENT.reset(token)


def tokens(kind: str) -> float:
    return REGISTRY.get_sample_value("valign_generator_tokens_total", {"kind": kind}) or 0.0


async def read(outputs: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in outputs]


async def test_generate_of_a_stream_passes_every_output_and_tells_what_it_was() -> None:
    given = [output((0, 1, None)), output((0, 3, None)), output((0, 2, "length"), finished=True)]
    before = tokens("prompt"), tokens("generated")
    with held() as made:
        assert await read(EngineClient(FakeLLM(given), ()).generate("x", params(), "r1")) == given
        assert not made.ended
        made.hold.release()
    assert made.ended
    (part,) = made.exchange.parts
    assert (part.prompt_tokens, part.generated_tokens, part.reasons) == (5, 6, {0: "length"})
    assert (part.ended, part.error) == (True, "")
    assert (tokens("prompt") - before[0], tokens("generated") - before[1]) == (5, 6)


async def test_generate_of_several_answers_tells_why_each_ended() -> None:
    given = [output((0, 1, None), (1, 1, "stop")), output((0, 4, "length"), finished=True)]
    with held() as made:
        await read(EngineClient(FakeLLM(given), ()).generate("x", params(), "r1"))
    (part,) = made.exchange.parts
    assert (part.generated_tokens, part.reasons) == (6, {1: "stop", 0: "length"})


async def test_generate_that_fails_tells_the_class_alone_and_lets_go() -> None:
    llm = FakeLLM([output((0, 1, None))], fails=RuntimeError("a secret"))
    with held() as made:
        made.hold.retain()
        with pytest.raises(RuntimeError):
            await read(EngineClient(llm, ()).generate("x", params(), "r1"))
        made.hold.release()
        made.hold.release()
    assert made.ended
    (part,) = made.exchange.parts
    assert (part.error, part.ended, part.generated_tokens) == ("RuntimeError", False, 1)


async def test_generate_that_is_cut_holds_the_adapter_until_the_engine_has_let_go() -> None:
    llm = FakeLLM([output((0, 1, None))])
    llm.gate.clear()
    with held() as made:
        reading = asyncio.create_task(read(EngineClient(llm, ()).generate("x", params(), "r1")))
        await asyncio.sleep(0.01)
        made.hold.release()
        assert (made.ended, llm.closed) == (False, 0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert (made.ended, llm.closed) == (True, 1)
    assert not made.exchange.parts[0].ended


async def test_generate_that_is_closed_early_closes_the_engine_s_too() -> None:
    llm = FakeLLM([output((0, 1, None)), output((0, 1, None))])
    with held() as made:
        async with aclosing(EngineClient(llm, ()).generate("x", params(), "r1")) as outputs:
            await anext(outputs)
        assert llm.closed == 1
        made.hold.release()
    assert made.ended


async def test_generate_of_a_chat_ends_turns_and_of_a_completion_does_not() -> None:
    client = EngineClient(FakeLLM(), (1, 2))
    found = []
    for operation, asked in (
        ("chat", params(stop_token_ids=[2, 9])),
        ("chat", params(ignore_eos=True)),
        ("completions", params()),
    ):
        with held(operation):
            await read(client.generate("x", asked, "r1"))
        found.append(asked.stop_token_ids)
    assert found == [[2, 9, 1], None, None]


async def test_everything_else_is_the_engine_s_until_it_is_let_go() -> None:
    client = EngineClient(FakeLLM(), ())
    assert client.model_config == "the engine's own"
    client.let_go()
    with pytest.raises(AttributeError):
        _ = client.model_config
