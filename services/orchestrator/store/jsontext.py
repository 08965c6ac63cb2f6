"""Strict JSON text: no NaN, no infinities (RFC 8259 section 6 has neither)."""

import json
import math
from collections.abc import Mapping
from typing import Any


def finite(value: Any) -> Any:
    """A copy of JSON-able ``value`` in which every number that is not finite is None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def dumps(value: Any) -> str:
    """JSON text of ``value``; numbers that are not finite become null."""
    return json.dumps(finite(value), allow_nan=False, separators=(",", ":"))


def canonical(value: Any) -> bytes:
    """The same bytes for equal values: sorted keys, ASCII, no spaces."""
    return json.dumps(finite(value), allow_nan=False, sort_keys=True, separators=(",", ":")).encode("ascii")
