"""Web pages kept out while no credential is asked for: a browser of this machine could be made to call."""

import functools
from collections.abc import Mapping
from urllib.parse import urlsplit

from services.common.errors import ForbiddenError
from services.common.settings import is_loopback


def refuse_web_pages(headers: Mapping[bytes, bytes]) -> None:
    """ForbiddenError for a request of another site's page: its Origin tells, or its Host, if a name was made
    to lead here (DNS rebinding)."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and not _is_here(origin):
        raise ForbiddenError(f"a page of {origin[:100]!r} may not call this")
    if headers.get(b"sec-fetch-site", b"none") == b"cross-site":
        raise ForbiddenError("a page of another site may not call this")
    host = headers.get(b"host", b"").decode("latin-1")
    if host and not _is_here(f"//{host}"):
        raise ForbiddenError(f"this listens for this machine alone and is not {host[:100]!r}; use 127.0.0.1")


# The same few for every request; a stranger's thousands push each other out.
@functools.lru_cache(64)
def _is_here(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
