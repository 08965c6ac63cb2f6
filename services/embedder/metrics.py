"""Prometheus metrics of the embedder."""

from prometheus_client import Counter, Gauge, Histogram

TEXTS = Counter("valign_embedder_texts_total", "Texts encoded.")
TRUNCATED = Counter("valign_embedder_truncated_texts_total", "Texts that were longer than the encoder takes.")
QUEUED = Gauge("valign_embedder_queued_texts", "Texts that wait for the encoder.")
BATCH_TEXTS = Histogram(
    "valign_embedder_batch_texts",
    "Texts in one forward pass.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
ENCODE_SECONDS = Histogram(
    "valign_embedder_encode_seconds",
    "Seconds of one forward pass, tokenisation included.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
FAILURES = Counter("valign_embedder_failed_batches_total", "Forward passes that failed.")
CPU_SECONDS = Counter("valign_embedder_cpu_seconds_total", "CPU seconds of the service in forward passes.")
GPU_SECONDS = Counter(
    "valign_embedder_gpu_seconds_total", "Seconds of forward passes on a GPU; 0 without one."
)
