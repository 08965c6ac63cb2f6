"""Tables of monitors, their measurements, the answers drawn for them, alarms, and people's exchanges."""

import sqlalchemy as sa

from services.orchestrator.store.tables import UtcDateTime, metadata

monitors = sa.Table(
    "monitors",
    metadata,
    sa.Column("monitor_id", sa.String(24), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("create_by", sa.String(255), nullable=False),
    sa.Column("update_time", UtcDateTime, nullable=False),
    sa.Column("next_time", UtcDateTime, nullable=False),
    # The row is locked by whoever adds a measurement or an alarm.
    sa.Column("last_number", sa.BigInteger, nullable=False),
    sa.Column("last_alarm", sa.BigInteger, nullable=False),
    sa.Column("baseline_number", sa.BigInteger, nullable=False),
    sa.Column("baseline_version", sa.BigInteger, nullable=False),
    # The measurement whose originals and targets every later one is measured by.
    sa.Column("prompts_number", sa.BigInteger, nullable=False),
    sa.Column("drifted", sa.Integer, nullable=False),
    sa.Column("normal", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("last_success_time", UtcDateTime),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("drifting", sa.Boolean, nullable=False),
    sa.Column("failing", sa.Boolean, nullable=False),
    sa.Column("live_drifting", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("live_kept", sa.Integer, nullable=False, server_default="0"),
    sa.Column("live_last_time", UtcDateTime),
    sa.Column("live_error", sa.Text, nullable=False, server_default=""),
)

_MONITOR = "monitors.monitor_id"

measurements = sa.Table(
    "monitor_measurements",
    metadata,
    sa.Column("monitor_id", sa.String(24), sa.ForeignKey(_MONITOR, ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("fire_time", UtcDateTime, nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("end_time", UtcDateTime),
    sa.Column("route_version", sa.BigInteger, nullable=False),
    sa.Column("baseline_number", sa.BigInteger, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("result", sa.JSON, nullable=False),
    sa.Index("ix_monitor_measurements_state", "state"),
)

draws = sa.Table(
    "monitor_draws",
    metadata,
    sa.Column("monitor_id", sa.String(24), sa.ForeignKey(_MONITOR, ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("phase", sa.String(16), primary_key=True),
    sa.Column("topic_id", sa.String(255), primary_key=True),
    sa.Column("index", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("draw", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("principle", sa.Text, nullable=False),
    sa.Column("outcome", sa.String(64), nullable=False),
    sa.Column("adapter", sa.String(255), nullable=False),
    sa.Column("adapter_sha256", sa.String(64), nullable=False),
)

alarms = sa.Table(
    "monitor_alarms",
    metadata,
    sa.Column("monitor_id", sa.String(24), sa.ForeignKey(_MONITOR, ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("measurement_number", sa.BigInteger, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("topics", sa.JSON, nullable=False),
    sa.Column("raise_time", UtcDateTime, nullable=False),
    sa.Column("acknowledge_time", UtcDateTime),
    sa.Column("acknowledge_by", sa.String(255), nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("clear_time", UtcDateTime),
    sa.Column("run_wanted", sa.Boolean, nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("run_error", sa.Text, nullable=False),
)

samples = sa.Table(
    "monitor_samples",
    metadata,
    sa.Column("monitor_id", sa.String(24), sa.ForeignKey(_MONITOR, ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("route_version", sa.BigInteger, nullable=False),
    sa.Column("request_id", sa.String(255), nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("adapter", sa.String(255), nullable=False),
    sa.Column("end_time", UtcDateTime, nullable=False),
    sa.Index("ix_monitor_samples_end_time", "end_time"),
)

# Apart from the monitors: embeddings are large, and the leader reads all monitors each second.
live_states = sa.Table(
    "monitor_live",
    metadata,
    sa.Column("monitor_id", sa.String(24), sa.ForeignKey(_MONITOR, ondelete="CASCADE"), primary_key=True),
    sa.Column("route_version", sa.BigInteger, nullable=False),
    sa.Column("last_number", sa.BigInteger, nullable=False),
    sa.Column("judged", sa.BigInteger, nullable=False),
    sa.Column("encoder", sa.String(255), nullable=False),
    sa.Column("dimension", sa.Integer, nullable=False),
    # Unit rows, little-endian float32.
    sa.Column("answers", sa.LargeBinary, nullable=False),
    sa.Column("requests", sa.LargeBinary, nullable=False),
    sa.Column("moved", sa.Integer, nullable=False),
    sa.Column("normal", sa.Integer, nullable=False),
)
