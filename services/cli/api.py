"""The orchestrator's REST API as the commands use it: a thin layer over ``services.client``.

It answers with JSON as it came, so that ``--json`` prints what the orchestrator said, and turns the client's
errors into those that a command ends with.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from services.cli.errors import ApiError, CliError, UnreachableError

if TYPE_CHECKING:
    import ssl

    import httpx

ENDED = ("succeeded", "failed", "cancelled")
Json = dict[str, Any]
_PAGE = 200


class Api:
    """A connection to one orchestrator.

    Raises ``ApiError`` for an error answer, ``UnreachableError`` when nothing answers.
    """

    def __init__(self, url: str, timeout_s: float, *, api_key: str = "", ca_file: Path | None = None) -> None:
        """``api_key`` goes with every request; ``ca_file`` (PEM) is trusted, and no public authority.

        CliError: a key or file that cannot be used.
        """
        from services.client import Client, Retry
        from services.client.errors import InsecureUrlError

        self.url = url
        if not api_key.isascii() or not api_key.isprintable():
            raise CliError("VALIGN_API_KEY holds characters that no key has.", code="UNAUTHENTICATED")
        try:
            self._client = Client(
                url,
                token=api_key,
                timeout_s=timeout_s,
                # A person waits: a second try soon, and no third after long.
                retry=Retry(attempts=2, first_s=0.3, longest_s=5.0),
                verify=_trusting(ca_file) if ca_file else True,
                user_agent="valign-cli",
            )
        except InsecureUrlError as error:
            raise CliError(
                f"{url} is not https, and VALIGN_API_KEY would be sent where others can read it.",
                remedy="Use https://; or reach it through a tunnel to this machine; or unset VALIGN_API_KEY.",
            ) from error

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **params: str | int) -> Any:
        """GET a JSON document under ``/v1``."""
        return self._call("GET", path, params=params).json()

    def all(self, path: str, field: str, *, limit: int = 0, **params: str | int) -> list[Json]:
        """GET the items of a list under ``/v1`` over all its pages; at most ``limit`` of them (0: all)."""
        found: list[Json] = []
        token = ""
        while not limit or len(found) < limit:
            asked = {name: value for name, value in params.items() if value != ""}
            asked |= {"page_size": min(limit - len(found), _PAGE) if limit else _PAGE}
            page = self.get(path, **asked, **({"page_token": token} if token else {}))
            found += page[field]
            token = page.get("next_page_token") or ""
            if not token:
                break
        return found[:limit] if limit else found

    def get_text(self, path: str) -> str:
        """GET a text document under ``/v1``."""
        return self._call("GET", path).text

    def get_bytes(self, path: str) -> bytes:
        """GET a file under ``/v1``."""
        return self._call("GET", path).content

    def add_asset(self, kind: str, name: str, data: bytes) -> Json:
        """Keep a file; the same content gives the same asset."""
        headers = {"content-type": "application/octet-stream"}
        params = {"kind": kind, "name": name}
        body: Json = self._call("POST", "/assets", params=params, content=data, headers=headers).json()
        return body

    def post_file(self, path: str, data: bytes, params: Mapping[str, Any]) -> Json:
        """POST a file of JSON Lines, with query parameters."""
        headers = {"content-type": "application/x-ndjson"}
        body: Json = self._call("POST", path, params=dict(params), content=data, headers=headers).json()
        return body

    def download(self, path: str, write: Callable[[bytes], Any]) -> tuple[int, str, str]:
        """GET a file under ``/v1`` in parts; returns its size, its sha256, and the one that the server says.

        Waits up to ten minutes for the first part: some files are made when they are asked for.
        """
        with self._told():
            return self._client.http.download(path, write)

    def lines(self, path: str, **params: str | int) -> Iterator[str]:
        """Yield the lines of a text document under ``/v1`` as they come."""
        with self._told():
            yield from self._client.http.lines(path, params=params)

    def post_document(self, path: str, document: str, headers: Mapping[str, str] | None = None) -> Json:
        """POST a YAML document."""
        sent = {"content-type": "application/yaml", **(headers or {})}
        body: Json = self._call("POST", path, content=document.encode(), headers=sent).json()
        return body

    def post_json(self, path: str, body: Any) -> Any:
        """POST a JSON body under ``/v1`` and return the JSON answer."""
        return self._call("POST", path, json=body).json()

    def patch_json(self, path: str, body: Any) -> Any:
        """PATCH with a JSON body under ``/v1`` and return the JSON answer."""
        return self._call("PATCH", path, json=body).json()

    def delete(self, path: str) -> None:
        """DELETE what is there."""
        self._call("DELETE", path)

    def put_json(self, path: str, body: Any) -> Any:
        """PUT a JSON body under ``/v1`` and return the JSON answer."""
        return self._call("PUT", path, json=body).json()

    def post_json_for_text(self, path: str, body: Any) -> str:
        """POST JSON and return the text document that answers."""
        return self._call("POST", path, json=body).text

    def create_run(self, study: str, idempotency_key: str = "") -> Json:
        """Begin a run of a study (YAML text); the same key and study give the same run."""
        return self.post_document("/runs", study, {"idempotency-key": idempotency_key or str(uuid.uuid4())})

    def cancel_run(self, run_id: str) -> Json:
        """Ask a run to stop."""
        body: Json = self._call("POST", f"/runs/{quote(run_id)}/cancel").json()
        return body

    def steer_run(self, run_id: str, verb: str, **params: str) -> Json:
        """Pause, resume or retry a run."""
        body: Json = self._call("POST", f"/runs/{quote(run_id)}/{verb}", params=params).json()
        return body

    def runs(self, *, status: str = "", limit: int = 50, **filters: str) -> list[Json]:
        """Return up to ``limit`` runs, newest first, over as many pages as that takes."""
        return self.all("/runs", "runs", limit=limit, status=status, **filters)

    def run(self, run: str) -> Json:
        """Return a run by id; ``latest`` is the newest one."""
        if run != "latest":
            body: Json = self.get(f"/runs/{quote(run)}")
            return body
        newest = self.runs(limit=1)
        if not newest:
            raise CliError("There are no runs yet.", remedy="Start one: valign run demo", code="NOT_FOUND")
        return newest[0]

    def run_id(self, run: str) -> str:
        """Return the id that ``run`` names, asking the server only for ``latest``."""
        return str(self.run(run)["run_id"]) if run == "latest" else run

    def events(self, run_id: str, after: str = "") -> Iterator[Json]:
        """Yield a run's events (``number``, ``time``, ``kind``, ``data``) after number ``after``.

        Ends when the server closes the stream. Raises ``UnreachableError`` when the
        connection is lost: call again with the last number seen.
        """
        with self._told():
            for event in self._client.http.events(f"/runs/{quote(run_id)}/events", after):
                yield as_event(event.event, event.data, event.id)

    def _call(self, method: str, path: str, **options: Any) -> "httpx.Response":
        with self._told():
            return self._client.request(method, path, **options)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """The client's errors as those of a command."""
        from services.client import errors

        try:
            yield
        except errors.UnreachableError as error:
            raise UnreachableError(self.url, error.reason) from error
        except errors.ApiError as error:
            raise ApiError(error.status, error.problem) from error
        except errors.UnexpectedAnswerError as error:
            body = {"title": "Unexpected answer", "status": error.status, "detail": str(error)}
            raise ApiError(error.status, body) from error


def as_event(kind: str, data: str, number: str) -> Json:
    """Return one event of a run from the fields of its server-sent event."""
    body = json.loads(data)
    if isinstance(body, dict) and "kind" in body and "data" in body:
        return {"number": number, **body}
    return {"number": number, "kind": kind, "data": body}


def _trusting(ca_file: Path) -> "ssl.SSLContext":
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise CliError(
            f"VALIGN_CA_FILE names {ca_file}, which cannot be read as PEM certificates: {error}"
        ) from error
