"""Plans over gRPC."""

import json
from typing import Any

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.api import convert
from services.orchestrator.application import Application


class PlanServicer:
    """The part of ``OrchestratorServicer`` that plans."""

    _application: Application

    async def PlanStudy(self, request: pb.PlanStudyRequest, context: Any) -> pb.PlanStudyResponse:
        """Estimate what a run would cost; starts nothing."""
        asked = {**_whole(MessageToDict(request.options)), "study": request.study}
        plan = await self._application.planner.plan(json.dumps(asked))
        return pb.PlanStudyResponse(plan=convert.struct(plan.model_dump(mode="json")))


def _whole(value: Any) -> Any:
    """Numbers that were whole before a Struct made them floating-point."""
    match value:
        case dict():
            return {name: _whole(item) for name, item in value.items()}
        case list():
            return [_whole(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value
