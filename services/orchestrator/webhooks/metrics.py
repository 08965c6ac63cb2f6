"""Prometheus metrics of webhooks. No label names a webhook, an address or an event's subject."""

from prometheus_client import Counter, Gauge

ATTEMPTS = Counter(
    "valign_orchestrator_webhook_attempts_total",
    "Attempts to deliver events, by outcome (delivered, retried, dead).",
    ("outcome",),
)
FANNED_OUT = Counter(
    "valign_orchestrator_webhook_events_total", "Events of the outbox that were turned into deliveries."
)
PENDING = Gauge("valign_orchestrator_webhook_pending", "Deliveries that wait to be sent.")
DEAD = Gauge("valign_orchestrator_webhook_dead_letters", "Deliveries that were given up and are kept.")
OLDEST_PENDING_S = Gauge(
    "valign_orchestrator_webhook_oldest_pending_seconds",
    "Age in seconds of the oldest event that an active webhook waits for; 0 if none waits.",
)
