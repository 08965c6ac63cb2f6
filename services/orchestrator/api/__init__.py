"""The orchestrator's two faces: REST (``build_http_app``) and gRPC (``OrchestratorServicer``)."""

from services.orchestrator.api.http import build_http_app
from services.orchestrator.api.servicer import SERVICE_NAME, OrchestratorServicer

__all__ = ["SERVICE_NAME", "OrchestratorServicer", "build_http_app"]
