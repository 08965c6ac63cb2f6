"""What the loop writes into the registry, as a Protocol: what it trained, and what became of it."""

from collections.abc import Collection, Mapping
from typing import Protocol

from services.orchestrator.registry.records import AdapterRecord, AdapterState, NewAdapter


class AdapterBook(Protocol):
    """Every method is one short transaction, and may be repeated."""

    def register(self, new: NewAdapter) -> AdapterRecord:
        """Insert as trained; what is registered already stays as it is. ConflictError: another content."""
        ...

    def move(
        self, name: str, to: AdapterState, reason: str, *, only_from: Collection[AdapterState] | None = None
    ) -> bool:
        """Change the state; False if it is none of ``only_from``, or if the adapter is not registered."""
        ...

    def note(self, name: str, reason: str) -> bool:
        """A new reason for the state that it has."""
        ...

    def named(self, names: Collection[str]) -> Mapping[str, AdapterRecord]:
        """Those of these adapters that are known, by name."""
        ...

    def of_run(self, run_id: str) -> list[AdapterRecord]:
        """The adapters of a run, by name."""
        ...

    def routed(self) -> frozenset[str]:
        """Every adapter that a route names, as its canary too: they must stay loaded."""
        ...
