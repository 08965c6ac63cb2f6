"""One call of any kind with bytes as its requests, and what may come of it."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.rpc.status import CODE_TRAILER
from tests.contract.rpc_fuzz.served import Service

TIMEOUT_S = 20.0
LEAVE_S = 2.0
"""No call of a fuzz takes longer; on a busy machine, by far."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended; ``error_code`` is that of valign's table, empty if the answer has none."""

    status: grpc.StatusCode
    error_code: str
    message: str
    duration_s: float


def call(
    channel: grpc.Channel,
    service: Service,
    method: MethodDescriptor,
    requests: Sequence[bytes],
    leave_after: int | None = None,
) -> Ended:
    """Send requests that are serialized already and read all answers, or cancel after so many of them."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_stream"
    if not method.server_streaming:
        kind = kind.replace("_stream", "_unary")
    rpc = getattr(channel, kind)(service.path(method.name))
    sent: bytes | Iterator[bytes] = iter(requests) if method.client_streaming else requests[0]
    started = time.monotonic()
    try:
        if method.server_streaming:
            answers = rpc(sent, timeout=TIMEOUT_S)
            # A stream may have nothing to say for a while: who leaves does not wait for that.
            leaving = threading.Timer(LEAVE_S, answers.cancel) if leave_after is not None else None
            if leaving is not None:
                leaving.start()
            try:
                for number, _ in enumerate(answers):
                    if number == leave_after:
                        answers.cancel()
            finally:
                if leaving is not None:
                    leaving.cancel()
        elif leave_after is None:
            rpc(sent, timeout=TIMEOUT_S)
        else:
            future = rpc.future(sent, timeout=TIMEOUT_S)
            future.cancel()
            return Ended(grpc.StatusCode.CANCELLED, "", "", time.monotonic() - started)
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata() or ())
        message = error.details() or ""
        return Ended(error.code(), trailers.get(CODE_TRAILER, ""), message, time.monotonic() - started)
    return Ended(grpc.StatusCode.OK, "", "", time.monotonic() - started)


def check(method: MethodDescriptor, ended: Ended) -> None:
    """AssertionError for an ending that no request may bring about."""
    found = f"{method.full_name}: {ended}"
    assert ended.status is not grpc.StatusCode.UNIMPLEMENTED, found
    if ended.status in (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED):
        return
    # A status of the transport's own, or of an exception that nobody foresaw, has no code of ours.
    assert ended.error_code, found
    assert ended.error_code not in ("INTERNAL", "TIMEOUT", "UNAUTHENTICATED"), found


def check_well(channel: grpc.Channel, service: Service) -> None:
    """AssertionError unless the service says that it serves, and does."""
    health = health_pb2_grpc.HealthStub(channel)
    asked = health_pb2.HealthCheckRequest(service=service.descriptor.full_name)
    assert health.Check(asked, timeout=TIMEOUT_S).status == health_pb2.HealthCheckResponse.SERVING
    if service.good:
        channel.unary_unary(service.path(service.good))(b"", timeout=TIMEOUT_S)
