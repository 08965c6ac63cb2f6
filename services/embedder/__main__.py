"""Start the embedder: ``python -m services.embedder``, set by ``VALIGN_EMBEDDER_*`` variables."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog

from services.common.lifecycle import run_service
from services.common.logs import configure_logging
from services.common.pb.embedder.v1 import embedder_pb2, embedder_pb2_grpc
from services.common.rpc.server import Health
from services.common.settings import load_settings
from services.embedder.batcher import Batcher
from services.embedder.servicer import EmbedderServicer
from services.embedder.settings import EmbedderSettings
from services.embedder.types import Encoder

log = structlog.get_logger(__name__)

SERVICE_NAME = embedder_pb2.DESCRIPTOR.services_by_name["EmbedderService"].full_name


def load_encoder(settings: EmbedderSettings) -> Encoder:
    """Load the model and prove with one text that it answers; blocks, in the thread that will encode."""
    from services.embedder.encoder import SentenceTransformerEncoder

    encoder = SentenceTransformerEncoder.load(
        settings.model,
        revision=settings.revision,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
    )
    encoder.encode(["Be honest."])
    return encoder


async def serve(settings: EmbedderSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
    servicer = EmbedderServicer(window_texts=settings.window_texts)
    batchers: list[Batcher] = []

    async def start(health: Health) -> None:
        encoder = await asyncio.get_running_loop().run_in_executor(executor, load_encoder, settings)
        batcher = Batcher(
            encoder,
            executor,
            batch_size=settings.batch_size,
            max_wait_s=settings.max_wait_ms / 1000,
            max_queued_texts=settings.max_queued_texts,
        )
        batcher.start()
        batchers.append(batcher)
        servicer.serve(batcher)
        await health.set_serving(True)
        log.info("service.serving", model=settings.model)

    async def stop() -> None:
        for batcher in batchers:
            await batcher.stop()
        executor.shutdown(wait=False, cancel_futures=True)

    await run_service(
        name="embedder",
        settings=settings,
        service_names=[SERVICE_NAME],
        register=lambda server: embedder_pb2_grpc.add_EmbedderServiceServicer_to_server(servicer, server),
        start=start,
        stop=stop,
    )


def main() -> None:
    settings = load_settings(EmbedderSettings)
    configure_logging("embedder", settings.log_level, settings.log_format)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
