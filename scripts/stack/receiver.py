"""A webhook receiver on loopback: keeps what it is sent, and checks the signatures as a stranger would."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

MAX_BODY_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Received:
    """One request; ``headers`` in lower case."""

    headers: dict[str, str]
    body: bytes

    def event(self) -> dict[str, Any]:
        """The CloudEvent, in its structured JSON form."""
        event: dict[str, Any] = json.loads(self.body)
        return event

    def signed_with(self, secret: str) -> bool:
        """Whether one of its signatures is the secret's (the Standard Webhooks scheme)."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        said = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        wanted = "v1," + base64.b64encode(hmac.digest(key, said, hashlib.sha256)).decode()
        return any(hmac.compare_digest(wanted, one) for one in self.headers["webhook-signature"].split())


@dataclass
class Receiver:
    """Listens between ``with`` and its end; every request is answered with 204."""

    requests: list[Received] = field(default_factory=list)

    def __enter__(self) -> Self:
        kept = self.requests

        class Handler(BaseHTTPRequestHandler):
            """Keeps a POST."""

            def do_POST(self) -> None:
                """Answer 204."""
                size_bytes = min(int(self.headers.get("content-length", 0)), MAX_BODY_BYTES)
                headers = {name.lower(): value for name, value in self.headers.items()}
                kept.append(Received(headers, self.rfile.read(size_bytes)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing on the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/events"

    def kinds(self) -> set[str]:
        """The types of what has come so far."""
        return {str(one.event()["type"]) for one in self.requests}
