"""Rulers over REST: runs frozen as the yardstick of other models."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, status
from pydantic import BaseModel, ConfigDict, Field

from services.common.errors import ErrorCode
from services.orchestrator.api.lists import NextPage, PageSize, PageToken
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application
from services.orchestrator.benchmarks import RulerRecord
from services.orchestrator.listing import DEFAULT_PAGE_SIZE, Page

_REQUEST: dict[str, Any] = {"run_id": "r-20261121-k3m9qx", "name": "benchmark-2026"}
_EXAMPLE: dict[str, Any] = {
    "sha256": "9f2c6c1a4a5f0d8a2b7e1c3d5f6a7b8c9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6",
    "name": "benchmark-2026",
    "size_bytes": 5529600,
    "create_time": "2026-11-21T14:03:05.123456Z",
    "run_id": "r-20261121-k3m9qx",
    "model": "a-benchmark-model",
    "encoder": "all-mpnet-base-v2",
    "reference_set": "gdpr-article-5",
    "prompt_set": "instruct",
    "topics": ["privacy", "fairness"],
    "inputs": 600,
}


class FreezeRequest(BaseModel):
    """A run to freeze."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_REQUEST]})

    run_id: str = Field(description="A run that has succeeded.")
    name: str = Field(description="A label: 1 to 80 lower-case letters, digits, `.`, `-` or `_`.")


class RulerSummary(BaseModel):
    """A ruler in short."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    sha256: str = Field(description="Content hash: what a study's `ruler` names.")
    name: str = Field(description="The label that it was first frozen with.")
    size_bytes: int = Field(description="Its size in bytes.")
    create_time: datetime = Field(description="When it was first frozen.")
    run_id: str = Field(description="The benchmark run.")
    model: str = Field(description="The benchmark model, which wrote its texts.")
    encoder: str = Field(description="The encoder of its rows; studies by it need the same.")
    reference_set: str = Field(description="Id of its reference set.")
    prompt_set: str = Field(description="Id of its prompt set.")
    topics: list[str] = Field(description="Ids of its topics.")
    inputs: int = Field(description="Original principles in it.")

    @classmethod
    def of(cls, record: RulerRecord) -> "RulerSummary":
        """From the record."""
        asset, facts = record.asset, record.facts
        return cls(
            sha256=asset.sha256,
            name=asset.name,
            size_bytes=asset.size_bytes,
            create_time=asset.create_time,
            run_id=facts.run_id,
            model=facts.model,
            encoder=facts.encoder,
            reference_set=facts.reference_set_id,
            prompt_set=facts.prompt_set_id,
            topics=[topic.id for topic in facts.topics],
            inputs=len(facts.inputs),
        )


class RulerList(NextPage):
    """A page of rulers."""

    rulers: list[RulerSummary] = Field(description="Newest first.")


def router(application: Application) -> APIRouter:
    """The routes under /v1/rulers."""
    routes = APIRouter(tags=["assets"])

    @routes.post(
        "/rulers",
        summary="Freeze a run as a ruler",
        operation_id="freezeRuler",
        status_code=status.HTTP_201_CREATED,
        responses=problems(ErrorCode.INVALID_INPUT, ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION),
    )
    async def freeze_ruler(body: FreezeRequest) -> RulerSummary:
        """Keep a run's original principles, reference texts and embeddings under their content hash, so that
        other models can be measured by them. Freezing the same run again gives the same ruler."""
        return RulerSummary.of(await application.benchmarks.freeze(body.run_id, body.name))

    @routes.get(
        "/rulers",
        summary="List rulers",
        operation_id="listRulers",
        responses=problems(ErrorCode.INVALID_INPUT),
    )
    async def list_rulers(page_size: PageSize = DEFAULT_PAGE_SIZE, page_token: PageToken = "") -> RulerList:
        """The rulers that studies can name, a page at a time."""
        found, token = await application.benchmarks.ruler_page(Page(page_size, page_token))
        return RulerList(rulers=[RulerSummary.of(one) for one in found], next_page_token=token)

    return routes
