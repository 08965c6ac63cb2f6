"""What the processes expose is what the guide lists: names, types, labels and help texts."""

import time

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.observability.conftest import Story
from tests.metric_table import Listed, listed

SERVICES = ("generator", "embedder", "trainer", "orchestrator")
_MONITORS = "services.orchestrator.monitor.metrics"


def scrape(story: Story, service: str) -> dict[str, Metric]:
    """The families of ours that a service exposes, with or without samples, by the name of the guide."""
    port = story.system.metrics_ports[service]
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(text)
        if family.name.startswith("valign_") and not family.name.endswith("_created")
    }


def wanted(service: str) -> dict[str, Listed]:
    """What the guide says of a service."""
    return {name: one for name, one in listed().items() if service in one.services}


@pytest.mark.parametrize("service", SERVICES)
def test_metrics_of_a_process_are_those_of_the_guide(story: Story, service: str) -> None:
    assert sorted(scrape(story, service)) == sorted(wanted(service))


@pytest.mark.parametrize("service", SERVICES)
def test_metrics_of_a_process_have_type_help_and_labels_of_the_guide(story: Story, service: str) -> None:
    for name, family in scrape(story, service).items():
        one = wanted(service)[name]
        assert family.type == one.kind, name
        assert family.documentation == one.text, name
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                assert set(sample.labels) - {"le"} == one.labels, sample


def adapters(found: dict[str, list[tuple[dict[str, str], float]]]) -> float:
    """How many the registry has, in any state."""
    return sum(value for _, value in found["valign_orchestrator_adapters"])


def test_metrics_after_a_run_say_what_it_did(story: Story) -> None:
    # The leader looks at runs each few seconds, and at adapters when it reconciles; nothing goes on any more.
    deadline = time.monotonic() + 20
    found = story.system.metrics("orchestrator")
    while ({"status": "running"}, 1.0) in found["valign_runs"] or adapters(found) < 2:
        assert time.monotonic() < deadline, (found["valign_runs"], found["valign_orchestrator_adapters"])
        time.sleep(0.2)
        found = story.system.metrics("orchestrator")

    def value(name: str, **labels: str) -> float:
        return next(value for has, value in found[name] if labels.items() <= has.items())

    assert value("valign_runs_ended_total", status="succeeded", code="none") == 1
    assert value("valign_run_steps_total", stage="judge", outcome="ok") == 3
    assert value("valign_orchestrator_leader") == 1
    shown = {(has["study"], has["topic"], has["arm"]) for has, _ in found["valign_value_difference"]}
    assert {("watched-study", "privacy", "before"), ("watched-study", "fairness", "after")} <= shown
    assert value("valign_run_cpu_seconds_total", study="watched-study", component="generator") > 0
    assert "valign_run_gpu_seconds_total" not in found
    assert "valign_run_stage_progress_ratio" not in found
    assert value("valign_runs", status="running") == 0
    trained = story.system.metrics("trainer")
    assert trained["valign_trainer_tokens_total"][0][1] > 0
    assert trained["valign_trainer_gpu_seconds_total"][0][1] == 0
    made = story.system.metrics("generator")
    assert made["valign_generator_engine_up"][0][1] == 1
    assert made["valign_generator_swap_seconds_count"][0][1] >= 2


def test_report_of_a_run_holds_what_it_cost(story: Story) -> None:
    spent = story.system.api("GET", f"/v1/runs/{story.run_id}/report")["usage_s"]
    assert spent.keys() == {"generator", "embedder", "trainer"}
    for service in spent.values():
        assert service["cpu_s"] > 0
        assert "gpu_s" not in service


def test_metrics_name_no_run_and_no_adapter(story: Story) -> None:
    for service in SERVICES:
        port = story.system.metrics_ports[service]
        assert story.run_id not in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
