"""API keys over REST, and who the caller is."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, ConfigDict, Field

from services.common.errors import ErrorCode
from services.orchestrator.access.keys import MAX_LIFETIME_S, ApiKey
from services.orchestrator.api.lists import NextPage, PageSize, PageToken
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application
from services.orchestrator.identity import Scope, current_principal
from services.orchestrator.listing import DEFAULT_PAGE_SIZE, Page

PATH = "/api-keys"
_TIME = "2026-11-21T14:03:05.123456Z"
_REQUEST: dict[str, Any] = {"name": "ci", "scopes": ["run"], "lifetime_s": 2592000}
_EXAMPLE: dict[str, Any] = {
    "key_id": "5e1d0c2b9a47",
    "name": "ci",
    "scopes": ["run"],
    "create_time": _TIME,
    "create_by": "key:operator",
    "expire_time": "2026-12-21T14:03:05.123456Z",
    "revoke_time": None,
    "last_use_time": None,
}


class CreateApiKeyBody(BaseModel):
    """A key that is asked for."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_REQUEST]})

    name: str = Field(description="A label: 1 to 80 letters, digits, blanks and `._@-`.", max_length=200)
    scopes: list[str] = Field(
        description="At least one of `read`, `run`, `approve`, `promote`, `admin`, `infer`.", max_length=20
    )
    lifetime_s: int = Field(0, description="Seconds until it ends; 0 for 90 days.", ge=0, le=MAX_LIFETIME_S)


class ApiKeySummary(BaseModel):
    """A key without its secret."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    key_id: str = Field(description="Its id: the part of the key before the secret.")
    name: str = Field(description="Its label.")
    scopes: list[Scope] = Field(description="What it may do.")
    create_time: datetime = Field(description="When it was made.")
    create_by: str = Field(description="Who made it.")
    expire_time: datetime | None = Field(description="When it ends by itself.")
    revoke_time: datetime | None = Field(description="When it was revoked; null if it was not.")
    last_use_time: datetime | None = Field(description="When it was last used, to a minute.")

    @classmethod
    def of(cls, key: ApiKey) -> "ApiKeySummary":
        """From the record."""
        return cls(
            key_id=key.key_id,
            name=key.name,
            scopes=sorted(key.scopes),
            create_time=key.create_time,
            create_by=key.create_by,
            expire_time=key.expire_time,
            revoke_time=key.revoke_time,
            last_use_time=key.last_use_time,
        )


class CreatedApiKey(BaseModel):
    """A new key."""

    api_key: ApiKeySummary = Field(description="The key.")
    secret: str = Field(
        description="What a caller sends as a bearer token. It is not kept and cannot be shown again.",
        examples=["valign_5e1d0c2b9a47_the-secret-part-that-is-shown-only-once-00000"],
    )


class ApiKeyList(NextPage):
    """A page of keys."""

    api_keys: list[ApiKeySummary] = Field(description="Newest first.")


class Caller(BaseModel):
    """The caller as valign knows it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "key:ci", "scopes": ["run"]}]})

    name: str = Field(description="`key:<name>`, `oidc:<issuer>|<subject>`, or `local`.")
    scopes: list[Scope] = Field(description="What it may do.")


def router(application: Application) -> APIRouter:
    """The routes under /v1/api-keys, and /v1/caller."""
    routes = APIRouter(tags=["access"])

    @routes.post(
        PATH,
        summary="Make an API key",
        operation_id="createApiKey",
        status_code=status.HTTP_201_CREATED,
        responses=problems(ErrorCode.INVALID_INPUT, ErrorCode.CONFLICT),
    )
    async def create_api_key(body: CreateApiKeyBody, response: Response) -> CreatedApiKey:
        """Make a key. Its secret is in this answer and nowhere else."""
        # Nor is it kept under an idempotency key.
        response.headers["cache-control"] = "no-store"
        key, token = await application.api_keys.create(
            body.name, body.scopes, body.lifetime_s, create_by=current_principal().name
        )
        return CreatedApiKey(api_key=ApiKeySummary.of(key), secret=token)

    @routes.get(
        PATH,
        summary="List API keys",
        operation_id="listApiKeys",
        responses=problems(ErrorCode.INVALID_INPUT),
    )
    async def list_api_keys(
        page_size: PageSize = DEFAULT_PAGE_SIZE, page_token: PageToken = ""
    ) -> ApiKeyList:
        """The keys, without their secrets, a page at a time."""
        found, token = await application.api_keys.page(Page(page_size, page_token))
        return ApiKeyList(api_keys=[ApiKeySummary.of(key) for key in found], next_page_token=token)

    @routes.post(
        f"{PATH}/{{key_id}}/revoke",
        summary="Revoke an API key",
        operation_id="revokeApiKey",
        responses=problems(ErrorCode.NOT_FOUND),
    )
    async def revoke_api_key(key_id: str) -> ApiKeySummary:
        """End a key at once. Revoking it again changes nothing."""
        return ApiKeySummary.of(await application.api_keys.revoke(key_id))

    @routes.get("/caller", summary="Who am I?", operation_id="getCaller", responses=problems())
    async def get_caller() -> Caller:
        """Who the caller is to valign, and what it may do."""
        principal = current_principal()
        return Caller(name=principal.name, scopes=sorted(principal.scopes))

    return routes
