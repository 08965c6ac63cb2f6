"""A look at the services behind the orchestrator, for people who ask what is there."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What a service says of itself; empty where it has nothing to say."""

    serving: bool
    model: str = ""
    fingerprint: str = ""
    version: str = ""
    device: str = ""
    max_model_len: int = 0
    max_lora_rank: int = 0


class Probe(Protocol):
    """A look at one service, for people who ask what is there."""

    @property
    def name(self) -> str:
        """For example "generator"."""
        ...

    @property
    def target(self) -> str:
        """Its address, host:port."""
        ...

    async def look(self) -> ServiceFacts:
        """Ask once, without waiting for a service that is away; a ValignError if it cannot be reached."""
        ...
