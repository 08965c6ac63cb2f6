"""The generator's own metrics."""

from prometheus_client import Counter, Gauge, Histogram

IN_FLIGHT = Gauge("valign_generator_requests_in_flight", "Requests in the engine.", ("kind",))
TOKENS = Counter("valign_generator_tokens_total", "Tokens of ended requests.", ("kind",))
ADAPTER_LOADS = Counter("valign_generator_adapter_loads_total", "Adapter loads, by outcome.", ("outcome",))
SWAP_SECONDS = Histogram(
    "valign_generator_swap_seconds",
    "Seconds from LoadAdapter to the proof.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
)
ADAPTERS = Gauge("valign_generator_adapters", "Adapters loaded and proven.")
ENGINE_UP = Gauge("valign_generator_engine_up", "1 while the engine answers.")
ENGINE_RESTARTS = Counter("valign_generator_engine_restarts_total", "Starts after the engine died.")
