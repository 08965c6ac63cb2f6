"""JSON from strangers: bounded in size and structure, each key once, every text encodable."""

import json
import re
from typing import Any

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def loads(data: bytes, *, max_parts: int) -> Any:
    """Parse UTF-8 JSON.

    Args:
        data: the text; whoever reads it bounds its length.
        max_parts: how many brackets, braces and commas it may have: each costs far more memory than its byte.

    Raises:
        ValueError: no JSON, a key twice in one object, a lone surrogate, nested too deep, or too many parts.
    """
    parts = sum(data.count(sign) for sign in (b"[", b"{", b","))
    if parts > max_parts:
        raise ValueError(f"JSON of {parts} parts; at most {max_parts} are read")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deep") from error
    if _SURROGATE.search(data):
        # Half of a pair has no UTF-8: it would break where the text is sent or hashed.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {ascii(twice)[:80]} is there twice")
    return found
