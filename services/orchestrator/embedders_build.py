"""Builds the embedders. Like ``__main__``, it knows the concrete classes."""

from functools import partial

import grpc

from services.common.rpc.client import open_channel
from services.orchestrator.clients.discovery import Address, Discovery
from services.orchestrator.clients.embedder import SERVICE, GrpcEmbedder
from services.orchestrator.clients.embedder_pool import EmbedderPool
from services.orchestrator.clients.embedder_probe import EmbedderProbe
from services.orchestrator.clients.embedding_cache import CachedEmbedder
from services.orchestrator.clients.patience import OnWaiting, Patience, no_one_told
from services.orchestrator.embedding_rows import EmbeddingRows
from services.orchestrator.ports import Embedder
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store.sql import SqlRunStore

SECOND = "second embedder"


class Embedders:
    """The embedder and, where one is set, the second: one pool of replicas each, and one cache for both."""

    def __init__(
        self,
        settings: OrchestratorSettings,
        store: SqlRunStore,
        credentials: grpc.ChannelCredentials | None,
    ) -> None:
        """Nothing is connected yet: channels are opened when the first call needs them."""
        open_address = partial(_open, credentials)
        first, second = settings.embedder_target, settings.second_embedder_target
        self._first = EmbedderPool(SERVICE, Discovery(first), open_address)
        self._second = EmbedderPool(SECOND, Discovery(second), open_address) if second else None
        limit_bytes = settings.embedding_cache_mib << 20
        self._rows: EmbeddingRows | None = store.embedding_rows(limit_bytes) if limit_bytes else None
        self.probes = [EmbedderProbe("embedder", first, self._first)]
        if self._second is not None:
            self.probes.append(EmbedderProbe("second_embedder", second, self._second))

    def first(self, patience: Patience, on_waiting: OnWaiting = no_one_told) -> Embedder:
        """The embedder, for one that waits like this."""
        return self._cached(GrpcEmbedder(self._first, patience, on_waiting))

    def first_unkept(self, patience: Patience) -> Embedder:
        """The same, and no row of it is kept: for texts of people."""
        return GrpcEmbedder(self._first, patience)

    def second(self, patience: Patience, on_waiting: OnWaiting = no_one_told) -> Embedder | None:
        """The second embedder; None if there is none."""
        if self._second is None:
            return None
        return self._cached(GrpcEmbedder(self._second, patience, on_waiting, SECOND))

    async def aclose(self) -> None:
        """Close every channel."""
        await self._first.aclose()
        if self._second is not None:
            await self._second.aclose()

    def _cached(self, embedder: Embedder) -> Embedder:
        return embedder if self._rows is None else CachedEmbedder(embedder, self._rows)


def _open(credentials: grpc.ChannelCredentials | None, address: Address) -> grpc.aio.Channel:
    return open_channel(address.target, credentials, server_name=address.server_name)
