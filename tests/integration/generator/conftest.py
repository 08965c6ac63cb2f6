"""One generator with a real model for every module here that does not need its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.collector import Collector, collector
from tests.integration.generator.process import GeneratorProcess, running_generator


@pytest.fixture(scope="session")
def traces() -> Iterator[Collector]:
    """Where ``service`` sends its spans."""
    with collector() as found:
        yield found


@pytest.fixture(scope="session")
def service(
    smollm2: Path, traces: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GeneratorProcess]:
    """SmolLM2, with its HTTP face. A test leaves it without adapters."""
    folder = tmp_path_factory.mktemp("smollm2")
    with running_generator(
        smollm2, folder, http=True, allow_traffic_sampling="true", tracing_endpoint=traces.target
    ) as running:
        yield running
