"""Times as both faces tell them."""

import re
from datetime import datetime
from typing import Any

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def with_times(value: Any) -> Any:
    """JSON with its times parsed: protobuf leaves out thousandths that are 0 (RFC 3339), REST does not."""
    if isinstance(value, dict):
        return {name: with_times(item) for name, item in value.items()}
    if isinstance(value, list):
        return [with_times(item) for item in value]
    return datetime.fromisoformat(value) if isinstance(value, str) and _RFC3339.fullmatch(value) else value
