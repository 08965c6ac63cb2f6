"""The generator's own metrics. vLLM's stand beside them, see ``engine_stats``."""

from prometheus_client import Counter, Gauge, Histogram

CALLS = Gauge("valign_generator_calls", "Generate and Score calls that are open.")
CALLS_REFUSED = Counter("valign_generator_calls_refused_total", "Calls that were refused as too many.")
IN_FLIGHT = Gauge("valign_generator_requests_in_flight", "Requests in the engine.", ("kind",))
WAITING = Gauge("valign_generator_calls_waiting", "Calls whose next request waits for room in the engine.")
REQUEST_SECONDS = Histogram(
    "valign_generator_request_seconds",
    "Seconds that a request was in the engine.",
    ("kind",),
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
TOKENS = Counter("valign_generator_tokens_total", "Tokens of ended requests.", ("kind",))
ADAPTER_LOADS = Counter("valign_generator_adapter_loads_total", "Adapter loads, by outcome.", ("outcome",))
SWAP_SECONDS = Histogram(
    "valign_generator_swap_seconds",
    "Seconds from LoadAdapter to the proof.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
)
ADAPTERS = Gauge("valign_generator_adapters", "Adapters loaded and proven.")
ENGINE_UP = Gauge("valign_generator_engine_up", "1 while the engine answers.")
ENGINE_INCARNATION = Gauge("valign_generator_engine_incarnation", "Starts of the engine so far.")
ENGINE_RESTARTS = Counter("valign_generator_engine_restarts_total", "Starts after the engine died.")
CPU_SECONDS = Counter(
    "valign_generator_cpu_seconds_total", "CPU seconds of the service's processes while requests were in it."
)
GPU_SECONDS = Counter(
    "valign_generator_gpu_seconds_total",
    "GPUs times seconds in which requests were in the engine; 0 without a GPU.",
)

# The operations of the HTTP face and no paths: labels are a closed set, whatever strangers ask for.
HTTP_REQUESTS = Counter(
    "valign_generator_http_requests_total",
    "Requests of the HTTP face that ended, by operation and status (499: the caller left).",
    ("operation", "status"),
)
HTTP_SECONDS = Histogram(
    "valign_generator_http_request_seconds",
    "Seconds from a request's begin to its last byte.",
    ("operation",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
HTTP_OPEN = Gauge("valign_generator_http_requests_open", "Requests of the HTTP face that are open.")
HTTP_CREDENTIAL_CHECKS = Counter(
    "valign_generator_http_credential_checks_total",
    "Questions to the orchestrator about a credential, by answer: valid, wrong, away.",
    ("answer",),
)
TRAFFIC_SAMPLES = Counter(
    "valign_generator_traffic_samples_total",
    "Exchanges chosen for a watcher of the traffic, by what became of them: taken, dropped.",
    ("outcome",),
)
