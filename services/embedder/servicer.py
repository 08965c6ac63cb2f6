"""The gRPC face of the embedder: convert, call, convert."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from services.common import tracing
from services.common.errors import NotReadyError
from services.common.pb.embedder.v1 import embedder_pb2, embedder_pb2_grpc
from services.embedder.batcher import Batcher, Lane
from services.embedder.convert import to_description, to_responses, to_texts
from services.embedder.types import Encoded

# Offset of the part in the call and its rows to be; an error of the reader; or None at the end.
_Part = tuple[int, "asyncio.Future[Encoded]"] | BaseException | None


class EmbedderServicer(embedder_pb2_grpc.EmbedderServiceServicer):
    """Answers NOT_READY until ``serve`` has given it a batcher.

    Args:
        window_texts: texts of a call that are handed to the batcher together. Two windows of a call
            are held at most; further messages of its stream stay unread (back-pressure).
    """

    def __init__(self, *, window_texts: int) -> None:
        self._window_texts = window_texts
        self._batcher: Batcher | None = None

    def serve(self, batcher: Batcher) -> None:
        self._batcher = batcher

    async def Describe(
        self, request: embedder_pb2.DescribeRequest, context: Any
    ) -> embedder_pb2.DescribeResponse:
        return to_description(self._ready().encoder.info)

    async def Embed(
        self, requests: AsyncIterator[embedder_pb2.EmbedRequest], context: Any
    ) -> AsyncIterator[embedder_pb2.EmbedResponse]:
        """Rows in the order of the texts. No text at all is no error, and gives no row."""
        batcher = self._ready()
        model = batcher.encoder.info.model
        fingerprint = batcher.encoder.info.fingerprint
        spanned = tracing.span(
            f"embeddings {model}",
            {
                "gen_ai.operation.name": "embeddings",
                "gen_ai.provider.name": "sentence-transformers",
                "gen_ai.request.model": model,
                "gen_ai.embeddings.dimension.count": batcher.encoder.info.dimension,
            },
        )
        with spanned as span, batcher.open() as lane:
            call = _Call(lane, self._window_texts)
            texts = 0
            reader = asyncio.create_task(call.read(requests))
            try:
                while (part := await call.parts.get()) is not None:
                    if isinstance(part, BaseException):
                        raise part
                    offset, future = part
                    encoded = await future
                    for response in to_responses(encoded, offset, fingerprint):
                        yield response
                    call.sent(len(encoded.rows))
                    texts += len(encoded.rows)
            finally:
                span.set_attribute("valign.embeddings.texts", texts)
                reader.cancel()

    def _ready(self) -> Batcher:
        if self._batcher is None:
            raise NotReadyError("the sentence encoder is still loading; try again in some seconds")
        return self._batcher


class _Call:
    """Reads a call's texts into its lane, at most two windows ahead of the rows that were sent."""

    def __init__(self, lane: Lane, window_texts: int) -> None:
        self._lane = lane
        self._window_texts = window_texts
        self._held = 0
        self._room = asyncio.Event()
        self.parts: asyncio.Queue[_Part] = asyncio.Queue()

    async def read(self, requests: AsyncIterator[embedder_pb2.EmbedRequest]) -> None:
        """Submit the texts window by window; the end, or the error that ended it, is put last."""
        offset = 0
        try:
            async for request in requests:
                texts = to_texts(request, offset)
                for start in range(0, len(texts), self._window_texts):
                    window = texts[start : start + self._window_texts]
                    await self._wait_for_room(len(window))
                    self.parts.put_nowait((offset + start, self._lane.submit(window)))
                offset += len(texts)
        except Exception as error:
            self.parts.put_nowait(error)
        else:
            self.parts.put_nowait(None)

    def sent(self, count: int) -> None:
        self._held -= count
        self._room.set()

    async def _wait_for_room(self, count: int) -> None:
        while self._held and self._held + count > 2 * self._window_texts:
            self._room.clear()
            await self._room.wait()
        self._held += count
