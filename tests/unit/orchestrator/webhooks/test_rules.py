"""What a webhook may be."""

import pytest

from services.common.errors import InvalidInputError
from services.orchestrator.webhooks.rules import UrlRules, checked_event_types, host_of, matches


@pytest.mark.parametrize(
    ("patterns", "kind", "expected"),
    [
        (["*"], "run.ended", True),
        (["run.*"], "run.ended", True),
        (["run.*"], "adapter.promoted", False),
        (["adapter.promoted", "run.ended"], "run.ended", True),
        (["*.ended"], "run.ended", True),
        (["run"], "run.ended", False),
        ([], "run.ended", False),
    ],
)
def test_matches_names_and_patterns(patterns: list[str], kind: str, expected: bool) -> None:
    assert matches(patterns, kind) is expected


def test_checked_event_types_keeps_each_once_in_order() -> None:
    assert checked_event_types(["run.*", "adapter.promoted", "run.*"]) == ("run.*", "adapter.promoted")
    with pytest.raises(InvalidInputError, match="1 to 50"):
        checked_event_types(["*"] * 51)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/a", "http://localhost/a", "http://[::1]:9000/", "https://a.b/"]
)
def test_local_installation_may_tell_itself(url: str) -> None:
    assert UrlRules(local=True).check(url) == url


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/a", "http://localhost/a", "http://10.0.0.5/"])
def test_installation_that_others_reach_may_not(url: str) -> None:
    with pytest.raises(InvalidInputError, match="must be https"):
        UrlRules().check(url)


def test_list_of_hosts_allows_these_alone_over_http_too() -> None:
    rules = UrlRules(["Hooks.example.org", "10.0.0.5:8000"], local=True)
    for url in ("http://hooks.example.org/a", "https://HOOKS.example.org.:8443/", "http://10.0.0.5:8000/"):
        assert rules.check(url) == url
        assert rules.trusts(url)
    for url in ("http://10.0.0.5:8001/", "https://other.example.org/", "http://127.0.0.1/"):
        with pytest.raises(InvalidInputError, match="VALIGN_ORCHESTRATOR_WEBHOOK_ALLOWED_HOSTS"):
            rules.check(url)
        assert not rules.trusts(url)


def test_trust_is_in_the_written_address_not_in_a_name() -> None:
    rules = UrlRules(local=True)
    assert rules.trusts("http://127.0.0.1/")
    assert not rules.trusts("https://loop.example.org/")


def test_host_of_says_no_path() -> None:
    assert host_of("https://hooks.example.org/T0/secret?token=x") == "hooks.example.org:443"
    assert host_of("http://h:81/") == "h:81"
