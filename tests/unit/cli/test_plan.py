"""``valign plan``: what it prints, and how it ends."""

from typing import Any

import pytest

from services.cli.api import Api
from services.orchestrator.planning.document import PlanRequest
from services.orchestrator.planning.plan import make_plan
from services.orchestrator.planning.work import Given
from services.orchestrator.study import Study, resolve
from tests.unit.cli.conftest import Cli


@pytest.fixture(autouse=True)
def planned(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The stand-in answers with the orchestrator's own plan of what it was asked."""
    asked: list[dict[str, Any]] = []

    def post(self: Api, path: str, body: dict[str, Any]) -> Any:
        asked.append(body)
        request = PlanRequest.model_validate(body)
        return make_plan(request, resolve(Study(name="demo")), Given()).model_dump(mode="json")

    monkeypatch.setattr(Api, "post_json", post)
    return asked


def test_plan_that_fits_exits_0_and_says_what_it_assumes(cli: Cli, planned: list[dict[str, Any]]) -> None:
    assert cli("plan", "demo", "--shape", "8b", "--device", "h100") == 0
    for part in ("uncover", "1,200", "generation on 1 x h100", "fits", "assumed:", "data sheet"):
        assert part in cli.out
    assert planned[0]["study"] == "# The demo\nname: demo\n"


def test_plan_that_does_not_fit_exits_4_and_says_why(cli: Cli) -> None:
    assert cli("plan", "demo", "--shape", "70b", "--device", "h100") == 4
    assert "does not fit: generation needs" in cli.out


def test_plan_json_is_the_answer(cli: Cli) -> None:
    assert cli("plan", "demo", "--shape", "70b", "--device", "l4", "--json") == 4
    assert cli.json["fits"] is False
