"""``AsyncClient``: one orchestrator, and what can be asked of it, by resource."""

import ssl
from types import TracebackType
from typing import Any, Self

import httpx

from services.client.aio.access import AsyncApiKeys, AsyncAuditLog
from services.client.aio.adapters import AsyncAdapters, AsyncRoutes
from services.client.aio.catalogue import AsyncAssets, AsyncData, AsyncStudies, AsyncValues
from services.client.aio.monitors import AsyncMonitors
from services.client.aio.reviews import AsyncReviews
from services.client.aio.runs import AsyncRuns
from services.client.aio.transport import AsyncTransport
from services.client.aio.webhooks import AsyncWebhooks
from services.client.models import Caller, Service
from services.client.retrying import Retry
from services.client.settings import Settings


class AsyncClient:
    """A typed client of the REST API. Every method raises a ``ClientError``."""

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        timeout_s: float = 30.0,
        retry: Retry | None = None,
        verify: bool | ssl.SSLContext = True,
        user_agent: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connects with the first call; close it, or use it as a context manager.

        Args:
            url: the orchestrator's REST address without ``/v1``.
            token: an API key, or a token of the issuer; sent as a bearer token, and never over plain HTTP to
                another machine (InsecureUrlError).
            timeout_s: of one attempt; streams and downloads have their own.
            retry: how often calls that cannot happen twice are sent again, and how patiently.
            verify: False trusts any certificate; an SSL context says which.
            user_agent: what the orchestrator's log calls the caller.
            transport: an httpx transport in place of the network, for tests.
        """
        self.http = AsyncTransport(
            Settings(url, token, timeout_s, verify, retry or Retry(), user_agent, transport)
        )
        self.runs = AsyncRuns(self.http)
        self.studies = AsyncStudies(self.http)
        self.data = AsyncData(self.http)
        self.assets = AsyncAssets(self.http)
        self.values = AsyncValues(self.http)
        self.adapters = AsyncAdapters(self.http)
        self.routes = AsyncRoutes(self.http)
        self.monitors = AsyncMonitors(self.http)
        self.api_keys = AsyncApiKeys(self.http)
        self.audit_log = AsyncAuditLog(self.http)
        self.webhooks = AsyncWebhooks(self.http)
        self.reviews = AsyncReviews(self.http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def caller(self) -> Caller:
        """Who the caller is to the orchestrator, and what it may do."""
        return Caller.model_validate(await self.http.json("GET", "/caller"))

    async def system(self) -> list[Service]:
        """Each service: reachable, serving, model, version."""
        return [Service.model_validate(one) for one in (await self.http.json("GET", "/system"))["services"]]

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Anything else under ``/v1``, with the same retries and errors; see ``AsyncTransport.request``."""
        return await self.http.request(method, path, **options)
