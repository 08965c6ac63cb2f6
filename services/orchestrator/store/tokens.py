"""Page tokens: where the next page of runs begins."""

import base64
import binascii
import json
from datetime import datetime

from services.common.errors import InvalidInputError


def encode(create_time: datetime, run_id: str) -> str:
    """A URL-safe token that names the last run of a page."""
    text = json.dumps([create_time.isoformat(), run_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(token: str) -> tuple[datetime, str]:
    """The run that the token names; InvalidInputError for anything that ``encode`` did not make."""
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        time_text, run_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        create_time = datetime.fromisoformat(time_text)
        if create_time.tzinfo is None or not isinstance(run_id, str):
            raise ValueError("not a page token")
        # Tokens are compared as they were made, so that no two spell the same page.
        if encode(create_time, run_id) != token:
            raise ValueError("not a page token")
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InvalidInputError(
            f"page_token {token[:80]!r} is not one that a page of runs ended with; "
            "leave it out to begin with the first page"
        ) from error
    return create_time, run_id
