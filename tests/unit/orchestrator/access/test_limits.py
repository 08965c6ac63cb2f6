import pytest

from services.common.errors import OverloadedError
from services.orchestrator.access.limits import CallLimits, parse_rate


def test_parse_rate_of_what_is_no_rate_is_refused() -> None:
    assert parse_rate("600/minute").amount == 600
    for text in ("", "x", "5", "5/fortnight"):
        with pytest.raises(ValueError):
            parse_rate(text)


def test_addresses_are_counted_by_network_and_apart_from_principals() -> None:
    limits = CallLimits("2/minute", "1/minute", 1)
    for address in ("2001:db8::1", "2001:db8::2"):
        limits.count_stranger(address)
    with pytest.raises(OverloadedError) as refused:
        limits.count_stranger("2001:db8::3")
    assert 1 <= refused.value.details["retry_after_s"] <= 61
    limits.count_stranger("2001:db8:0:1::1")
    limits.count_stranger("192.0.2.1")
    limits.count_stranger("::ffff:192.0.2.1")
    with pytest.raises(OverloadedError):
        limits.count_stranger("192.0.2.1")
    limits.count_principal("192.0.2.1")


def test_failures_close_an_address_and_no_other() -> None:
    limits = CallLimits("2/minute", "1/minute", 1)
    limits.check_failures("192.0.2.1")
    limits.count_failure("192.0.2.1")
    with pytest.raises(OverloadedError, match="not valid"):
        limits.check_failures("192.0.2.1")
    limits.check_failures("192.0.2.2")


def test_streams_are_given_back_also_after_an_error() -> None:
    limits = CallLimits("2/minute", "1/minute", 1)
    with pytest.raises(RuntimeError), limits.stream("a"):
        with pytest.raises(OverloadedError, match="event streams"), limits.stream("a"):
            pass
        with limits.stream("b"):
            pass
        raise RuntimeError
    with limits.stream("a"):
        pass
    assert not limits._streams
