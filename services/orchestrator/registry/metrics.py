"""Prometheus metrics of the registry. Routes are few, and replicas are those of the settings."""

from prometheus_client import Counter, Gauge

ADAPTER_LOADS = Counter(
    "valign_orchestrator_adapter_loads_total",
    "Loads of adapters on generator replicas, by outcome (proven, or the error's code).",
    ("outcome",),
)
ADAPTERS = Gauge("valign_orchestrator_adapters", "Adapters of the registry, by state.", ("state",))
ROUTE_VERSION = Gauge(
    "valign_orchestrator_route_version", "Version of each route as it is wanted.", ("route",)
)
REPLICAS_PROVEN = Gauge(
    "valign_orchestrator_route_replicas_proven",
    "Replicas that have proven every adapter of the route.",
    ("route",),
)
REPLICAS_SERVING = Gauge(
    "valign_orchestrator_route_replicas_serving", "Replicas that serve the route's version.", ("route",)
)
REPLICAS = Gauge("valign_orchestrator_generator_replicas", "Generator replicas, by state.", ("state",))
PRUNED = Counter("valign_orchestrator_adapters_pruned_total", "Adapters whose files were removed.")
