"""A look at every replica of an embedder, for ``GET /v1/system`` and ``valign doctor``."""

import asyncio

from services.common.errors import NotReadyError, ValignError
from services.orchestrator.clients.embedder_pool import EmbedderPool, Replica
from services.orchestrator.clients.embedder_work import Seen, require_same
from services.orchestrator.clients.probe import GrpcProbe, describe_embedder
from services.orchestrator.looks import ServiceFacts


class EmbedderProbe:
    """One answer for all replicas: it serves if one of them does."""

    def __init__(self, name: str, target: str, pool: EmbedderPool) -> None:
        """``target`` is what the setting says, for people."""
        self.name = name
        self.target = target
        self._pool = pool

    async def look(self) -> ServiceFacts:
        """Ask each once.

        Raises:
            PreconditionError: two of them serve different encoders; it names both.
            NotReadyError: none can be reached.
        """
        members = await self._pool.members()
        found = await asyncio.gather(*(self._look(one) for one in members))
        serving = [
            (one, facts)
            for one, facts in zip(members, found, strict=True)
            if isinstance(facts, ServiceFacts) and facts.serving
        ]
        if not serving:
            errors = [one for one in found if isinstance(one, ValignError)]
            if len(errors) == len(found):
                raise (
                    errors[0]
                    if len(errors) == 1
                    else NotReadyError(
                        f"none of {len(errors)} replicas can be reached; the first: {errors[0].message}"
                    )
                )
            return ServiceFacts(serving=False)
        (first, facts), *others = serving
        for replica, other in others:
            seen = Seen(replica.target, other.fingerprint)
            require_same(self._pool.name, Seen(first.target, facts.fingerprint), seen)
        return facts

    async def _look(self, replica: Replica) -> ServiceFacts | ValignError:
        try:
            return await GrpcProbe(self.name, replica.target, replica.channel, describe_embedder).look()
        except ValignError as error:
            return error
