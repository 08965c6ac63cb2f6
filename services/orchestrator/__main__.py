"""The orchestrator's process: builds the concrete objects, serves REST and gRPC, drains on SIGTERM."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
import uvicorn

from services.common.artifacts import ArtifactStore
from services.common.errors import InternalError, PreconditionError
from services.common.lifecycle import start_server, stop_event
from services.common.logs import configure_logging
from services.common.metrics import serve_metrics
from services.common.pb.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from services.common.rpc.client import open_channel
from services.common.rpc.server import Health
from services.common.settings import load_settings
from services.orchestrator.api.http import build_http_app
from services.orchestrator.api.servicer import OrchestratorServicer
from services.orchestrator.application import Application
from services.orchestrator.assets import AssetLibrary
from services.orchestrator.clients.embedder import GrpcEmbedder
from services.orchestrator.clients.generator import GrpcGenerator
from services.orchestrator.clients.openai import OpenAIGenerator, key_for
from services.orchestrator.clients.patience import Patience
from services.orchestrator.clients.probe import GrpcProbe, describe_embedder, describe_generator
from services.orchestrator.clients.trainer import GrpcTrainer
from services.orchestrator.loop.context import Services
from services.orchestrator.loop.runner import LoopConfig, LoopRunner
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store.sql import SqlRunStore
from services.orchestrator.study import Study
from services.orchestrator.values_training import ValuesTraining

log = structlog.get_logger(__name__)

SERVICE_NAME = "valign.orchestrator.v1.OrchestratorService"


class _HttpServer(uvicorn.Server):
    """uvicorn without its own signal handlers: the process drains as a whole."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    """The REST API's socket. PreconditionError if the port is taken: uvicorn would only exit."""
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise PreconditionError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


async def serve(settings: OrchestratorSettings) -> None:
    """Serve until SIGTERM or SIGINT. The other services may be down: runs wait for them."""
    stopping = stop_event()
    listener = _listen(settings.host, settings.http_port)
    settings.home.expanduser().mkdir(parents=True, exist_ok=True)
    if settings.system_database.startswith("sqlite:///"):
        Path(settings.system_database.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    store = SqlRunStore(settings.database)
    await asyncio.to_thread(store.waiting(settings.wait_for_services_s).migrate)
    artifacts = ArtifactStore(settings.artifact_root)
    channels = {
        "generator": open_channel(settings.generator_target),
        "embedder": open_channel(settings.embedder_target),
        "trainer": open_channel(settings.trainer_target),
    }
    if settings.second_embedder_target:
        channels["second_embedder"] = open_channel(settings.second_embedder_target)
    patience = Patience(wait_s=settings.wait_for_services_s, call_s=settings.call_timeout_s)

    def connect(study: Study, on_waiting: Callable[[str, str], None]) -> Services:
        second = channels.get("second_embedder")
        endpoint = None
        if study.endpoint is not None:
            key = key_for(study.endpoint.url, settings.endpoint_keys)
            endpoint = OpenAIGenerator(study.endpoint, key, on_waiting)
        return Services(
            generator=endpoint or GrpcGenerator(channels["generator"], patience, on_waiting),
            embedder=GrpcEmbedder(channels["embedder"], patience, on_waiting),
            trainer=GrpcTrainer(channels["trainer"], artifacts, patience, on_waiting),
            second_embedder=GrpcEmbedder(second, patience, on_waiting, "second embedder") if second else None,
            endpoint=endpoint,
        )

    config = LoopConfig(settings.system_database, settings.concurrent_runs)
    # A run outlives a database that restarts; who waits for an answer is told.
    runner = LoopRunner(store.waiting(settings.wait_for_services_s), artifacts, connect, config)
    probes = [
        GrpcProbe("generator", settings.generator_target, channels["generator"], describe_generator),
        GrpcProbe("embedder", settings.embedder_target, channels["embedder"], describe_embedder),
        GrpcProbe("trainer", settings.trainer_target, channels["trainer"]),
    ]
    if second := channels.get("second_embedder"):
        target = settings.second_embedder_target
        probes.append(GrpcProbe("second_embedder", target, second, describe_embedder))
    assets = AssetLibrary(store.assets, artifacts)
    values = ValuesTraining(
        GrpcEmbedder(channels["embedder"], patience), GrpcGenerator(channels["generator"], patience), assets
    )
    application = Application(store, runner, artifacts, probes, assets=assets, values=values)
    health = Health((SERVICE_NAME,))
    await health.set_serving(False)
    server, port = await start_server(
        settings,
        service_names=(SERVICE_NAME,),
        register=lambda server: pb_grpc.add_OrchestratorServiceServicer_to_server(
            OrchestratorServicer(application), server
        ),
        health=health,
    )
    http = _HttpServer(
        uvicorn.Config(
            build_http_app(application, lambda: health.serving),
            host=settings.host,
            port=settings.http_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=int(settings.drain_timeout_s),
        )
    )
    serving = asyncio.create_task(http.serve(sockets=[listener]))
    stopped = asyncio.create_task(stopping.wait())
    try:
        await runner.launch()
        serve_metrics(settings.host, settings.metrics_port)
        await health.set_serving(True)
        http_port = listener.getsockname()[1]
        log.info("service.listening", name="orchestrator", port=port, http_port=http_port)
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done() and not stopped.done():
            serving.result()
            raise InternalError("the REST server ended by itself; its log lines say why")
    finally:
        log.info("service.draining", name="orchestrator", timeout_s=settings.drain_timeout_s)
        await health.set_serving(False)
        application.close()
        http.should_exit = True
        await values.aclose()
        # Runs stop where they are and go on at the next start; callers get their time.
        await runner.shutdown()
        await server.stop(settings.drain_timeout_s)
        await asyncio.gather(serving, return_exceptions=True)
        stopped.cancel()
        for channel in channels.values():
            await channel.close()
        store.close()
        log.info("service.stopped", name="orchestrator")


def main() -> None:
    """Read the settings and serve."""
    settings = load_settings(OrchestratorSettings)
    configure_logging("orchestrator", settings.log_level, settings.log_format)
    try:
        asyncio.run(serve(settings))
    except PreconditionError as error:
        log.error("service.failed", message=error.message)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
