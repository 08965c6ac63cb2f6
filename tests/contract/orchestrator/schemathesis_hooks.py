"""What schemathesis must be told of the API: how JSON Lines are written."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def json_lines(context: Any, value: Any) -> bytes:
    """The document calls the whole file a text; anything else is sent as its text."""
    data: bytes = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
    return data
