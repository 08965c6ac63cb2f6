"""Asking a service whether it serves: "" for yes, else what it said."""

from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

# Training and generation can keep every core of a small machine busy for a second.
PROBE_TIMEOUT_S = 3.0


def grpc_probe(target: str) -> Callable[[], str]:
    """Return a probe by the standard health service (grpc.health.v1) at ``host:port``."""

    def probe() -> str:
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        # A channel per probe: after a restart of the service an old one would wait out its backoff.
        with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_S
                )
            except grpc.RpcError as error:
                code = error.code() if isinstance(error, grpc.Call) else None
                return "not answering yet" if code is None else f"not answering yet ({code.name})"
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return ""
        return "loading"

    return probe


def http_probe(url: str) -> Callable[[], str]:
    """Return a probe by a GET of an http:// address, which must answer 2xx."""

    address = urlsplit(url)

    def probe() -> str:
        # http.client and not httpx: a probe that comes every second must cost next to nothing
        connection = HTTPConnection(address.netloc, timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", address.path)
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            return f"not answering yet ({type(error).__name__})"
        finally:
            connection.close()
        return "" if status < 300 else f"answers {status}"

    return probe
