"""Page tokens: where the next page of a list begins, and of which list it is."""

import base64
import binascii
import json
from datetime import datetime

from services.common.errors import InvalidInputError


def encode(create_time: datetime, key: str, binding: str = "") -> str:
    """A URL-safe token that names the last item of a page, and the list by its ``binding``."""
    text = json.dumps([create_time.isoformat(), key, binding], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(token: str, binding: str = "") -> tuple[datetime, str]:
    """The item that the token names; InvalidInputError for anything that ``encode`` did not make, or that it
    made for a list with other filters or another order."""
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        time_text, key, bound_to = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        create_time = datetime.fromisoformat(time_text)
        if create_time.tzinfo is None or not isinstance(key, str) or not isinstance(bound_to, str):
            raise ValueError("not a page token")
        # Tokens are compared as they were made, so that no two spell the same page.
        if encode(create_time, key, bound_to) != token:
            raise ValueError("not a page token")
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InvalidInputError(
            f"page_token {token[:80]!r} is not one that a page of this list ended with; "
            "leave it out to begin with the first page"
        ) from error
    if bound_to != binding:
        raise InvalidInputError(
            "page_token belongs to a list with other filters or another order; send the same ones as for the "
            "page before, or leave the token out to begin with the first page"
        )
    return create_time, key
