"""The value space over REST: the ten values, heads trained on labels, and how well a judge agrees."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.common.errors import ErrorCode
from services.orchestrator.analysis.values.head import TextPart
from services.orchestrator.analysis.values.results import LabelCounts, ValueAgreement
from services.orchestrator.api.models import RunError
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application
from services.orchestrator.store.jsontext import finite
from services.orchestrator.values_judge import ValuesDocument, load_values, questions_sha256
from services.orchestrator.values_training import MAX_LABEL_BYTES, HeadOptions, JudgeOptions, ValuesJob

HEADS_PATH = "/values/heads"
EVALUATIONS_PATH = "/values/evaluations"
_LINE = '{"dialogue": "Human: …\\nBob: …", "value_types": ["security: -1", "achievement: +1"]}\n'
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"A file of labels: JSON Lines in UTF-8, at most {MAX_LABEL_BYTES} bytes.",
        "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": _LINE}},
    }
}
_EXAMPLE: dict[str, JsonValue] = {
    "id": "5a0c…",
    "kind": "head",
    "name": "fulcra",
    "state": "running",
    "stage": "embed",
    "done": 512,
    "total": 5000,
    "error": None,
    "sha256": "",
    "evaluator": "all-mpnet-base-v2",
    "fingerprint": "9f2c…",
    "labels": None,
    "agreement": [],
    "facts": {},
}
Seed = Annotated[int, Query(ge=0, lt=2**32, description="Seed of the split and of the resampling.")]
Label = Annotated[str, Query(description="A label: lower-case letters, digits, `.`, `-`, `_`.")]


class ValuesJobModel(BaseModel):
    """The training of a head, or the measuring of a judge."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]}, title="ValuesJob")

    id: str = Field(description="A hash of the file, the options and the model.")
    kind: Literal["head", "judge"] = Field(description="What is trained or measured.")
    name: str = Field(description="A label for people.")
    state: Literal["queued", "running", "succeeded", "failed"] = Field(description="Where it stands.")
    stage: str = Field(description="embed, fit or judge; empty before it begins.")
    done: int = Field(description="Items done.")
    total: int = Field(description="Items in all.")
    error: RunError | None = Field(description="Why it failed.")
    sha256: str = Field(
        description="sha256 (hex) of the result, which a study names; empty until there is one."
    )
    evaluator: str = Field(description="The encoder of a head, or the model that judges.")
    fingerprint: str = Field(description="sha256 (hex) of that encoder or model.")
    labels: LabelCounts | None = Field(description="What was found in the file, and what became of it.")
    agreement: list[ValueAgreement] = Field(description="Agreement with held-out labels, one entry a value.")
    facts: dict[str, Any] = Field(description="How it was made.")

    @classmethod
    def of(cls, job: ValuesJob) -> "ValuesJobModel":
        """From the job."""
        return cls(
            id=job.id,
            kind=job.kind,
            name=job.name,
            state=job.state,
            stage=job.stage,
            done=job.done,
            total=job.total,
            error=RunError(code=ErrorCode(job.error_code), message=job.error_message)
            if job.error_code
            else None,
            sha256=job.sha256,
            evaluator=job.evaluator,
            fingerprint=job.fingerprint,
            labels=job.labels,
            agreement=list(job.agreement),
            facts=finite(dict(job.facts)),
        )


class Values(ValuesDocument):
    """The packaged values and questions."""

    sha256: str = Field(description="sha256 (hex) of the questions: part of a judge's identity.")


def values_data() -> dict[str, Any]:
    """The packaged values and questions, with their sha256."""
    return {**load_values().model_dump(mode="json"), "sha256": questions_sha256()}


def router(application: Application) -> APIRouter:
    """The routes under /v1/values."""
    routes = APIRouter(tags=["values"])
    not_found = problems(ErrorCode.NOT_FOUND)
    refused = problems(ErrorCode.INVALID_INPUT, ErrorCode.OVERLOADED, ErrorCode.NOT_READY)

    @routes.get(
        "/values",
        summary="Get the ten values",
        operation_id="getValues",
        responses={
            200: {"description": "Definitions with sources, and the questions put to a judge."},
            **problems(),
        },
    )
    async def get_values() -> dict[str, Any]:
        """Schwartz's ten basic values in our own words."""
        return values_data()

    @routes.post(
        HEADS_PATH,
        summary="Train a head",
        operation_id="trainValuesHead",
        status_code=status.HTTP_202_ACCEPTED,
        responses=refused,
        openapi_extra=_BODY,
    )
    async def train_head(
        request: Request,
        response: Response,
        name: Label = "head",
        seed: Seed = 0,
        held_out: Annotated[float, Query(description="Share of the rows held out, 0.05 to 0.5.")] = 0.25,
        text: Annotated[TextPart, Query(description="What is embedded.")] = "reply",
    ) -> ValuesJobModel:
        """Begin to train a head on a file in FULCRA's format; the same file and options join the same job."""
        job = await application.values.train(await request.body(), name, HeadOptions(seed, held_out, text))
        response.headers["location"] = f"/v1{HEADS_PATH}/{job.id}"
        return ValuesJobModel.of(job)

    @routes.get(
        f"{HEADS_PATH}/{{head_id}}",
        summary="Get a head",
        operation_id="getValuesHead",
        responses=not_found,
    )
    async def get_head(head_id: str) -> ValuesJobModel:
        """How far it is and how well it agrees with held-out labels, by the job's id or the head's sha256."""
        return ValuesJobModel.of(await application.values.get("head", head_id))

    @routes.post(
        EVALUATIONS_PATH,
        summary="Measure the judge",
        operation_id="evaluateValuesJudge",
        status_code=status.HTTP_202_ACCEPTED,
        responses=refused,
        openapi_extra=_BODY,
    )
    async def evaluate_judge(
        request: Request,
        response: Response,
        name: Label = "judge",
        seed: Seed = 0,
        limit: Annotated[
            int, Query(ge=1, le=100_000, description="Dialogues at most; each costs 30 scores.")
        ] = 300,
        calibrate: Annotated[
            bool, Query(description="Divide by the answers to content-free questions.")
        ] = True,
    ) -> ValuesJobModel:
        """Begin to measure how well the generator, as a judge, agrees with a file of labels."""
        options = JudgeOptions(seed, limit, calibrate)
        job = await application.values.evaluate(await request.body(), name, options)
        response.headers["location"] = f"/v1{EVALUATIONS_PATH}/{job.id}"
        return ValuesJobModel.of(job)

    @routes.get(
        f"{EVALUATIONS_PATH}/{{evaluation_id}}",
        summary="Get a measuring of the judge",
        operation_id="getValuesEvaluation",
        responses=not_found,
    )
    async def get_evaluation(evaluation_id: str) -> ValuesJobModel:
        """How far it is, and what came of it."""
        return ValuesJobModel.of(await application.values.get("judge", evaluation_id))

    return routes
