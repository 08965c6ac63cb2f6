"""API keys over gRPC, and who the caller is."""

from typing import Any

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.access.keys import ApiKey
from services.orchestrator.api import convert
from services.orchestrator.application import Application
from services.orchestrator.identity import current_principal


class AccessServicer:
    """A part of the OrchestratorService."""

    _application: Application

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Any) -> pb.CreateApiKeyResponse:
        """Make a key."""
        key, token = await self._application.api_keys.create(
            request.name, list(request.scopes), request.lifetime_s, create_by=current_principal().name
        )
        return pb.CreateApiKeyResponse(api_key=_to_pb(key), secret=token)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Any) -> pb.ListApiKeysResponse:
        """The keys without their secrets."""
        found, token = await self._application.api_keys.page(convert.page_of(request))
        return pb.ListApiKeysResponse(api_keys=[_to_pb(key) for key in found], next_page_token=token)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Any) -> pb.RevokeApiKeyResponse:
        """End a key at once."""
        return pb.RevokeApiKeyResponse(
            api_key=_to_pb(await self._application.api_keys.revoke(request.key_id))
        )

    async def GetCaller(self, request: pb.GetCallerRequest, context: Any) -> pb.GetCallerResponse:
        """Who the caller is."""
        principal = current_principal()
        return pb.GetCallerResponse(name=principal.name, scopes=sorted(principal.scopes))


def _to_pb(key: ApiKey) -> pb.ApiKey:
    found = pb.ApiKey(key_id=key.key_id, name=key.name, scopes=sorted(key.scopes), create_by=key.create_by)
    for name in ("create_time", "expire_time", "revoke_time", "last_use_time"):
        if (time := getattr(key, name)) is not None:
            getattr(found, name).FromDatetime(time)
    return found
