"""The outcome of one check."""

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """``fail`` means that a run can't work, ``warn`` that it may not or will be slow."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the fields."""
        return asdict(self)
