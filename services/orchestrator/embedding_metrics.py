"""Prometheus metrics of the orchestrator's side of the embedder: its replicas, and the cache of rows."""

from prometheus_client import Counter, Gauge

REPLICAS = Gauge(
    "valign_orchestrator_embedder_replicas",
    "Replicas of an embedder, by state (healthy, away), when it was last asked.",
    ("embedder", "state"),
)
LOST = Counter(
    "valign_orchestrator_embedder_replica_failures_total",
    "Calls that an embedder replica failed and whose work was taken back.",
    ("embedder",),
)
HITS = Counter("valign_orchestrator_embedding_cache_hits_total", "Texts whose row the cache had.")
MISSES = Counter("valign_orchestrator_embedding_cache_misses_total", "Texts that an embedder was asked for.")
EVICTED = Counter(
    "valign_orchestrator_embedding_cache_evicted_total",
    "Rows that were removed to make room, by this process.",
)
DAMAGED = Counter(
    "valign_orchestrator_embedding_cache_damaged_total", "Rows that failed their check and were dropped."
)
FAILURES = Counter(
    "valign_orchestrator_embedding_cache_failures_total",
    "Reads and writes of the cache that failed; the texts were computed, or their rows not kept.",
)
SIZE_BYTES = Gauge(
    "valign_orchestrator_embedding_cache_bytes", "Size of the cache when this process last measured it."
)
