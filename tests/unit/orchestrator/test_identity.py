"""What each scope includes."""

import pytest

from services.orchestrator.identity import Principal, Scope


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        ((), set()),
        (("read",), {"read"}),
        (("run",), {"run", "read"}),
        (("approve", "promote"), {"approve", "promote", "read"}),
        (("infer",), {"infer"}),
        (("infer", "read"), {"infer", "read"}),
        (("admin",), {scope.value for scope in Scope}),
    ],
)
def test_scopes_allow_what_they_include_and_no_more(scopes: tuple[str, ...], may: set[str]) -> None:
    principal = Principal("key:x", frozenset(map(Scope, scopes)))
    assert {scope.value for scope in Scope if principal.may(scope)} == may
