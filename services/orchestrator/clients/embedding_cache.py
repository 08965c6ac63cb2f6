"""The embedder port with a memory: a text that an encoder has seen is not sent to it again."""

import asyncio
from collections.abc import Sequence

import numpy as np
import structlog

from services.common.errors import PreconditionError, ValignError
from services.orchestrator.embedding_metrics import FAILURES, HITS, MISSES
from services.orchestrator.embedding_rows import EmbeddingRows, KeptRow, text_key
from services.orchestrator.ports import Embedder, Embeddings, EncoderInfo

log = structlog.get_logger(__name__)

TEXTS_A_TURN = 8192
"""Looked up, computed and kept together: a request that is cut off has kept what came before."""


class CachedEmbedder:
    """``embedder`` behind ``rows``.

    A row that is there was made by an encoder with the fingerprint that the embedder tells now, from exactly
    this text, and is given back bit by bit. The first row that was made of a text stays its row: an encoder
    may give others in the last bits when the text shares its batch with longer ones.

    A cache that does not answer costs time and nothing else: the texts are computed, and the failure is
    logged and counted.
    """

    def __init__(self, embedder: Embedder, rows: EmbeddingRows) -> None:
        self._embedder = embedder
        self._rows = rows

    async def describe(self) -> EncoderInfo:
        """Identity of the encoder, asked each time."""
        return await self._embedder.describe()

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Rows in the order of the texts, shape (n, dimension), float32; equal texts are sent once.

        Raises:
            PreconditionError: the encoder was exchanged while this was at work.
        """
        if not texts:
            return await self._embedder.embed(texts)
        fingerprint = (await self._embedder.describe()).fingerprint
        keys = [text_key(text) for text in texts]
        by_key = dict(zip(keys, texts, strict=True))
        known: dict[str, KeptRow] = {}
        computed: set[str] = set()
        wanted = list(by_key)
        for start in range(0, len(wanted), TEXTS_A_TURN):
            found, new = await self._turn(fingerprint, wanted[start : start + TEXTS_A_TURN], by_key)
            known |= found | new
            computed |= new.keys()
        return Embeddings(
            rows=np.stack([known[key].row for key in keys]),
            truncated=tuple(index for index, key in enumerate(keys) if known[key].truncated),
            fingerprint=fingerprint,
            # Of a text that came twice one row was computed, and the other known by then.
            cached=len(texts) - len(computed),
        )

    async def _turn(
        self, fingerprint: str, keys: list[str], texts: dict[str, str]
    ) -> tuple[dict[str, KeptRow], dict[str, KeptRow]]:
        """Rows that were kept, and those that were computed now."""
        found = await self._get(fingerprint, keys)
        missing = [key for key in keys if key not in found]
        HITS.inc(len(found))
        MISSES.inc(len(missing))
        if not missing:
            return found, {}
        computed = await self._embedder.embed([texts[key] for key in missing])
        if computed.fingerprint and computed.fingerprint != fingerprint:
            raise PreconditionError(
                f"the embedder had an encoder with fingerprint {fingerprint[:12]}… when a request began, and"
                f" {computed.fingerprint[:12]}… made its rows; rows of two encoders are never mixed. Repeat"
                " this once the embedder stays as it is"
            )
        cut = set(computed.truncated)
        new = {key: KeptRow.of(computed.rows[at], at in cut) for at, key in enumerate(missing)}
        # Rows that do not say whose they are could be kept under a name that is not theirs.
        if computed.fingerprint:
            await self._put(fingerprint, new)
        return found, new

    async def _get(self, fingerprint: str, keys: Sequence[str]) -> dict[str, KeptRow]:
        try:
            return await asyncio.to_thread(self._rows.get, fingerprint, keys)
        except ValignError as error:
            self._failed("embedding_cache.not_read", error)
            return {}

    async def _put(self, fingerprint: str, rows: dict[str, KeptRow]) -> None:
        try:
            await asyncio.to_thread(self._rows.put, fingerprint, rows)
        except ValignError as error:
            self._failed("embedding_cache.not_written", error)

    def _failed(self, event: str, error: ValignError) -> None:
        FAILURES.inc()
        log.warning(event, code=error.code.value, reason=error.message)
