"""What the registry needs from the world: the generator's replicas, one by one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from services.orchestrator.ports import AdapterRef, SwapProof
from services.orchestrator.registry.records import Route


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """What a replica says of itself: the base model's fingerprint, and its adapters (name -> sha256)."""

    base_fingerprint: str
    adapters: Mapping[str, str]


class Replica(Protocol):
    """One generator, addressed directly. Every call is made once, and raises a ValignError if it fails."""

    @property
    def target(self) -> str:
        """Its address, host:port."""
        ...

    async def look(self) -> ReplicaFacts:
        """Who it is and what it holds."""
        ...

    async def load(self, adapter: AdapterRef) -> SwapProof:
        """Load and prove; answers at once if it is loaded."""
        ...

    async def unload(self, name: str) -> None:
        """Remove an adapter once its requests have ended; one that is not there is no error."""
        ...

    async def route(self, name: str) -> Route | None:
        """What a public name serves there; None if it was never set."""
        ...

    async def set_route(self, route: Route) -> None:
        """Make a public name serve this."""
        ...

    async def aclose(self) -> None:
        """End the connection."""
        ...
