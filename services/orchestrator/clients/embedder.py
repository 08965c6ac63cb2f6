"""The embedder port over gRPC."""

from collections.abc import AsyncIterator, Sequence

import grpc
import numpy as np

from services.common.errors import InternalError
from services.common.pb.embedder.v1 import embedder_pb2 as pb
from services.common.pb.embedder.v1 import embedder_pb2_grpc as pb_grpc
from services.common.rpc.client import as_valign_error
from services.orchestrator.clients.parts import in_parts
from services.orchestrator.clients.patience import OnWaiting, Patience, Waiter, no_one_told, patiently
from services.orchestrator.ports import Embeddings, EncoderInfo

SERVICE = "embedder"
_MAX_STREAM_S = 3600.0


class GrpcEmbedder:
    """Calls wait for an embedder that is away; a stream that breaks goes on behind its last row."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        patience: Patience | None = None,
        on_waiting: OnWaiting = no_one_told,
        service: str = SERVICE,
    ) -> None:
        """``service`` is what ``on_waiting`` and errors call it."""
        self._stub = pb_grpc.EmbedderServiceStub(channel)
        self._patience = patience or Patience()
        self._on_waiting = on_waiting
        self._service = service

    async def describe(self) -> EncoderInfo:
        """Identity of the encoder."""
        reply = await patiently(
            self._service,
            self._patience,
            self._on_waiting,
            lambda: self._stub.Describe(pb.DescribeRequest(), timeout=self._patience.call_s),
        )
        return EncoderInfo(
            model=reply.model,
            dimension=reply.dimension,
            fingerprint=reply.fingerprint,
            max_tokens=reply.max_tokens,
        )

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Rows in the order of the texts, shape (n, dimension), float32."""
        if not texts:
            return Embeddings(rows=np.zeros((0, 0), dtype=np.float32))
        parts: list[np.ndarray] = []
        truncated: list[int] = []
        done = 0
        waiter = Waiter(self._service, self._patience, self._on_waiting)
        while done < len(texts):
            base = done
            call = self._stub.Embed(_requests(texts[base:]), timeout=_MAX_STREAM_S)
            try:
                async for reply in call:
                    rows = _rows(reply, expected_offset=done - base)
                    parts.append(rows)
                    truncated += [base + index for index in reply.truncated]
                    done += len(rows)
                    waiter.progress()
            except grpc.aio.AioRpcError as error:
                await waiter.pause(as_valign_error(error))
                continue
            finally:
                call.cancel()
            if done < len(texts):
                raise InternalError(f"the {self._service} returned {done} rows for {len(texts)} texts")
        return Embeddings(rows=np.concatenate(parts), truncated=tuple(truncated))


async def _requests(texts: Sequence[str]) -> AsyncIterator[pb.EmbedRequest]:
    for part in in_parts(texts, lambda text: 8 + 4 * len(text)):
        yield pb.EmbedRequest(texts=part)


def _rows(reply: pb.EmbedResponse, expected_offset: int) -> np.ndarray:
    if reply.offset != expected_offset:
        raise InternalError(f"the embedder sent row {reply.offset} where row {expected_offset} was due")
    if len(reply.rows) != reply.count * reply.dimension * 4:
        raise InternalError(
            f"the embedder sent {len(reply.rows)} bytes for {reply.count} rows of {reply.dimension} float32"
        )
    return np.frombuffer(reply.rows, dtype="<f4").reshape(reply.count, reply.dimension).astype(np.float32)
