"""Assets over REST: files that studies name by their sha256."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.common.errors import ErrorCode
from services.orchestrator.api.etags import IMMUTABLE, quoted
from services.orchestrator.api.lists import NextPage, OrderBy, PageSize, PageToken
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application
from services.orchestrator.assets import MAX_ASSET_BYTES, AssetKind, AssetRecord
from services.orchestrator.listing import DEFAULT_PAGE_SIZE, ListOrder, Page

PATH = "/assets"
_EXAMPLE: dict[str, Any] = {
    "sha256": "9f2c6c1a4a5f0d8a2b7e1c3d5f6a7b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6",
    "kind": "task",
    "name": "arc-easy",
    "size_bytes": 1048576,
    "create_time": "2026-11-21T14:03:05.123456Z",
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"The file as it is, at most {MAX_ASSET_BYTES} bytes.",
        "content": {
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"},
                "example": '{"question": "2 + 2 =", "choices": ["3", "4"], "answer": 1}\n',
            }
        },
    }
}


class Asset(BaseModel):
    """A file that studies name by its sha256."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    sha256: str = Field(description="sha256 (hex) of its bytes.")
    kind: AssetKind = Field(description="What it is for.")
    name: str = Field(description="The label that it was first added with.")
    size_bytes: int = Field(description="Its size in bytes.")
    create_time: datetime = Field(description="When it was first added.")

    @classmethod
    def of(cls, record: AssetRecord) -> "Asset":
        """From the record."""
        return cls(
            sha256=record.sha256,
            kind=record.kind,
            name=record.name,
            size_bytes=record.size_bytes,
            create_time=record.create_time,
        )


class AssetList(NextPage):
    """A page of assets."""

    assets: list[Asset] = Field(description="In the order that was asked for.")


def router(application: Application) -> APIRouter:
    """The routes under /v1/assets."""
    routes = APIRouter(tags=["assets"])
    not_found = problems(ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION, ErrorCode.NOT_READY)

    @routes.post(
        PATH,
        summary="Add an asset",
        operation_id="addAsset",
        responses=problems(
            ErrorCode.INVALID_INPUT, ErrorCode.PRECONDITION, ErrorCode.NOT_READY, ErrorCode.OVERLOADED
        ),
        openapi_extra=_BODY,
    )
    async def add_asset(
        request: Request,
        kind: Annotated[str, Query(description="What it is for, for example `task`.")],
        name: Annotated[str, Query(description="A label: lower-case letters, digits, `.`, `-`, `_`.")],
    ) -> Asset:
        """Check a file by its kind and keep it. The same content again changes nothing."""
        return Asset.of(await application.assets.put(kind, name, await request.body()))

    @routes.get(
        PATH, summary="List assets", operation_id="listAssets", responses=problems(ErrorCode.INVALID_INPUT)
    )
    async def list_assets(
        kind: Annotated[str, Query(description="Only this kind; empty for all.")] = "",
        order_by: OrderBy = ListOrder.NEWEST,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
        page_token: PageToken = "",
    ) -> AssetList:
        """What is kept, a page at a time."""
        found, token = await application.assets.page(kind or None, Page(page_size, page_token, order_by))
        return AssetList(assets=[Asset.of(item) for item in found], next_page_token=token)

    @routes.get(f"{PATH}/{{sha256}}", summary="Get an asset", operation_id="getAsset", responses=not_found)
    async def get_asset(sha256: str) -> Asset:
        """One asset, without its content."""
        return Asset.of(await application.assets.get(sha256))

    @routes.get(
        f"{PATH}/{{sha256}}/content",
        summary="Get an asset's content",
        operation_id="getAssetContent",
        response_class=Response,
        responses={
            200: {
                "description": "The bytes as they were sent.",
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            },
            **not_found,
        },
    )
    async def get_asset_content(sha256: str) -> Response:
        """The bytes, checked against their sha256. They never change: `ETag` is the sha256."""
        return Response(
            await application.assets.content(sha256),
            media_type="application/octet-stream",
            headers={"etag": quoted(sha256), "cache-control": IMMUTABLE},
        )

    return routes
