"""The orchestrator's process: builds the concrete objects, serves REST and gRPC, drains on SIGTERM."""

import asyncio
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import structlog
import uvicorn

from services.common.artifacts import ArtifactStore
from services.common.certificates import follow_certificate
from services.common.errors import InternalError, PreconditionError, ValignError
from services.common.lifecycle import start_health_server, start_server, stop_event
from services.common.logs import configure_logging
from services.common.metrics import serve_metrics, tell_build
from services.common.pb.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from services.common.redact import know_secrets
from services.common.rpc.client import open_channel
from services.common.rpc.server import Health
from services.common.rpc.tls import channel_credentials, read_pair
from services.common.settings import load_settings
from services.common.tracing import start_tracing
from services.orchestrator.access.build import build_access
from services.orchestrator.access.endpoints import EndpointHosts
from services.orchestrator.access.keys import ApiKeys
from services.orchestrator.api.access_grpc import AccessInterceptor
from services.orchestrator.api.http import build_http_app
from services.orchestrator.api.servicer import OrchestratorServicer
from services.orchestrator.application import Application
from services.orchestrator.assets import AssetLibrary
from services.orchestrator.clients.openai import OpenAIGenerator, key_for
from services.orchestrator.clients.patience import Patience
from services.orchestrator.clients.probe import GrpcProbe
from services.orchestrator.clients.traced_http import trace_http_calls
from services.orchestrator.clients.trainer import GrpcTrainer
from services.orchestrator.embedders_build import Embedders
from services.orchestrator.generators_build import Generators
from services.orchestrator.housekeeping import keep_house
from services.orchestrator.looks import Probe
from services.orchestrator.loop.context import Services
from services.orchestrator.loop.leadership import Doorbell, Leadership
from services.orchestrator.loop.runner import LoopConfig, LoopRunner
from services.orchestrator.loop.workflows import WorkflowSteps
from services.orchestrator.platform_build import build_platform
from services.orchestrator.registry.leading import RegistryTasks
from services.orchestrator.registry.retention import Retention
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
        listener = socket.create_server((host, port), backlog=2048)
        # Taken over by each connection; asyncio sets it only on sockets that it has made itself.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise PreconditionError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def _follow_certificate(config: uvicorn.Config, settings: OrchestratorSettings) -> asyncio.Task[None] | None:
    """Keep the REST API's certificate up to date; None if it speaks in the clear."""
    certificate, key = settings.http_tls_cert_file, settings.http_tls_key_file
    if certificate is None or key is None:
        return None
    config.load()
    if config.ssl is None:
        raise InternalError("the REST server has files of a certificate and no TLS")
    return asyncio.create_task(follow_certificate(config.ssl, certificate, key))


async def serve(settings: OrchestratorSettings) -> None:
    """Serve until SIGTERM or SIGINT. The other services may be down: runs wait for them."""
    stopping = stop_event()
    if settings.http_tls_cert_file and settings.http_tls_key_file:
        read_pair(settings.http_tls_cert_file, settings.http_tls_key_file)
    listener = _listen(settings.host, settings.http_port)
    settings.home.expanduser().mkdir(parents=True, exist_ok=True)
    if settings.system_database.startswith("sqlite:///"):
        Path(settings.system_database.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    store = SqlRunStore(settings.database, require_approval=settings.require_approval)
    if not await _migrated(store.waiting(settings.wait_for_services_s), stopping):
        listener.close()
        store.close()
        return
    artifacts = ArtifactStore(settings.artifact_root)
    shown = channel_credentials(settings)
    channels = {
        "trainer": open_channel(settings.trainer_target, shown),
    }
    embedders = Embedders(settings, store, shown)
    generators = Generators(settings, shown)
    await generators.start()
    endpoints = EndpointHosts(settings.allowed_endpoint_hosts)
    patience = Patience(wait_s=settings.wait_for_services_s, call_s=settings.call_timeout_s)

    def connect(study: Study, on_waiting: Callable[[str, str], None], served: Mapping[str, str]) -> Services:
        endpoint = None
        if study.endpoint is not None:
            # Again: the run may be older than the list.
            endpoints.check(study.endpoint.url)
            key = key_for(study.endpoint.url, settings.endpoint_keys)
            endpoint = OpenAIGenerator(study.endpoint, key, on_waiting)
        return Services(
            generator=endpoint or generators.client(patience, on_waiting, served.get("generator", "")),
            embedder=embedders.first(patience, on_waiting),
            trainer=GrpcTrainer(channels["trainer"], artifacts, patience, on_waiting),
            second_embedder=embedders.second(patience, on_waiting),
            endpoint=endpoint,
        )

    config = LoopConfig(settings.system_database, settings.concurrent_runs)
    runner = LoopRunner(store, artifacts, connect, config)
    campaigns = settings.role == "all"
    doorbell = Doorbell(runner.nudge if campaigns else None)
    probes: list[Probe] = [
        generators.probe,
        embedders.probes[0],
        GrpcProbe("trainer", settings.trainer_target, channels["trainer"]),
        *embedders.probes[1:],
    ]
    assets = AssetLibrary(store.assets, artifacts)
    values = ValuesTraining(embedders.first(patience), generators.client(patience), assets)
    registry = RegistryTasks(
        store.registry,
        store,
        artifacts,
        generators.replicas,
        Retention(settings.keep_adapters, timedelta(days=settings.keep_adapters_days)),
        settings.reconcile_interval_s,
        require_approval=settings.require_approval,
    )
    platform, tell_runs = build_platform(settings, store, artifacts, registry.registry, generators, embedders)
    leadership = Leadership(
        store.leases,
        runner,
        timeout_s=settings.lease_timeout_s,
        tasks=(*registry.leader_tasks, *platform.leader_tasks),
    )
    steps = WorkflowSteps(settings.system_database)
    api_keys = ApiKeys(store.api_keys)
    access, close_access = build_access(settings, api_keys)
    application = Application(
        store,
        doorbell,
        artifacts,
        [*probes, *platform.probes],
        assets=assets,
        values=values,
        steps=steps,
        registry=registry.registry,
        api_keys=api_keys,
        platform=platform,
        endpoints=endpoints,
        max_queued_runs=settings.max_queued_runs,
        generator_window=settings.generator_window,
    )
    tell_runs(application.create_run)
    health = Health((SERVICE_NAME,))
    await health.set_serving(False)
    server, port = await start_server(
        settings,
        service_names=(SERVICE_NAME,),
        register=lambda server: pb_grpc.add_OrchestratorServiceServicer_to_server(
            OrchestratorServicer(application), server
        ),
        health=health,
        interceptors=[AccessInterceptor(access, SERVICE_NAME)],
        client_certificates=False,
    )
    probed = await start_health_server(settings, health)
    http = _HttpServer(
        uvicorn.Config(
            build_http_app(application, lambda: health.serving, access),
            host=settings.host,
            port=settings.http_port,
            log_config=None,
            access_log=False,
            server_header=False,
            # Whoever is believed to be a proxy chooses the addresses that limits are counted by.
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            ssl_certfile=settings.http_tls_cert_file,
            ssl_keyfile=settings.http_tls_key_file,
            timeout_graceful_shutdown=int(settings.drain_timeout_s),
        )
    )
    followed = _follow_certificate(http.config, settings)
    serving = asyncio.create_task(http.serve(sockets=[listener]))
    caring = asyncio.create_task(keep_house(application.audit_log, artifacts))
    stopped = asyncio.create_task(stopping.wait())
    leading = asyncio.create_task(leadership.run()) if campaigns else None
    try:
        doorbell.open = True
        serve_metrics(settings.host, settings.metrics_port)
        await health.set_serving(True)
        http_port = listener.getsockname()[1]
        log.info("service.listening", name="orchestrator", port=port, http_port=http_port)
        awaited = {serving, stopped} if leading is None else {serving, stopped, leading}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if leading is not None and leading.done():
            leading.result()
        if serving.done() and not stopped.done():
            serving.result()
            raise InternalError("the REST server ended by itself; its log lines say why")
    finally:
        log.info("service.draining", name="orchestrator", timeout_s=settings.drain_timeout_s)
        await health.set_serving(False)
        doorbell.open = False
        application.close()
        http.should_exit = True
        if followed is not None:
            followed.cancel()
        await values.aclose()
        # Runs stop where they are and go on at the next start; callers get their time.
        if leading is not None:
            leading.cancel()
            await asyncio.gather(leading, return_exceptions=True)
        steps.close()
        await server.stop(settings.drain_timeout_s)
        if probed is not None:
            await probed.stop(None)
        await close_access()
        await asyncio.gather(serving, return_exceptions=True)
        stopped.cancel()
        caring.cancel()
        await asyncio.gather(caring, return_exceptions=True)
        for channel in channels.values():
            await channel.close()
        await embedders.aclose()
        await generators.aclose()
        store.close()
        log.info("service.stopped", name="orchestrator")


async def _migrated(store: SqlRunStore, stopping: asyncio.Event) -> bool:
    """Bring the database to this version's schema; False if the process is to stop before it answers."""
    work = asyncio.ensure_future(asyncio.to_thread(store.migrate))
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not work.done():
        log.info("service.stopped", name="orchestrator", reason="asked to, while the database was away")
        store.patience.close()
        await asyncio.gather(work, return_exceptions=True)
        return False
    work.result()
    return True


def _leave(status: int) -> NoReturn:
    """End the process. A thread of DBOS's that waits for its database for ever would keep it otherwise."""
    left = [
        one.name for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon
    ]
    if left:
        log.warning("service.threads_left", threads=left)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(status)
    raise SystemExit(status)


def main() -> None:
    """Read the settings and serve."""
    settings = load_settings(OrchestratorSettings)
    know_secrets(settings.secrets())
    configure_logging("orchestrator", settings.log_level, settings.log_format)
    tell_build("orchestrator")
    tracing = start_tracing("orchestrator", settings)
    if tracing.on:
        trace_http_calls(tracing)
    status = 0
    try:
        asyncio.run(serve(settings))
    except ValignError as error:
        log.error("service.failed", code=error.code.value, message=error.message)
        status = 1
    tracing.close()
    _leave(status)


if __name__ == "__main__":
    main()
