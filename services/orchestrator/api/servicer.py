"""OrchestratorService over gRPC: convert, call the application, convert."""

from collections.abc import AsyncIterator
from typing import Any

from services.common.errors import InvalidInputError
from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.common.pb.orchestrator.v1 import orchestrator_pb2_grpc as pb_grpc
from services.orchestrator.api import convert
from services.orchestrator.api.bodies import json_or_yaml
from services.orchestrator.api.routes_values import values_data
from services.orchestrator.api.servicer_access import AccessServicer
from services.orchestrator.api.servicer_adapters import AdapterMethods
from services.orchestrator.api.servicer_auditlog import AuditLogServicer
from services.orchestrator.api.servicer_control import ControlServicer
from services.orchestrator.api.servicer_monitors import MonitorServicer
from services.orchestrator.api.servicer_plans import PlanServicer
from services.orchestrator.api.servicer_reviews import ReviewServicer
from services.orchestrator.api.servicer_webhooks import WebhookServicer
from services.orchestrator.application import Application
from services.orchestrator.assets import MAX_ASSET_BYTES
from services.orchestrator.expecting import expecting
from services.orchestrator.listing import ListOrder, one_of
from services.orchestrator.values_training import (
    DEFAULT_HELD_OUT,
    DEFAULT_LIMIT,
    MAX_LABEL_BYTES,
    HeadOptions,
    JudgeOptions,
    text_part,
)

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["OrchestratorService"].full_name
_DEFAULT_PAGE_SIZE = 50
_PART_BYTES = 1 << 20
_HIGHEST_NUMBER = 2**63 - 1


class OrchestratorServicer(
    AccessServicer,
    AdapterMethods,
    AuditLogServicer,
    ControlServicer,
    MonitorServicer,
    PlanServicer,
    ReviewServicer,
    WebhookServicer,
    pb_grpc.OrchestratorServiceServicer,
):
    """Errors leave as ValignError; the interceptor maps them."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def CheckStudy(self, request: pb.CheckStudyRequest, context: Any) -> pb.CheckStudyResponse:
        """Resolve a study; starts nothing."""
        study = await self._application.check_study(json_or_yaml(request.study))
        return pb.CheckStudyResponse(study=convert.struct(study))

    async def CreateRun(self, request: pb.CreateRunRequest, context: Any) -> pb.CreateRunResponse:
        """Begin a run."""
        run, created = await self._application.create_run(
            json_or_yaml(request.study), request.idempotency_key
        )
        return pb.CreateRunResponse(run=convert.run_to_pb(run), created=created)

    async def GetRun(self, request: pb.GetRunRequest, context: Any) -> pb.GetRunResponse:
        """One run."""
        return pb.GetRunResponse(run=convert.run_to_pb(await self._application.get_run(request.run_id)))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Any) -> pb.ListRunsResponse:
        """A page of runs."""
        runs, token = await self._application.list_runs(
            convert.status_from_pb(request.status),
            request.page_size or _DEFAULT_PAGE_SIZE,
            request.page_token,
            where=convert.run_filter(request),
            order=one_of(ListOrder, request.order_by, "order_by") or ListOrder.NEWEST,
        )
        return pb.ListRunsResponse(runs=[convert.run_to_pb(run) for run in runs], next_page_token=token)

    async def CancelRun(self, request: pb.CancelRunRequest, context: Any) -> pb.CancelRunResponse:
        """Ask a run to stop."""
        with expecting("run", request.run_id, convert.etags(request)):
            run = await self._application.cancel_run(request.run_id)
        return pb.CancelRunResponse(run=convert.run_to_pb(run))

    async def WatchRun(self, request: pb.WatchRunRequest, context: Any) -> AsyncIterator[pb.WatchRunResponse]:
        """A run's events until it has ended."""
        if request.after > _HIGHEST_NUMBER:
            raise InvalidInputError(f"after must be the number of an event, not {request.after}")
        async for event in self._application.watch(request.run_id, request.after):
            yield convert.event_to_pb(event)

    async def GetReport(self, request: pb.GetReportRequest, context: Any) -> pb.GetReportResponse:
        """report.json."""
        report = await self._application.report(request.run_id)
        return pb.GetReportResponse(report=convert.struct(report))

    async def GetReportHtml(self, request: pb.GetReportHtmlRequest, context: Any) -> pb.GetReportHtmlResponse:
        """report.html."""
        page = await self._application.report_html(request.run_id)
        return pb.GetReportHtmlResponse(html=page.decode())

    async def ListPrinciples(
        self, request: pb.ListPrinciplesRequest, context: Any
    ) -> AsyncIterator[pb.ListPrinciplesResponse]:
        """The usable principles that a run has drawn so far."""
        found = await self._application.principles(request.run_id, request.arm or None, request.topic or None)
        for part in convert.principles_to_pb(found):
            yield part

    async def ListReferenceSets(
        self, request: pb.ListReferenceSetsRequest, context: Any
    ) -> pb.ListReferenceSetsResponse:
        """The packaged reference sets."""
        found = await self._application.reference_sets()
        return pb.ListReferenceSetsResponse(
            reference_sets=[convert.reference_set_to_pb(item) for item in found]
        )

    async def GetReferenceSet(
        self, request: pb.GetReferenceSetRequest, context: Any
    ) -> pb.GetReferenceSetResponse:
        """One of them."""
        found = await self._application.reference_set(request.id)
        return pb.GetReferenceSetResponse(reference_set=convert.struct(found))

    async def CheckReferenceSet(
        self, request: pb.CheckReferenceSetRequest, context: Any
    ) -> pb.CheckReferenceSetResponse:
        """Check a user's set."""
        found = await self._application.check_reference_set(json_or_yaml(request.reference_set))
        return pb.CheckReferenceSetResponse(reference_set=convert.struct(found))

    async def DiffReferenceSets(
        self, request: pb.DiffReferenceSetsRequest, context: Any
    ) -> pb.DiffReferenceSetsResponse:
        """What changed between two versions of a set."""
        found = await self._application.governance.diff(convert.diff_request(request))
        return pb.DiffReferenceSetsResponse(diff=convert.struct(found.model_dump(mode="json")))

    async def ListPromptSets(
        self, request: pb.ListPromptSetsRequest, context: Any
    ) -> pb.ListPromptSetsResponse:
        """The packaged prompt sets."""
        found = await self._application.prompt_sets()
        return pb.ListPromptSetsResponse(prompt_sets=[convert.prompt_set_to_pb(item) for item in found])

    async def GetPromptSet(self, request: pb.GetPromptSetRequest, context: Any) -> pb.GetPromptSetResponse:
        """One of them."""
        found = await self._application.prompt_set(request.id)
        return pb.GetPromptSetResponse(prompt_set=convert.struct(found))

    async def ListShippedStudies(
        self, request: pb.ListShippedStudiesRequest, context: Any
    ) -> pb.ListShippedStudiesResponse:
        """The studies that valign ships."""
        found = await self._application.shipped_studies()
        return pb.ListShippedStudiesResponse(studies=[convert.study_to_pb(item) for item in found])

    async def GetShippedStudy(
        self, request: pb.GetShippedStudyRequest, context: Any
    ) -> pb.GetShippedStudyResponse:
        """One of them, as its file is."""
        return pb.GetShippedStudyResponse(study=(await self._application.shipped_study(request.id)).text)

    async def AddAsset(
        self, requests: AsyncIterator[pb.AddAssetRequest], context: Any
    ) -> pb.AddAssetResponse:
        """Check a file and keep it."""
        kind = name = ""
        data = bytearray()
        async for part in requests:
            kind, name = (kind, name) if kind or name else (part.kind, part.name)
            data += part.data
            if len(data) > MAX_ASSET_BYTES:
                raise InvalidInputError(f"the asset has more than {MAX_ASSET_BYTES} bytes")
        record = await self._application.assets.put(kind, name, bytes(data))
        return pb.AddAssetResponse(asset=convert.asset_to_pb(record))

    async def ListAssets(self, request: pb.ListAssetsRequest, context: Any) -> pb.ListAssetsResponse:
        """What is kept."""
        found, token = await self._application.assets.page(request.kind or None, convert.page_of(request))
        return pb.ListAssetsResponse(
            assets=[convert.asset_to_pb(item) for item in found], next_page_token=token
        )

    async def GetAsset(self, request: pb.GetAssetRequest, context: Any) -> pb.GetAssetResponse:
        """One asset, without its content."""
        return pb.GetAssetResponse(
            asset=convert.asset_to_pb(await self._application.assets.get(request.sha256))
        )

    async def GetAssetContent(
        self, request: pb.GetAssetContentRequest, context: Any
    ) -> AsyncIterator[pb.GetAssetContentResponse]:
        """Its bytes, in parts."""
        data = await self._application.assets.content(request.sha256)
        for start in range(0, len(data), _PART_BYTES):
            yield pb.GetAssetContentResponse(data=data[start : start + _PART_BYTES])

    async def GetBundle(
        self, request: pb.GetBundleRequest, context: Any
    ) -> AsyncIterator[pb.GetBundleResponse]:
        """The audit bundle, in parts."""
        bundle = await self._application.bundle(request.run_id)
        async for part in self._application.bundle_parts(bundle):
            yield pb.GetBundleResponse(data=part, sha256=bundle.sha256, size_bytes=bundle.size_bytes)

    async def GetModelCard(self, request: pb.GetModelCardRequest, context: Any) -> pb.GetModelCardResponse:
        """The adapter's model card."""
        return pb.GetModelCardResponse(markdown=await self._application.model_card(request.run_id))

    async def CompareRuns(self, request: pb.CompareRunsRequest, context: Any) -> pb.CompareRunsResponse:
        """Runs side by side."""
        found = await self._application.benchmarks.compare(list(request.run_ids))
        return pb.CompareRunsResponse(comparison=convert.struct(found.model_dump(mode="json")))

    async def CompareRunsHtml(
        self, request: pb.CompareRunsHtmlRequest, context: Any
    ) -> pb.CompareRunsHtmlResponse:
        """The same as a page."""
        page = await self._application.benchmarks.compare_html(list(request.run_ids))
        return pb.CompareRunsHtmlResponse(html=page)

    async def FreezeRuler(self, request: pb.FreezeRulerRequest, context: Any) -> pb.FreezeRulerResponse:
        """Keep a run as a ruler."""
        found = await self._application.benchmarks.freeze(request.run_id, request.name)
        return pb.FreezeRulerResponse(ruler=convert.ruler_to_pb(found))

    async def ListRulers(self, request: pb.ListRulersRequest, context: Any) -> pb.ListRulersResponse:
        """The rulers that there are."""
        found, token = await self._application.benchmarks.ruler_page(convert.page_of(request))
        return pb.ListRulersResponse(
            rulers=[convert.ruler_to_pb(one) for one in found], next_page_token=token
        )

    async def GetValues(self, request: pb.GetValuesRequest, context: Any) -> pb.GetValuesResponse:
        """The ten values and the questions about them."""
        return pb.GetValuesResponse(values=convert.struct(values_data()))

    async def TrainValuesHead(
        self, requests: AsyncIterator[pb.TrainValuesHeadRequest], context: Any
    ) -> pb.TrainValuesHeadResponse:
        """Begin to train a head."""
        first, data = await _upload(requests, pb.TrainValuesHeadRequest())
        options = HeadOptions(first.seed, first.held_out or DEFAULT_HELD_OUT, text_part(first.text))
        job = await self._application.values.train(data, first.name or "head", options)
        return pb.TrainValuesHeadResponse(job=convert.values_job_to_pb(job))

    async def GetValuesHead(self, request: pb.GetValuesHeadRequest, context: Any) -> pb.GetValuesHeadResponse:
        """How far a head is."""
        job = await self._application.values.get("head", request.id)
        return pb.GetValuesHeadResponse(job=convert.values_job_to_pb(job))

    async def EvaluateValuesJudge(
        self, requests: AsyncIterator[pb.EvaluateValuesJudgeRequest], context: Any
    ) -> pb.EvaluateValuesJudgeResponse:
        """Begin to measure the judge."""
        first, data = await _upload(requests, pb.EvaluateValuesJudgeRequest())
        options = JudgeOptions(first.seed, first.limit or DEFAULT_LIMIT, not first.uncalibrated)
        job = await self._application.values.evaluate(data, first.name or "judge", options)
        return pb.EvaluateValuesJudgeResponse(job=convert.values_job_to_pb(job))

    async def GetValuesEvaluation(
        self, request: pb.GetValuesEvaluationRequest, context: Any
    ) -> pb.GetValuesEvaluationResponse:
        """How far that is."""
        job = await self._application.values.get("judge", request.id)
        return pb.GetValuesEvaluationResponse(job=convert.values_job_to_pb(job))

    async def GetSystem(self, request: pb.GetSystemRequest, context: Any) -> pb.GetSystemResponse:
        """Each service as it was found."""
        found = await self._application.system()
        return pb.GetSystemResponse(services=[convert.service_to_pb(state) for state in found])


async def _upload(requests: AsyncIterator[Any], none: Any) -> tuple[Any, bytes]:
    """The first message, which has the options (``none`` if there is no message), and the whole file."""
    first, data = None, bytearray()
    async for part in requests:
        first = part if first is None else first
        data += part.data
        if len(data) > MAX_LABEL_BYTES:
            raise InvalidInputError(f"the file has more than {MAX_LABEL_BYTES} bytes")
    return none if first is None else first, bytes(data)
