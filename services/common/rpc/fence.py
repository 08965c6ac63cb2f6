"""The fence: a service refuses an orchestrator whose time is over.

One orchestrator leads at a time, under a lease whose epoch rises with every new leader. The epoch travels as
metadata of each call of the loop; the service remembers the highest that it has seen. An orchestrator that
was thought dead (stopped, cut off) and comes back is refused, so that it trains and loads nothing any more.
Calls without an epoch are not the loop's, and pass.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from services.common.errors import InvalidInputError, NotReadyError, PreconditionError

EPOCH_HEADER = "valign-epoch"
LINEAGE_HEADER = "valign-epoch-of"
_UNFENCED = ("Describe", "Get", "List", "Watch")
_LINEAGE = re.compile(r"[0-9a-f]{0,64}")
_DIGITS = re.compile(r"[0-9]{1,18}")
# Databases that one service works for; the one that was heard of longest ago is forgotten first.
_MOST_LINEAGES = 64


@dataclass(frozen=True, slots=True)
class Epoch:
    """A leader's epoch, and the id of the database that counts it: epochs of two databases say nothing of
    each other."""

    number: int
    lineage: str = ""


_current: ContextVar[Epoch | None] = ContextVar("epoch", default=None)


@contextmanager
def leading(epoch: Epoch | None) -> Iterator[None]:
    """Calls in the block, and in the tasks that it starts, are this leader's."""
    token = _current.set(epoch)
    try:
        yield
    finally:
        _current.reset(token)


def epoch_metadata() -> tuple[tuple[str, str], ...]:
    """The metadata of a call made here: the leader's epoch, or nothing outside ``leading``."""
    epoch = _current.get()
    if epoch is None:
        return ()
    return ((EPOCH_HEADER, str(epoch.number)), (LINEAGE_HEADER, epoch.lineage))


class Fence:
    """The highest epoch seen, by database. With a file it is on disk before a call with a new one goes on."""

    def __init__(self, file: Path | None = None) -> None:
        """The file is read when the first epoch comes."""
        self._file = file
        self._highest: dict[str, int] | None = None if file is not None else {}

    def check(self, method: str, headers: Mapping[str, str | bytes]) -> None:
        """Let a call pass, or raise.

        PreconditionError: a newer orchestrator leads, or the file cannot be read. InvalidInputError: that is
        no epoch. NotReadyError: a new one cannot be written.
        """
        if EPOCH_HEADER not in headers or method.startswith(_UNFENCED):
            return
        number_text, lineage = _text(headers[EPOCH_HEADER]), _text(headers.get(LINEAGE_HEADER, ""))
        if not _DIGITS.fullmatch(number_text) or not _LINEAGE.fullmatch(lineage):
            raise InvalidInputError(f"{EPOCH_HEADER} must be a number and {LINEAGE_HEADER} an id in hex")
        if self._highest is None:
            self._highest = _read(self._file) if self._file is not None else {}
        number, known = int(number_text), self._highest.get(lineage, 0)
        if number < known:
            remedy = f"remove {self._file} and" if self._file else "then"
            raise PreconditionError(
                f"a newer orchestrator leads: epoch {number} is over, {known} is known"
                f" (if the orchestrator's database was put back from a backup, {remedy} restart this)",
                details={"epoch": number, "known_epoch": known},
            )
        if number > known:
            highest = {name: value for name, value in self._highest.items() if name != lineage}
            highest[lineage] = number
            kept = dict(list(highest.items())[-_MOST_LINEAGES:])
            if self._file is not None:
                try:
                    _write(self._file, kept)
                except OSError as error:
                    raise NotReadyError(
                        f"epoch {number} cannot be kept in {self._file} ({error.strerror or error})"
                    ) from error
            self._highest = kept


def _text(value: str | bytes) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _read(file: Path) -> dict[str, int]:
    try:
        return {str(name): int(number) for name, number in json.loads(file.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError, OSError) as error:
        raise PreconditionError(
            f"the epochs in {file} cannot be read ({error}); remove the file once no old orchestrator runs"
        ) from error


def _write(file: Path, highest: Mapping[str, int]) -> None:
    part = file.with_name(f".{file.name}.part")
    file.parent.mkdir(parents=True, exist_ok=True)
    with part.open("w") as out:
        json.dump(highest, out)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
