"""Every rpc of every service with anything that bytes can say: no INTERNAL, no dead service."""

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.rpc.server import MAX_MESSAGE_BYTES
from tests.contract.rpc_fuzz.calls import call, check, check_well
from tests.contract.rpc_fuzz.messages import messages_of
from tests.contract.rpc_fuzz.served import SERVICES, Service, served
from tests.fuzzing import examples

_METHODS = [
    pytest.param(name, method, id=f"{name}.{method.name}")
    for name, service in SERVICES.items()
    for method in service.methods()
]
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.fixture(scope="module")
def channels() -> Iterator[dict[str, grpc.Channel]]:
    """A channel to each service."""
    with (
        served(SERVICES["generator"]) as generator,
        served(SERVICES["embedder"]) as embedder,
        served(SERVICES["trainer"]) as trainer,
        served(SERVICES["orchestrator"]) as orchestrator,
    ):
        yield {
            "generator": generator,
            "embedder": embedder,
            "trainer": trainer,
            "orchestrator": orchestrator,
        }


def _requests(method: MethodDescriptor) -> st.SearchStrategy[list[bytes]]:
    one = messages_of(method.input_type).map(lambda message: message.SerializeToString())
    return st.lists(one, max_size=4) if method.client_streaming else st.lists(one, min_size=1, max_size=1)


def _garbage(method: MethodDescriptor) -> st.SearchStrategy[list[bytes]]:
    """Bytes that are mostly no message: random ones, and messages that are cut or have a byte changed."""
    whole = messages_of(method.input_type).map(lambda message: message.SerializeToString()[:2000])
    cut = st.tuples(whole, st.integers(0, 200)).map(lambda pair: pair[0][: -pair[1] or None])
    flipped = st.tuples(whole, st.integers(0, 1999), st.integers(1, 255)).map(_flip)
    deep = st.sampled_from((b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 500, b"\x80" * 11, b"\x0a\x02\xc3\x28"))
    one = st.one_of(st.binary(min_size=1, max_size=200), cut, flipped, deep)
    return st.lists(one, min_size=1, max_size=3 if method.client_streaming else 1)


def _flip(arguments: tuple[bytes, int, int]) -> bytes:
    data, at, mask = arguments
    if not data:
        return bytes([mask])
    at %= len(data)
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def _attack(
    channels: dict[str, grpc.Channel], name: str, method: MethodDescriptor, *sent: list[bytes]
) -> None:
    service: Service = SERVICES[name]
    for requests in sent:
        check(method, call(channels[name], service, method, requests))
    check_well(channels[name], service)


@pytest.mark.parametrize(("name", "method"), _METHODS)
def test_rpc_any_message_is_answered_with_a_code_of_the_table(
    channels: dict[str, grpc.Channel], name: str, method: MethodDescriptor
) -> None:
    @settings(max_examples=examples(0.3), suppress_health_check=_SLOW)
    @given(requests=_requests(method))
    def fuzz(requests: list[bytes]) -> None:
        _attack(channels, name, method, requests)

    fuzz()


@pytest.mark.parametrize(("name", "method"), _METHODS)
def test_rpc_bytes_that_are_no_message_are_answered_with_a_code_of_the_table(
    channels: dict[str, grpc.Channel], name: str, method: MethodDescriptor
) -> None:
    @settings(max_examples=examples(0.15), suppress_health_check=_SLOW)
    @given(requests=_garbage(method))
    def fuzz(requests: list[bytes]) -> None:
        _attack(channels, name, method, requests)

    fuzz()


@pytest.mark.parametrize(("name", "method"), _METHODS)
def test_rpc_caller_who_leaves_does_no_harm(
    channels: dict[str, grpc.Channel], name: str, method: MethodDescriptor
) -> None:
    @settings(max_examples=examples(0.05), suppress_health_check=_SLOW)
    @given(requests=_requests(method), after=st.integers(0, 2))
    def fuzz(requests: list[bytes], after: int) -> None:
        check(method, call(channels[name], SERVICES[name], method, requests, leave_after=after))
        check_well(channels[name], SERVICES[name])

    fuzz()


@pytest.mark.parametrize(("name", "method"), _METHODS)
def test_rpc_message_above_the_limit_is_refused(
    channels: dict[str, grpc.Channel], name: str, method: MethodDescriptor
) -> None:
    # An unknown field of more bytes than a message may have.
    huge = b"\xfa\x7f" + b"\x81\x80\x80\x08" + b"\0" * (MAX_MESSAGE_BYTES + 1)
    ended = call(channels[name], SERVICES[name], method, [huge])
    assert ended.status is grpc.StatusCode.RESOURCE_EXHAUSTED
    check_well(channels[name], SERVICES[name])
