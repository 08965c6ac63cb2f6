"""What goes wrong with disks and object stores, as errors of the table: none leaves as INTERNAL.

no space, quota                          OverloadedError      free some, then try again
no right to, read-only, no credentials   PreconditionError    a person must change it
not there                                NotFoundError        (a write: PreconditionError)
a link, a pipe, a name too long          InvalidInputError
anything else: network, 5xx, a bad disk  NotReadyError        try again
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from services.common.errors import (
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
    ValignError,
)

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_ODD = {errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG, errno.EINVAL}
# botocore's, by name: it is there only where S3 is used.
_NEEDS_A_PERSON = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ParamValidationError",
    "ProfileNotFound",
    "InvalidEndpointError",
    "NoRegionError",
}
_FOREIGN_PACKAGES = {"botocore", "aiobotocore", "aiohttp", "urllib3", "fsspec", "s3fs"}


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Every foreign error inside becomes one of ours that names ``uri``."""
    try:
        yield
    except ValignError:
        raise
    except Exception as error:
        raise told(error, f"{uri} cannot be read", uri, writes=False) from error


@contextmanager
def writing(where: str) -> Iterator[None]:
    """The same for what writes; ``where`` is a URI or a local path."""
    try:
        yield
    except ValignError:
        raise
    except Exception as error:
        raise told(error, f"{where} cannot be written", where, writes=True) from error


def told(error: Exception, what: str, where: str, *, writes: bool) -> Exception:
    """Our error for a foreign one; a fault of our own stays what it is."""
    if not isinstance(error, OSError) and not _is_foreign(error):
        return error
    number = getattr(error, "errno", None)
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if number in _FULL:
        return OverloadedError(f"{what}: {why}; free some space or raise the quota there, then try again")
    if number in _FORBIDDEN or isinstance(error, PermissionError) or type(error).__name__ in _NEEDS_A_PERSON:
        return PreconditionError(
            f"{what}: {why}; give this service the right to, or the credentials for, the artifact store"
        )
    if number in _MISSING or isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        if writes:
            return PreconditionError(f"{what}: {why}; is its bucket or folder there?")
        return NotFoundError(f"no such artifact: {where}")
    if number in _ODD and _is_local(error):
        return InvalidInputError(f"{what}: {why}")
    return NotReadyError(f"{what}: {why}; try again")


def _is_foreign(error: Exception) -> bool:
    return any(cls.__module__.partition(".")[0] in _FOREIGN_PACKAGES for cls in type(error).__mro__)


def _is_local(error: Exception) -> bool:
    # s3fs says EINVAL too, for what a server answered: there the cause is botocore's.
    return error.__cause__ is None
