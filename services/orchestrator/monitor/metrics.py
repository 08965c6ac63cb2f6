"""Prometheus metrics of monitors, from the process that leads. Series of deleted monitors are removed."""

from collections.abc import Iterable, Mapping

from prometheus_client import Counter, Gauge

from services.orchestrator.monitor.live.records import LiveOutcome
from services.orchestrator.monitor.records import Measurement, Monitor

_JUDGED = (LiveOutcome.NORMAL.value, LiveOutcome.SMALL.value, LiveOutcome.MOVED.value)

VALUE_DIFFERENCE = Gauge(
    "valign_monitor_value_difference",
    "Mean value difference of the monitor's last measurement, in [0, 2].",
    ("monitor", "topic"),
)
DRIFT = Gauge("valign_monitor_drift", "1 while the monitor says that there is drift, else 0.", ("monitor",))
LAST_SUCCESS = Gauge(
    "valign_monitor_last_success_timestamp_seconds",
    "Unix time of the last measurement that succeeded.",
    ("monitor",),
)
MEASUREMENTS = Counter(
    "valign_monitor_measurements_total",
    "Measurements that ended, by outcome (ok, failed).",
    ("monitor", "outcome"),
)
LIVE_DRIFT = Gauge(
    "valign_monitor_live_drift",
    "1 while what people ask or are answered is not as after the promotion, else 0.",
    ("monitor",),
)
LIVE_KEPT = Gauge("valign_monitor_live_kept", "Redacted exchanges of people that are kept.", ("monitor",))
LIVE_P_VALUE = Gauge(
    "valign_monitor_live_p_value", "p-value of the last window of live exchanges.", ("monitor",)
)
LIVE_EXCHANGES = Counter(
    "valign_monitor_live_exchanges_total",
    "Sampled exchanges by outcome (kept, empty, settling, dropped, not_redacted).",
    ("monitor", "outcome"),
)


def tell(monitors: Iterable[Monitor], latest: Mapping[str, Measurement]) -> None:
    """Set the gauges anew, and forget whatever is no monitor any more."""
    known = set()
    VALUE_DIFFERENCE.clear()
    # One that is paused would soon be called stale.
    LAST_SUCCESS.clear()
    for metric in (LIVE_DRIFT, LIVE_KEPT, LIVE_P_VALUE):
        metric.clear()
    for monitor in monitors:
        known.add(monitor.monitor_id)
        DRIFT.labels(monitor.monitor_id).set(float(monitor.drifting))
        if monitor.last_success_time is not None and not monitor.paused:
            LAST_SUCCESS.labels(monitor.monitor_id).set(monitor.last_success_time.timestamp())
        last = latest.get(monitor.monitor_id)
        if monitor.document.get("live"):
            LIVE_DRIFT.labels(monitor.monitor_id).set(float(monitor.live_drifting))
            LIVE_KEPT.labels(monitor.monitor_id).set(monitor.live_kept)
            if last and last.result.get("live", {}).get("outcome") in _JUDGED:
                LIVE_P_VALUE.labels(monitor.monitor_id).set(last.result["live"]["p_value"])
        for topic, found in (last.result.get("by_topic", {}) if last else {}).items():
            VALUE_DIFFERENCE.labels(monitor.monitor_id, topic).set(found["value"])
    for counted in (DRIFT, MEASUREMENTS, LIVE_EXCHANGES):
        for collected in counted.collect():
            for sample in collected.samples:
                if sample.labels["monitor"] not in known:
                    counted.remove_by_labels({"monitor": sample.labels["monitor"]})


def silent() -> None:
    """This process leads no more: another one tells from now on."""
    for metric in (VALUE_DIFFERENCE, DRIFT, LAST_SUCCESS, LIVE_DRIFT, LIVE_KEPT, LIVE_P_VALUE):
        metric.clear()
