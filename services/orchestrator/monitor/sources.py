"""What a monitor asks: a public name of our own generator, or an endpoint of somebody else's."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Protocol

from services.orchestrator.clients.openai import OpenAIGenerator
from services.orchestrator.ports import Completion, GenerationItem, GeneratorInfo


class Source(Protocol):
    """Answers, and who gives them."""

    takes_prefill: bool

    async def fingerprint(self) -> str:
        """Of the base model; of the address and the name for an endpoint."""
        ...

    def generate(self, items: Sequence[GenerationItem]) -> AsyncGenerator[Completion, None]:
        """Completions as they end, each key once."""
        ...

    async def aclose(self) -> None:
        """End its connections."""
        ...


class Routed(Protocol):
    """Our own generator, asked under a public name."""

    async def describe(self) -> GeneratorInfo:
        """Identity of its base model."""
        ...

    def generate_routed(
        self, items: Sequence[GenerationItem], route: str
    ) -> AsyncGenerator[Completion, None]:
        """Completions as they end, each key once."""
        ...


class RouteSource:
    """A public name: each answer tells the adapter that gave it."""

    takes_prefill = True

    def __init__(self, generator: Routed, route: str) -> None:
        self._generator = generator
        self._route = route

    async def fingerprint(self) -> str:
        """The base model's."""
        return (await self._generator.describe()).fingerprint

    def generate(self, items: Sequence[GenerationItem]) -> AsyncGenerator[Completion, None]:
        """By whatever the name serves now."""
        return self._generator.generate_routed(items, self._route)

    async def aclose(self) -> None:
        """Nothing: the channel is everybody's."""


class EndpointSource:
    """An endpoint tells no adapter, and is sent no begun answer, which it may take for a finished turn."""

    takes_prefill = False

    def __init__(self, generator: OpenAIGenerator) -> None:
        self._generator = generator

    async def fingerprint(self) -> str:
        """Of its address and the model's name."""
        return (await self._generator.describe()).fingerprint

    def generate(self, items: Sequence[GenerationItem]) -> AsyncGenerator[Completion, None]:
        """By whatever stands behind the address."""
        return self._generator.generate(items)

    async def aclose(self) -> None:
        """End the HTTP connections."""
        await self._generator.aclose()


Connect = Callable[[Mapping[str, Any]], Source]
"""Opens what a monitor's document targets. Raises the ValignError of an endpoint that may not be called."""
