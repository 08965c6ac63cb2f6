"""What the steps of one run share."""

import asyncio
import hashlib
import io
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.common.artifacts import ArtifactStore
from services.common.errors import PreconditionError
from services.orchestrator.loop.clock import Clock
from services.orchestrator.loop.journal import Journal
from services.orchestrator.loop.tally import USED, Tally
from services.orchestrator.ports import Embedder, Endpoint, Generator, RunStore, Trainer
from services.orchestrator.ruler import Ruler
from services.orchestrator.study import ResolvedStudy, Study

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Services:
    """The services, as ports; the second embedder and the endpoint are optional."""

    generator: Generator
    embedder: Embedder
    trainer: Trainer
    second_embedder: Embedder | None = None
    endpoint: Endpoint | None = None  # the generator itself, where the study names an endpoint


SERVED = "served"
"""Name of a run's value: fingerprints of the models that it began with, by service."""
Connect = Callable[[Study, Callable[[str, str], None], Mapping[str, str]], Services]
"""Makes the services for one run of a study; the function is told (service, reason) when a call has to
wait, and the mapping is what the run began with (``SERVED``; empty if it has yet to begin). A study that
names an endpoint gets that as its generator."""


@dataclass(slots=True)
class RunContext:
    """One run in this process. Everything in it can be rebuilt after a restart."""

    run_id: str
    resolved: ResolvedStudy
    services: Services
    store: RunStore
    artifacts: ArtifactStore
    journal: Journal
    cancelled: asyncio.Event
    clock: Clock = field(default_factory=Clock)
    ruler: Ruler | None = None
    attempt: int = 1
    tally: Tally = field(default_factory=Tally)

    @property
    def study(self) -> Study:
        """The study with every default filled in."""
        return self.resolved.study

    async def stored(self, call: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """A call of the store, in a thread."""
        return await asyncio.to_thread(call, *args, **kwargs)

    async def put_value(self, key: str, value: Any) -> None:
        """Store a small result under a key of this run."""
        await self.stored(self.store.put_value, self.run_id, key, value)

    async def get_value(self, key: str) -> Any:
        """A small result of this run, or None."""
        return await self.stored(self.store.get_value, self.run_id, key)

    async def keep_tally(self) -> None:
        """Store what the run has used so far, the wall seconds since the last time with it."""
        self.tally.add(wall_s=self.clock.new_s())
        await self.put_value(USED, self.tally.as_json())

    async def require_unchanged(self, service: str, fingerprint: str) -> None:
        """PreconditionError if a service no longer serves what it did when the run began.

        A run outlives restarts: numbers from two models or two encoders must not be mixed unseen.
        """
        began = (await self.get_value(SERVED) or {}).get(service)
        if began not in (None, fingerprint):
            raise PreconditionError(
                f"the {service} serves another model (fingerprint {fingerprint[:12]}…) than when the run"
                f" began ({began[:12]}…); run the study anew, or start the {service} with the model it had"
            )

    async def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows of the texts, shape (n, dimension); equal texts are sent once, those of the ruler never."""
        known = self.ruler.rows if self.ruler is not None else {}
        unique = [text for text in dict.fromkeys(texts) if text not in known]
        with self.clock.external("embedding"):
            await self.require_unchanged("embedder", (await self.services.embedder.describe()).fingerprint)
            with self.tally.timed("embedding_s"):
                found = await self.services.embedder.embed(unique)
            rows = found.rows
            self.tally.add(embeddings=len(unique) - found.cached, embeddings_cached=found.cached)
        if not known:
            place = {text: number for number, text in enumerate(unique)}
            return rows[[place[text] for text in texts]]
        by_text = {**known, **dict(zip(unique, rows, strict=True))}
        return np.stack([by_text[text] for text in texts]) if texts else rows

    async def put_arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
        """Store arrays in the artifact store under their sha256; returns ``{"uri", "sha256"}``."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **dict(arrays))
        data = buffer.getvalue()
        key = f"runs/{self.run_id}/{name}-{hashlib.sha256(data).hexdigest()[:16]}.npz"
        artifact = await asyncio.to_thread(self.artifacts.put_bytes, key, data)
        return {"uri": artifact.uri, "sha256": artifact.sha256}

    async def get_arrays(self, reference: Mapping[str, str]) -> dict[str, NDArray[Any]]:
        """What ``put_arrays`` stored. PreconditionError if it has changed since."""
        data = await asyncio.to_thread(self.artifacts.get_bytes, reference["uri"], reference["sha256"])
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return dict(arrays)


StepBody = Callable[[RunContext], Awaitable[Any]]
