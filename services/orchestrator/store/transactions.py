"""Where a store's transactions come from: the engine as it is, or a leader's, which ends with its epoch."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa


class Transactions(Protocol):
    """What ``sa.Engine`` offers: ``begin`` for a transaction that writes, ``connect`` for reading."""

    def begin(self) -> AbstractContextManager[sa.Connection]: ...
    def connect(self) -> AbstractContextManager[sa.Connection]: ...


@dataclass(frozen=True, slots=True)
class Fenced:
    """Those of a leader: each raises LeadershipLost once its epoch is over."""

    begin: Callable[[], AbstractContextManager[sa.Connection]]
    connect: Callable[[], AbstractContextManager[sa.Connection]]
