"""vLLM's own metrics (``vllm:*``) on the generator's endpoint, without what has no bounds.

vLLM registers them with Prometheus's default registry when its statistics are on, the registry that our
endpoint serves. One of them has the names of all adapters that run or wait, joined, as a label: a new series
for each mixture. That one is taken out.
"""

from prometheus_client import REGISTRY

UNBOUNDED = ("vllm:lora_requests_info",)


def drop_unbounded() -> None:
    """Take the metrics with unbounded labels out of the registry; vLLM goes on setting them unseen."""
    for name in UNBOUNDED:
        collector = REGISTRY._names_to_collectors.get(name)
        if collector is not None:
            REGISTRY.unregister(collector)
