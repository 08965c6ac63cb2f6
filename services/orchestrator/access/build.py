"""The orchestrator's ``Access`` as its settings say."""

from collections.abc import Awaitable, Callable

import structlog

from services.orchestrator.access.authenticate import Access
from services.orchestrator.access.keys import ApiKeys
from services.orchestrator.access.limits import CallLimits
from services.orchestrator.access.oidc import IssuerKeys, OidcTokens
from services.orchestrator.settings import OrchestratorSettings

log = structlog.get_logger(__name__)


def build_access(
    settings: OrchestratorSettings, keys: ApiKeys
) -> tuple[Access, Callable[[], Awaitable[None]]]:
    """What both faces ask, and the function that closes it."""
    if not settings.credentials_required:
        if settings.beyond_loopback:
            log.warning("access.open_to_the_network", host=settings.host)
        return Access(required=False, loopback=not settings.beyond_loopback), _nothing
    limits = CallLimits(settings.rate_limit, settings.auth_failure_limit, settings.max_event_streams)
    if not settings.oidc_issuer:
        return Access(required=True, keys=keys, limits=limits), _nothing
    issuer = IssuerKeys(settings.oidc_issuer, settings.oidc_jwks_url)
    oidc = OidcTokens(issuer, settings.oidc_issuer, settings.oidc_audience, settings.oidc_scope_claim)
    return Access(required=True, keys=keys, oidc=oidc, limits=limits), oidc.aclose


async def _nothing() -> None:
    pass
