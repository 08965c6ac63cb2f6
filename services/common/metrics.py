"""Prometheus metrics of every service: its rpcs, what runs there, and the endpoint that serves them."""

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from services.common.tracing import build

# No label is called service, job or instance: scrapers put those on every series themselves.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)

RPC_HANDLED = Counter(
    "valign_rpc_server_handled_total",
    "Calls that ended, by method and gRPC status.",
    ("grpc_service", "method", "status"),
)
RPC_SECONDS = Histogram(
    "valign_rpc_server_seconds",
    "Seconds from a call's begin to its end.",
    ("grpc_service", "method"),
    buckets=_SECONDS,
)
RPC_IN_FLIGHT = Gauge("valign_rpc_server_in_flight", "Calls in flight.", ("grpc_service", "method"))

BUILD_INFO = Gauge(
    "valign_build_info",
    "Always 1; its labels say which component of which version runs.",
    ("component", "version"),
)


def tell_build(service: str) -> None:
    """Say in ``valign_build_info`` what this process is."""
    BUILD_INFO.labels(service, build()).set(1)


def serve_metrics(host: str, port: int) -> None:
    """Serve ``/metrics`` from a thread; port 0 serves nothing."""
    if port:
        start_http_server(port, addr=host)
