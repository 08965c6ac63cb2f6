"""Where the artifact store lies, as the settings of three services write it."""

import re
from pathlib import Path

from services.common.errors import InvalidInputError

_FILE = "file://"
# "file:/srv/store" and "s3:/bucket" would be folders of that name where the process was started.
_HALF_A_URI = re.compile(r"(?i:file:(?!//)|[a-z][a-z0-9+.-]+:/(?!/))")


def local_folder(root: str) -> Path | None:
    """The folder that a root names, absolute; None for one that is an fsspec URI of another place.

    InvalidInputError: it begins as a URI does and is none.
    """
    if _HALF_A_URI.match(root):
        scheme, _, rest = root.partition(":")
        scheme = scheme.lower()
        whole, folder = (rest, rest) if scheme == "file" else (rest.lstrip("/"), f"./{root}")
        raise InvalidInputError(
            f"{root!r} has no {'//'!r} behind {scheme + ':'!r}; write {scheme}://{whole}, or {folder} if a"
            " folder is meant"
        )
    if "://" in root and not root.startswith(_FILE):
        return None
    return Path(root.removeprefix(_FILE)).absolute()
