"""The embedder's real service around an encoder without a model, as a process of its own.

``python -m tests.fakes.serve_embedder [--delay-s S] [--describe-s S]``, with the embedder's settings.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from services.common.lifecycle import run_service
from services.common.logs import configure_logging
from services.common.pb.embedder.v1 import embedder_pb2, embedder_pb2_grpc
from services.common.rpc.server import Health
from services.common.settings import load_settings
from services.embedder.batcher import Batcher
from services.embedder.servicer import EmbedderServicer
from services.embedder.settings import EmbedderSettings
from services.embedder.types import Encoded, EncoderInfo
from tests.fakes.fake_embedder import DIMENSION, FINGERPRINT, embed


class WordEncoder:
    """Hashed bags of words: texts that share words are near each other."""

    def __init__(self, model: str, delay_s: float) -> None:
        self.info = EncoderInfo(model, DIMENSION, FINGERPRINT, 256, normalized=False)
        self._delay_s = delay_s

    def encode(self, texts: Sequence[str]) -> Encoded:
        """One row a text, ``delay_s`` seconds a batch."""
        time.sleep(self._delay_s)
        return Encoded(np.stack([embed(text) for text in texts]), np.zeros(len(texts), dtype=np.bool_))


class SlowEmbedderServicer(EmbedderServicer):
    """Takes a while to say what it serves, so that a run can be met while it asks."""

    describe_s = 0.0

    async def Describe(self, request: Any, context: Any) -> embedder_pb2.DescribeResponse:
        await asyncio.sleep(self.describe_s)
        return await super().Describe(request, context)


async def serve(settings: EmbedderSettings, delay_s: float, describe_s: float) -> None:
    """As ``services.embedder.__main__`` does, with another encoder."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
    servicer = SlowEmbedderServicer(window_texts=settings.window_texts)
    servicer.describe_s = describe_s
    batcher = Batcher(
        WordEncoder(settings.model, delay_s),
        executor,
        batch_size=settings.batch_size,
        max_wait_s=settings.max_wait_ms / 1000,
        max_queued_texts=settings.max_queued_texts,
    )

    async def start(health: Health) -> None:
        batcher.start()
        servicer.serve(batcher)
        await health.set_serving(True)

    async def stop() -> None:
        await batcher.stop()
        executor.shutdown(wait=False, cancel_futures=True)

    await run_service(
        name="embedder",
        settings=settings,
        service_names=["valign.embedder.v1.EmbedderService"],
        register=lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server),
        start=start,
        stop=stop,
    )


def main() -> None:
    """Read arguments and settings, serve until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--describe-s", type=float, default=0.0)
    args = parser.parse_args()
    settings = load_settings(EmbedderSettings)
    configure_logging("embedder", settings.log_level, settings.log_format)
    asyncio.run(serve(settings, args.delay_s, args.describe_s))


if __name__ == "__main__":
    main()
