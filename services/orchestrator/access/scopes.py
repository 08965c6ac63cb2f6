"""The one table of what a call needs. What is not in it is refused.

gRPC methods stand under their names; the REST operation of the same thing has that name in lowerCamel
(``CreateRun`` and ``createRun``), as the contract tests hold.
"""

from services.common.errors import ForbiddenError
from services.orchestrator.identity import Principal, Scope

_READ, _RUN, _APPROVE, _PROMOTE, _ADMIN, _, _REVIEW = Scope

SCOPE_OF_RPC: dict[str, Scope] = {
    "CheckStudy": _READ,
    "PlanStudy": _READ,
    "CreateRun": _RUN,
    "GetRun": _READ,
    "ListRuns": _READ,
    "CancelRun": _RUN,
    "PauseRun": _RUN,
    "ResumeRun": _RUN,
    "RetryRun": _RUN,
    "ListRunSteps": _READ,
    "WatchRun": _READ,
    "GetReport": _READ,
    "GetReportHtml": _READ,
    "ListPrinciples": _READ,
    "ListReferenceSets": _READ,
    "GetReferenceSet": _READ,
    "CheckReferenceSet": _READ,
    "DiffReferenceSets": _READ,
    "ListPromptSets": _READ,
    "GetPromptSet": _READ,
    "ListShippedStudies": _READ,
    "GetShippedStudy": _READ,
    "AddAsset": _RUN,
    "ListAssets": _READ,
    "GetAsset": _READ,
    "GetAssetContent": _READ,
    "GetValues": _READ,
    "TrainValuesHead": _RUN,
    "GetValuesHead": _READ,
    "EvaluateValuesJudge": _RUN,
    "GetValuesEvaluation": _READ,
    "CompareRuns": _READ,
    "CompareRunsHtml": _READ,
    "FreezeRuler": _RUN,
    "ListRulers": _READ,
    "GetBundle": _READ,
    "GetModelCard": _READ,
    "ListAdapters": _READ,
    "GetAdapter": _READ,
    "ApproveAdapter": _APPROVE,
    "RejectAdapter": _APPROVE,
    "PromoteAdapter": _PROMOTE,
    "PruneAdapters": _ADMIN,
    "ListRoutes": _READ,
    "GetRoute": _READ,
    "SetCanary": _PROMOTE,
    "RollBackRoute": _PROMOTE,
    "CreateApiKey": _ADMIN,
    "ListApiKeys": _ADMIN,
    "RevokeApiKey": _ADMIN,
    "GetCaller": _READ,
    "ListAuditEntries": _ADMIN,
    "VerifyAuditLog": _ADMIN,
    "GetSystem": _READ,
    "CreateWebhook": _ADMIN,
    "ListWebhooks": _ADMIN,
    "GetWebhook": _ADMIN,
    "UpdateWebhook": _ADMIN,
    "DeleteWebhook": _ADMIN,
    "RotateWebhookSecret": _ADMIN,
    "TestWebhook": _ADMIN,
    "ListWebhookDeliveries": _ADMIN,
    "ReplayWebhookDeliveries": _ADMIN,
    "ListEventTypes": _READ,
    "GetEventType": _READ,
    "CreateMonitor": _RUN,
    "ListMonitors": _READ,
    "GetMonitor": _READ,
    "DeleteMonitor": _RUN,
    "PauseMonitor": _RUN,
    "ResumeMonitor": _RUN,
    "MeasureMonitor": _RUN,
    "ListMeasurements": _READ,
    "GetMeasurement": _READ,
    "ListMonitorAlarms": _READ,
    # Texts of people, be they redacted.
    "ListMonitorSamples": _ADMIN,
    "AcknowledgeMonitorAlarm": _RUN,
    "CreateReview": _RUN,
    "ListReviews": _READ,
    "GetReview": _READ,
    "NextReviewItem": _REVIEW,
    "ListReviewItems": _REVIEW,
    "RateReviewItem": _REVIEW,
    "FlagReviewItem": _REVIEW,
    "CloseReview": _RUN,
    "GetReviewResults": _READ,
    "ExportReview": _READ,
}
"""Scope by gRPC method of the OrchestratorService."""

_REST_ALONE: dict[str, Scope] = {
    "getOpenapi": _READ,
    "getMetrics": _READ,
}

SCOPE_OF_OPERATION: dict[str, Scope] = {
    **{name[:1].lower() + name[1:]: scope for name, scope in SCOPE_OF_RPC.items()},
    **_REST_ALONE,
}
"""Scope by REST operation id."""

OPEN_OPERATIONS = frozenset({"getHealth", "getReadiness", "getWebPage", "getWebFile"})
"""Answered to everybody: a probe has no credential; the web page's files hold no data, and ask for one."""

OF_ANY_SCOPE = frozenset({"GetCaller", "getCaller"})
"""Answered to whoever has any scope at all: a caller that may only use the model is known by it too."""

OPEN_TO_REVIEWERS = frozenset(
    {"ListReviews", "GetReview", "GetCaller", "listReviews", "getReview", "getCaller"}
)
"""Answered also to whoever may rate and not read: nothing in them tells which arm wrote a text."""

OPEN_ON_LOOPBACK = frozenset({"getMetrics"})
"""Answered without a credential to callers of the same machine."""

STREAMED = frozenset({"WatchRun", "watchRun"})
"""Calls that stay open; a caller may hold so many at once."""

SCOPE_OF_OTHER_RPC: dict[str, Scope] = {
    "grpc.reflection.v1alpha.ServerReflection": _READ,
}
"""Scope by gRPC service, of services that are not ours."""

OPEN_SERVICES = frozenset({"grpc.health.v1.Health"})
"""gRPC services that are answered to everybody."""


def permit(principal: Principal, name: str, scope: Scope | None) -> None:
    """ForbiddenError if the principal may not call ``name``; a None, which the table has not, nobody may."""
    if scope is None:
        raise ForbiddenError(f"{name} has no scope in valign's table of scopes and is refused to everybody")
    of_any = name in OF_ANY_SCOPE and principal.scopes
    if of_any or (name in OPEN_TO_REVIEWERS and principal.may(Scope.REVIEW)):
        return
    if not principal.may(scope):
        has = ", ".join(sorted(principal.scopes)) or "none"
        raise ForbiddenError(f"{name} needs the scope {scope.value!r}; {principal.name} has {has}")
