"""What a run is doing now, read from the database beside the orchestrator, which notices nothing of it."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.chaos.campaign.database import Database

STAGES = (
    "prepare",
    "uncover",
    "quantify",
    "train",
    "load",
    "validate",
    "judge",
    "controls",
    "probes",
    "verdict",
    "report",
)
"""The stages of a run, the long one (realign) in its three parts."""

_LOOK = """
SELECT r.status, r.stage, r.error_code, r.error_message, r.last_event, e.kind, e.data->>'state' AS state
FROM runs r LEFT JOIN LATERAL (
    SELECT kind, data FROM run_events
    WHERE run_id = r.run_id AND kind IN ('stage.started', 'training.progress', 'adapter.loaded')
    ORDER BY number DESC LIMIT 1
) e ON true WHERE r.run_id = %s
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """A run at one moment; ``stage`` is "" before its first and where it is between two."""

    status: str
    stage: str
    last_event: int
    error: str

    @property
    def ended(self) -> bool:
        """True if nothing more will happen."""
        return self.status in ("succeeded", "failed", "cancelled")


class Watcher:
    """Looks at runs through a connection of its own, which it makes anew when the database was killed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def look(self, run_id: str) -> Sight:
        """The run as it is now."""
        row = self.rows(_LOOK, run_id)[0]
        error = f"{row['error_code']}: {row['error_message']}" if row["error_code"] else ""
        return Sight(row["status"], _stage(row), row["last_event"], error)

    def completions(self, run_id: str) -> list[dict[str, Any]]:
        """Every stored completion, in the order of its key."""
        query = "SELECT * FROM completions WHERE run_id = %s ORDER BY arm, topic_id, item_index, draw"
        return self.rows(query, run_id)

    def events(self, run_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Numbers and kinds of events, in order."""
        query = "SELECT number, kind FROM run_events WHERE run_id = %s AND number > %s ORDER BY number"
        return self.rows(query, run_id, after)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """A query's rows."""
        try:
            return self._rows(query, values)
        except psycopg.OperationalError:
            # It was killed since the last look.
            self.close()
            return self._rows(query, values)

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, query: str, values: Any) -> list[dict[str, Any]]:
        if self._connection is None:
            self._connection = psycopg.connect(self._database.url(), autocommit=True, row_factory=dict_row)
        return self._connection.execute(query, values).fetchall()  # type: ignore[arg-type]


def _stage(row: dict[str, Any]) -> str:
    stage = str(row["stage"])
    if stage != "realign":
        # It ranks and splits in a few milliseconds: that belongs to what follows.
        return stage if stage in STAGES else ""
    match row["kind"], row["state"]:
        case ("adapter.loaded", _):
            return "validate"
        case ("training.progress", "succeeded"):
            return "load"
        case _:
            return "train"
