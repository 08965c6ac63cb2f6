"""An embedder servicer without a model: hashed bags of words, 64 numbers a row."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.common.errors import NotReadyError
from services.common.pb.embedder.v1 import embedder_pb2 as pb
from services.common.pb.embedder.v1 import embedder_pb2_grpc as pb_grpc

DIMENSION = 64
FINGERPRINT = "e" * 64


def embed(text: str) -> np.ndarray:
    """The row of a text."""
    row = np.full(DIMENSION, 0.01, dtype="<f4")
    for word in text.lower().split():
        row[int(hashlib.sha256(word.encode()).hexdigest(), 16) % DIMENSION] += 1
    return row


@dataclass
class FakeEmbedder(pb_grpc.EmbedderServiceServicer):
    """Sends rows in parts; ``break_after`` breaks the stream once behind that many rows.

    ``delay_s`` goes by before each part; ``asked`` has the texts of each call; a ``silent`` one does not name
    its encoder in its rows, as older servers do not; ``extra_rows`` belong to no text;
    texts of more than ``longest`` characters are called truncated.
    """

    part: int = 16
    break_after: int = 0
    texts_seen: int = 0
    serving: bool = True
    model: str = "fake/encoder"
    fingerprint: str = ""
    delay_s: float = 0.0
    silent: bool = False
    extra_rows: int = 0
    longest: int = 1_000_000
    asked: list[list[str]] = field(default_factory=list)

    async def Describe(self, request: Any, context: Any) -> pb.DescribeResponse:
        if not self.serving:
            raise NotReadyError("the encoder is loading")
        return pb.DescribeResponse(
            model=self.model,
            dimension=DIMENSION,
            fingerprint=self.fingerprint or FINGERPRINT,
            max_tokens=256,
        )

    async def Embed(self, requests: AsyncIterator[pb.EmbedRequest], context: Any) -> AsyncIterator[Any]:
        texts = [text async for request in requests for text in request.texts]
        if not self.serving:
            raise NotReadyError("the encoder is loading")
        self.texts_seen += len(texts)
        self.asked.append(texts)
        for start in range(0, len(texts), self.part):
            if self.break_after and start >= self.break_after:
                self.break_after = 0
                raise NotReadyError("the encoder is restarting")
            await asyncio.sleep(self.delay_s)
            part = [*texts[start : start + self.part], *["more"] * self.extra_rows]
            rows = np.stack([embed(text) for text in part])
            yield pb.EmbedResponse(
                offset=start,
                rows=rows.tobytes(),
                count=len(rows),
                dimension=DIMENSION,
                truncated=[start + at for at, text in enumerate(part) if len(text) > self.longest],
                fingerprint="" if self.silent else self.fingerprint or FINGERPRINT,
            )
