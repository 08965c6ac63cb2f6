"""What a stream's end stands for."""

import grpc
import pytest

from services.common.errors import ErrorCode, InternalError, NotReadyError
from services.common.rpc.status import CODE_TRAILER, as_stream_error


def ended(code: grpc.StatusCode, *trailers: tuple[str, str]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), "Internal error from Core"
    )


def test_stream_error_internal_that_no_service_sent_is_a_broken_connection() -> None:
    found = as_stream_error(ended(grpc.StatusCode.INTERNAL))
    assert isinstance(found, NotReadyError)
    assert "Internal error from Core" in found.message


def test_stream_error_internal_of_a_service_is_its_own() -> None:
    assert isinstance(
        as_stream_error(ended(grpc.StatusCode.INTERNAL, (CODE_TRAILER, "INTERNAL"))), InternalError
    )


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (grpc.StatusCode.UNAVAILABLE, ErrorCode.NOT_READY),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ErrorCode.TIMEOUT),
        (grpc.StatusCode.NOT_FOUND, ErrorCode.NOT_FOUND),
    ],
)
def test_stream_error_others_are_what_they_are(status: grpc.StatusCode, code: ErrorCode) -> None:
    assert as_stream_error(ended(status)).code is code
