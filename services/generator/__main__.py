"""``python -m services.generator``: serve one model until SIGTERM."""

import asyncio
import sys
import tempfile
from pathlib import Path

import structlog

from services.common.artifacts import ArtifactStore
from services.common.errors import ValignError
from services.common.lifecycle import run_service
from services.common.logs import configure_logging
from services.common.pb.generator.v1 import generator_pb2_grpc as rpc
from services.common.rpc.fence import Fence
from services.common.rpc.server import Health
from services.common.settings import load_settings
from services.generator.adapters import Adapters
from services.generator.child import run_in_children
from services.generator.service import Generator
from services.generator.servicer import SERVICE_NAME, GeneratorServicer
from services.generator.serving.build import build_server
from services.generator.serving.names import base_name
from services.generator.serving.server import HttpServer
from services.generator.serving.traffic import Traffic
from services.generator.settings import GeneratorSettings, apply_engine_environment
from services.generator.supervisor import Supervisor

log = structlog.get_logger(__name__)


async def serve(settings: GeneratorSettings) -> None:
    """Build the parts and run the service."""
    # vLLM takes seconds to import, and reads its environment while it does.
    from services.generator.engine import VllmEngine
    from services.generator.openai_app import OpenAIApp

    if settings.adapter_cache is not None:
        settings.adapter_cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix="valign-adapters-", dir=settings.adapter_cache, ignore_cleanup_errors=True
    ) as cache:
        engine = VllmEngine(settings)
        adapters = Adapters(
            engine,
            ArtifactStore(settings.artifacts),
            Path(cache),
            max_bytes=settings.max_adapter_bytes,
            tolerance=settings.canary_tolerance,
        )
        generator = Generator(
            engine,
            adapters,
            max_in_flight=settings.max_in_flight,
            max_calls=settings.max_calls,
            gpus=settings.workers,
            tracing_content=settings.tracing_content,
        )
        traffic = Traffic()
        http: HttpServer | None = None
        app: OpenAIApp | None = None
        if settings.http_port:
            app = OpenAIApp(engine, base_name(settings.model, settings.base_model_name))
            http = build_server(settings, generator, app, traffic, app.check)

        def forget() -> None:
            adapters.forget_all()
            if app is not None:
                app.detach()

        supervisor = Supervisor(
            engine,
            forget,
            backoff_s=settings.restart_backoff_s,
            backoff_max_s=settings.restart_backoff_max_s,
            on_start=app.attach if app else None,
        )

        async def start(health: Health) -> None:
            if http is not None:
                await http.start()
            await supervisor.start(health)

        async def stop() -> None:
            if app is not None:
                app.detach()
            await supervisor.stop()

        sampled = traffic if http is not None and settings.allow_traffic_sampling else None
        await run_service(
            name="generator",
            settings=settings,
            service_names=[SERVICE_NAME],
            register=lambda server: rpc.add_GeneratorServiceServicer_to_server(
                GeneratorServicer(generator, sampled), server
            ),
            start=start,
            stop=stop,
            fence=Fence(),
            drain=http.drain if http else None,
        )


def main() -> int:
    """Exit status: 0 after a clean stop, 1 if the model or the port cannot be had, 2 for bad settings."""
    settings = load_settings(GeneratorSettings)
    configure_logging("generator", settings.log_level, settings.log_format)
    apply_engine_environment(settings)
    run_in_children()
    try:
        asyncio.run(serve(settings))
    except ValignError as error:
        log.error("service.cannot_run", code=error.code.value, reason=error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
