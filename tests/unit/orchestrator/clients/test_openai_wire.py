"""What is read from an endpoint's addresses and answers, without one."""

import pytest
from pydantic import SecretStr

from services.common.errors import PreconditionError
from services.orchestrator.clients import openai_wire as wire
from services.orchestrator.clients.openai import is_this_machine, key_for


def test_key_for_host_and_port() -> None:
    keys = {"a.example": SecretStr("1"), "a.example:8000": SecretStr("2"), "b.example": SecretStr("3")}

    def found(url: str) -> str | None:
        key = key_for(url, keys)
        return key.get_secret_value() if key else None

    assert found("https://a.example/v1") == "1"
    assert found("https://a.example:8000/v1") == "2"
    assert found("https://A.EXAMPLE:9000/v1") == "1"
    assert found("https://sub.a.example/v1") is None
    assert found("https://a.example.evil/v1") is None
    assert found("https://b.example@evil/v1") is None


def test_this_machine_is_loopback_alone() -> None:
    assert all(is_this_machine(f"http://{host}/v1") for host in ("localhost:1", "127.0.0.1", "[::1]:8000"))
    assert not any(
        is_this_machine(f"http://{host}/v1")
        for host in ("localhost.evil.example", "127.evil.example", "10.0.0.1")
    )


@pytest.mark.parametrize("location", ["http://[", "http://x:99999999/", "http://x:abc/"])
def test_failure_redirect_to_no_url_is_told(location: str) -> None:
    found = wire.failure(302, {"location": location}, b"", "http://h/v1", "m", [])
    assert isinstance(found, PreconditionError)
    assert "a redirect to an address that cannot be read" in found.message


def test_parse_answer_what_no_database_holds_is_made_harmless() -> None:
    found = wire.parse_answer(
        b'{"choices": [{"message": {"content": "a\\ud800b \\ud83d\\ude00"}, "finish_reason": "%s"}],'
        b' "model": "\\ud800", "usage": {"completion_tokens": 1%s, "prompt_tokens": true}}'
        % (b"x" * 1000, b"0" * 30)
    )
    assert found.text == "a\ufffdb \U0001f600"
    assert (len(found.finish_reason), found.model) == (64, "\ufffd")
    assert (found.completion_tokens, found.prompt_tokens) == (0, 0)
