from pathlib import Path

import pytest

from services.common.errors import InvalidInputError
from services.orchestrator.access.endpoints import EndpointHosts
from tests.fakes.orchestrator import world

STUDY = "name: demo\nmeasure_only: true\nendpoint: {{url: '{url}', model: m}}\n"


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.org/v1",
        "https://API.example.org:8443/v1",
        "http://10.0.0.5:8000/v1",
    ],
)
def test_host_of_the_list_may_be_named(url: str) -> None:
    EndpointHosts(["api.example.org", "10.0.0.5:8000"]).check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:50051/v1",
        "http://10.0.0.5/v1",
        "http://10.0.0.5:8001/v1",
        "https://api.example.org.evil.example/v1",
        "https://evil.example/api.example.org",
        "http://[::1]/v1",
        "http://0x7f000001/v1",
    ],
)
def test_host_beside_the_list_is_refused_and_the_setting_named(url: str) -> None:
    with pytest.raises(InvalidInputError, match="VALIGN_ORCHESTRATOR_ENDPOINT_HOSTS"):
        EndpointHosts(["api.example.org", "10.0.0.5:8000"]).check(url)


async def test_study_with_a_host_beside_the_list_starts_nothing(tmp_path: Path) -> None:
    text = STUDY.format(url="http://169.254.169.254/v1")
    with world(tmp_path, endpoints=EndpointHosts([])) as here:
        for method in (here.application.check_study, here.application.create_run):
            with pytest.raises(InvalidInputError, match="ENDPOINT_HOSTS"):
                await method(text)
        assert here.store.list_runs()[0] == []
        assert (await here.application.create_run("name: demo\n"))[1]
