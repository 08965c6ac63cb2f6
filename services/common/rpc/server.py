"""Construction of a gRPC server: health, reflection, interceptor, message sizes."""

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.common.rpc.fence import Fence
from services.common.rpc.interceptors import ServerInterceptor
from services.common.rpc.peers import Peers

# Callers stream in parts of about 1 MiB; the limit leaves room for one very long text.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class Health:
    """State behind ``grpc.health.v1``: the whole server ("") and each named service.

    NOT_SERVING until ``set_serving(True)``.
    """

    def __init__(self, service_names: Sequence[str]) -> None:
        self._names = ("", *service_names)
        self.servicer = health.aio.HealthServicer()
        self.serving = False

    async def set_serving(self, serving: bool) -> None:
        """Report SERVING or NOT_SERVING for the server and each service."""
        self.serving = serving
        status = health_pb2.HealthCheckResponse
        for name in self._names:
            await self.servicer.set(name, status.SERVING if serving else status.NOT_SERVING)


def build_server(
    *,
    service_names: Sequence[str],
    health: Health,
    reflection_enabled: bool = True,
    fence: Fence | None = None,
    peers: Peers | None = None,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    max_concurrent_rpcs: int | None = None,
) -> grpc.aio.Server:
    """A server without our servicers; the caller adds them and a port.

    Args:
        service_names: full names, for example ``"valign.trainer.v1.TrainerService"``.
        health: its state.
        reflection_enabled: serve gRPC reflection.
        fence: refuses calls of an orchestrator that no longer leads.
        peers: refuses clients whose certificates have other names.
        interceptors: called inside ours, which maps what they raise.
        max_concurrent_rpcs: more at once are refused as RESOURCE_EXHAUSTED; None for no limit.
    """
    server = grpc.aio.server(
        interceptors=[ServerInterceptor(fence, peers), *interceptors],
        maximum_concurrent_rpcs=max_concurrent_rpcs,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            # A port that another process has taken must be an error, not a coin toss.
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ],
    )
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    if reflection_enabled:
        names = (*service_names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
        reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
    return server


def build_health_server(health: Health) -> grpc.aio.Server:
    """A server of ``grpc.health.v1`` alone, for probes that speak no TLS. The caller adds its port."""
    server = grpc.aio.server(maximum_concurrent_rpcs=64, options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
    return server
