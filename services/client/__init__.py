"""A thin, typed client of the orchestrator's REST API, asynchronous and synchronous.

    from services.client import Client

    with Client("https://valign.example.org", token=...) as client:
        run = client.runs.create(study)

It knows the API's words and shares no code with the orchestrator. ``aio`` is written by hand, ``sync`` is
made of it (``make client``).
"""

from services.client import errors as errors
from services.client import models as models
from services.client.aio.client import AsyncClient as AsyncClient
from services.client.errors import ApiError as ApiError
from services.client.errors import ClientError as ClientError
from services.client.errors import UnreachableError as UnreachableError
from services.client.retrying import NEVER as NEVER
from services.client.retrying import Retry as Retry
from services.client.sync.client import Client as Client

__all__ = [
    "NEVER",
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "Retry",
    "UnreachableError",
    "errors",
    "models",
]
