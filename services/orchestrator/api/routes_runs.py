"""Studies and runs over REST."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, status
from fastapi.responses import JSONResponse

from services.common.errors import ErrorCode
from services.orchestrator.api.bodies import read_document
from services.orchestrator.api.etags import IfMatch, expected_etags, told
from services.orchestrator.api.examples import STUDY_BODY
from services.orchestrator.api.lists import Moment, OrderBy, PageSize, PageToken, Text
from services.orchestrator.api.models import EVENT_EXAMPLE, Principle, PrincipleList, Run, RunPage
from services.orchestrator.api.problems import problems
from services.orchestrator.api.sse import event_number, event_stream
from services.orchestrator.application import MAX_KEY_CHARACTERS, Application
from services.orchestrator.expecting import expecting
from services.orchestrator.listing import DEFAULT_PAGE_SIZE, ListOrder, RunFilter, Verdict
from services.orchestrator.ports import RunStatus
from services.orchestrator.store.jsontext import finite

_INVALID = ErrorCode.INVALID_INPUT
# OpenAPI 3.1 has no word for the items of a stream (3.2 has): as a schema it would be that of the whole body.
_SSE_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "One event of the stream.",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "Its number; send it back as `Last-Event-ID`."},
        "event": {"type": "string", "description": "Its kind."},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "An Event."},
        "retry": {"type": "integer", "description": "Milliseconds to wait before connecting again."},
    },
}
_SSE_EXAMPLE = (
    'id: 7\nevent: stage.progress\ndata: {"number":7,"time":"2026-11-21T14:03:09.5Z",'
    '"kind":"stage.progress","data":{"stage":"uncover","done":120,"total":600}}\n\n'
)


def router(application: Application) -> APIRouter:
    """The routes under /v1/studies and /v1/runs."""
    routes = APIRouter()

    @routes.post(
        "/studies/check",
        tags=["studies"],
        summary="Check a study",
        operation_id="checkStudy",
        responses={
            200: {"description": "The study with every default and set filled in."},
            **problems(_INVALID),
        },
        openapi_extra=STUDY_BODY,
        response_class=JSONResponse,
    )
    async def check_study(request: Request) -> Response:
        """Read a study (YAML or JSON) and answer with all its settings. Nothing is started."""
        return JSONResponse(finite(await application.check_study(await read_document(request))))

    @routes.post(
        "/runs",
        tags=["runs"],
        summary="Begin a run",
        operation_id="createRun",
        status_code=status.HTTP_201_CREATED,
        responses={
            200: {"description": "The run that this idempotency key began before.", "model": Run},
            **problems(_INVALID, ErrorCode.CONFLICT),
        },
        openapi_extra=STUDY_BODY,
    )
    async def create_run(
        request: Request,
        response: Response,
        idempotency_key: Annotated[
            str,
            Header(
                description=f"At most {MAX_KEY_CHARACTERS} characters. The same key with the same study "
                "gives the same run; with another study it is a conflict.",
                examples=["0f8fad5b-d9cb-469f-a165-70867728950e"],
            ),
        ] = "",
    ) -> Run:
        """Begin a run of a study (YAML or JSON)."""
        run, created = await application.create_run(await read_document(request), idempotency_key)
        response.headers["location"] = f"/v1/runs/{run.run_id}"
        if not created:
            response.status_code = status.HTTP_200_OK
        return Run.of(run)

    @routes.get(
        "/runs", tags=["runs"], summary="List runs", operation_id="listRuns", responses=problems(_INVALID)
    )
    async def list_runs(
        status: Annotated[RunStatus | None, Query(description="Only runs with this status.")] = None,
        name: Annotated[Text, Query(description="Only runs of studies with exactly this name.")] = "",
        created_by: Annotated[Text, Query(description="Only runs that this principal began.")] = "",
        created_after: Annotated[
            Moment | None, Query(description="Only runs that were accepted at or after this moment.")
        ] = None,
        created_before: Annotated[
            Moment | None, Query(description="Only runs that were accepted before this moment.")
        ] = None,
        reference_set: Annotated[Text, Query(description="Only runs against the set with this id.")] = "",
        verdict: Annotated[Verdict | None, Query(description="Only runs that ended in this verdict.")] = None,
        order_by: OrderBy = ListOrder.NEWEST,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
        page_token: PageToken = "",
    ) -> RunPage:
        """Runs, a page at a time."""
        where = RunFilter(name, created_by, created_after, created_before, reference_set, verdict)
        runs, token = await application.list_runs(status, page_size, page_token, where=where, order=order_by)
        return RunPage(runs=[Run.of(run) for run in runs], next_page_token=token)

    @routes.get(
        "/runs/{run_id}",
        tags=["runs"],
        summary="Get a run",
        operation_id="getRun",
        responses=problems(ErrorCode.NOT_FOUND),
    )
    async def get_run(run_id: str, response: Response) -> Run:
        """One run."""
        run = await application.get_run(run_id)
        told(response, run.etag)
        return Run.of(run)

    @routes.post(
        "/runs/{run_id}/cancel",
        tags=["runs"],
        summary="Cancel a run",
        operation_id="cancelRun",
        responses=problems(ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION, _INVALID),
    )
    async def cancel_run(run_id: str, if_match: IfMatch = "") -> Run:
        """Ask a run to stop. A run that has ended stays as it is."""
        with expecting("run", run_id, expected_etags(if_match)):
            return Run.of(await application.cancel_run(run_id))

    @routes.get(
        "/runs/{run_id}/events",
        tags=["runs"],
        summary="Watch a run",
        operation_id="watchRun",
        response_class=Response,
        responses={
            200: {
                "description": "The events from the first (or the one after `Last-Event-ID`) on, then new "
                "ones until the run has ended. `data` is an Event.",
                "content": {"text/event-stream": {"x-item-schema": _SSE_EVENT, "example": _SSE_EXAMPLE}},
            },
            204: {"description": "The run has ended and there is nothing after `Last-Event-ID`."},
            **problems(ErrorCode.NOT_FOUND, _INVALID),
        },
    )
    async def watch_run(
        run_id: str,
        last_event_id: Annotated[
            str, Header(description="Number of the last event seen.", examples=[str(EVENT_EXAMPLE["number"])])
        ] = "",
    ) -> Response:
        """Server-sent events. A browser's EventSource reconnects by itself and misses nothing."""
        after = event_number(last_event_id)
        if await application.watch_is_over(run_id, after):
            # What tells an EventSource to stop reconnecting.
            return Response(status_code=204)
        return event_stream(application, run_id, after)

    @routes.get(
        "/runs/{run_id}/report",
        tags=["results"],
        summary="Get a run's report",
        operation_id="getReport",
        responses={
            200: {"description": "report.json; its `schema_version` tells its shape."},
            **problems(ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION, ErrorCode.NOT_READY),
        },
    )
    async def get_report(run_id: str) -> dict[str, Any]:
        """The report of a run that has succeeded."""
        report: dict[str, Any] = finite(await application.report(run_id))
        return report

    @routes.get(
        "/runs/{run_id}/report.html",
        tags=["results"],
        summary="Get a run's report as a page",
        operation_id="getReportHtml",
        response_class=Response,
        responses={
            200: {
                "description": "One page that opens offline.",
                "content": {"text/html": {"schema": {"type": "string"}}},
            },
            **problems(ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION, ErrorCode.NOT_READY),
        },
    )
    async def get_report_html(run_id: str) -> Response:
        """The report as one self-contained page."""
        return Response(await application.report_html(run_id), media_type="text/html; charset=utf-8")

    @routes.get(
        "/runs/{run_id}/principles",
        tags=["results"],
        summary="List a run's principles",
        operation_id="listPrinciples",
        responses=problems(ErrorCode.NOT_FOUND),
    )
    async def list_principles(
        run_id: str,
        arm: Annotated[str | None, Query(description="Only this arm.", examples=["original"])] = None,
        topic: Annotated[
            str | None, Query(description="Only this topic's id.", examples=["education"])
        ] = None,
    ) -> PrincipleList:
        """The usable principles that the run has drawn so far."""
        found = await application.principles(run_id, arm, topic)
        return PrincipleList(principles=[Principle.of(record) for record in found])

    return routes
