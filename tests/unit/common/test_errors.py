import grpc
import pytest

from services.common.errors import ErrorCode, InternalError, ValignError, error_for


@pytest.mark.parametrize("code", list(ErrorCode))
def test_error_for_every_code_gives_a_class_of_that_code(code: ErrorCode) -> None:
    error = error_for(code.value, "what was wrong", {"a": 1})
    assert error.code is code
    assert error.message == "what was wrong"
    assert error.details == {"a": 1}


@pytest.mark.parametrize("code", list(ErrorCode))
def test_grpc_status_of_every_code_exists_and_is_unique(code: ErrorCode) -> None:
    assert grpc.StatusCode[code.grpc_status]
    assert [c for c in ErrorCode if c.grpc_status == code.grpc_status] == [code]


def test_error_for_unknown_code_is_internal() -> None:
    assert isinstance(error_for("NO_SUCH_CODE", "x"), InternalError)


def test_table_matches_the_contract() -> None:
    table = {code.value: (code.http_status, code.retryable) for code in ErrorCode}
    assert table == {
        "INVALID_INPUT": (422, False),
        "UNAUTHENTICATED": (401, False),
        "FORBIDDEN": (403, False),
        "NOT_FOUND": (404, False),
        "CONFLICT": (409, False),
        "PRECONDITION": (412, False),
        "OVERLOADED": (429, True),
        "NOT_READY": (503, True),
        "TIMEOUT": (504, True),
        "CANCELLED": (499, False),
        "INTERNAL": (500, False),
    }


def test_every_subclass_has_its_own_code() -> None:
    codes = [cls.code for cls in ValignError.__subclasses__()]
    assert sorted(codes) == sorted(ErrorCode)
