"""``Client``: one orchestrator, and what can be asked of it, by resource."""

import ssl
from types import TracebackType
from typing import Any, Self

import httpx

from services.client.models import Caller, Service
from services.client.retrying import Retry
from services.client.settings import Settings
from services.client.sync.access import ApiKeys, AuditLog
from services.client.sync.adapters import Adapters, Routes
from services.client.sync.catalogue import Assets, Data, Studies, Values
from services.client.sync.monitors import Monitors
from services.client.sync.reviews import Reviews
from services.client.sync.runs import Runs
from services.client.sync.transport import Transport
from services.client.sync.webhooks import Webhooks


class Client:
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
        transport: httpx.BaseTransport | None = None,
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
        self.http = Transport(
            Settings(url, token, timeout_s, verify, retry or Retry(), user_agent, transport)
        )
        self.runs = Runs(self.http)
        self.studies = Studies(self.http)
        self.data = Data(self.http)
        self.assets = Assets(self.http)
        self.values = Values(self.http)
        self.adapters = Adapters(self.http)
        self.routes = Routes(self.http)
        self.monitors = Monitors(self.http)
        self.api_keys = ApiKeys(self.http)
        self.audit_log = AuditLog(self.http)
        self.webhooks = Webhooks(self.http)
        self.reviews = Reviews(self.http)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def caller(self) -> Caller:
        """Who the caller is to the orchestrator, and what it may do."""
        return Caller.model_validate(self.http.json("GET", "/caller"))

    def system(self) -> list[Service]:
        """Each service: reachable, serving, model, version."""
        return [Service.model_validate(one) for one in (self.http.json("GET", "/system"))["services"]]

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Anything else under ``/v1``, with the same retries and errors; see ``Transport.request``."""
        return self.http.request(method, path, **options)
