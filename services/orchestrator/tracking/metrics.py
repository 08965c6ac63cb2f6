"""Prometheus metrics of the mirror to MLflow. No label names a run, an adapter or a route."""

from prometheus_client import Counter, Gauge

LAG = Gauge(
    "valign_orchestrator_mlflow_lag_events",
    "Events of the outbox that the mirror to MLflow has not dealt with.",
)
LAST_SUCCESS = Gauge(
    "valign_orchestrator_mlflow_last_success_timestamp_seconds",
    "When MLflow was last brought up to date, in seconds since 1970.",
)
FAILURES = Counter(
    "valign_orchestrator_mlflow_failures_total",
    "Failures of mirroring: away (MLflow takes nothing) or item (one run, version or alias).",
    ("kind",),
)
POINTS = Counter("valign_orchestrator_mlflow_metrics_total", "Metrics of runs written to MLflow.")
MIRRORED_BACK = Counter(
    "valign_orchestrator_mlflow_promotions_total",
    "Promotions asked for in MLflow, by outcome: promoted or refused.",
    ("outcome",),
)
