"""The orchestrator's REST API as calls. It maps errors and knows paths, and holds no logic."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from services.cli.errors import ApiError, CliError, UnreachableError
from services.cli.sse import read_events, split_lines

if TYPE_CHECKING:
    import ssl

    import httpx

ENDED = ("succeeded", "failed", "cancelled")
Json = dict[str, Any]


class Api:
    """A connection to one orchestrator.

    Raises ``ApiError`` for an error answer, ``UnreachableError`` when nothing answers.
    """

    def __init__(self, url: str, timeout_s: float, *, api_key: str = "", ca_file: Path | None = None) -> None:
        """``api_key`` goes with every request; ``ca_file`` (PEM) is trusted, and no public authority.

        CliError: a key or file that cannot be used.
        """
        import httpx

        self.url = url
        # trust_env=False for this machine: a proxy set for the outside must not catch these calls
        local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        if not api_key.isascii() or not api_key.isprintable():
            raise CliError("VALIGN_API_KEY holds characters that no key has.", code="UNAUTHENTICATED")
        if api_key and url.startswith("http://") and not local:
            raise CliError(
                f"{url} is not https, and VALIGN_API_KEY would be sent where others can read it.",
                remedy="Use https://; or reach it through a tunnel to this machine; or unset VALIGN_API_KEY.",
            )
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout_s,
            trust_env=not local,
            headers={"authorization": f"Bearer {api_key}"} if api_key else None,
            verify=_trusting(ca_file) if ca_file else True,
        )

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **params: str | int) -> Any:
        """GET a JSON document under ``/v1``."""
        return self._call("GET", path, params=params).json()

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
        import httpx

        digest, size_bytes = hashlib.sha256(), 0
        timeout = httpx.Timeout(10.0, read=600.0)
        try:
            with self._http.stream("GET", f"/v1{path}", timeout=timeout) as response:
                self._raise_for(response, response.read)
                for part in response.iter_bytes():
                    write(part)
                    digest.update(part)
                    size_bytes += len(part)
                told = response.headers.get("etag", "").strip('"')
        except httpx.TransportError as error:
            raise UnreachableError(self.url, _reason(error)) from error
        return size_bytes, digest.hexdigest(), told

    def lines(self, path: str, **params: int) -> Iterator[str]:
        """Yield the lines of a text document under ``/v1`` as they come."""
        import httpx

        timeout = httpx.Timeout(10.0, read=60.0)
        try:
            with self._http.stream("GET", f"/v1{path}", params=params, timeout=timeout) as response:
                self._raise_for(response, response.read)
                yield from response.iter_lines()
        except httpx.TransportError as error:
            raise UnreachableError(self.url, _reason(error)) from error

    def post_document(self, path: str, document: str, headers: Mapping[str, str] | None = None) -> Json:
        """POST a YAML document."""
        sent = {"content-type": "application/yaml", **(headers or {})}
        body: Json = self._call("POST", path, content=document.encode(), headers=sent).json()
        return body

    def post_json(self, path: str, body: Any) -> Any:
        """POST a JSON body under ``/v1`` and return the JSON answer."""
        return self._call("POST", path, json=body).json()

    def put_json(self, path: str, body: Any) -> Any:
        """PUT a JSON body under ``/v1`` and return the JSON answer."""
        return self._call("PUT", path, json=body).json()

    def post_json_for_text(self, path: str, body: Any) -> str:
        """POST JSON and return the text document that answers."""
        return self._call("POST", path, json=body).text

    def create_run(self, study: str, idempotency_key: str) -> Json:
        """Begin a run of a study (YAML text); the same key and study give the same run."""
        return self.post_document("/runs", study, {"idempotency-key": idempotency_key})

    def cancel_run(self, run_id: str) -> Json:
        """Ask a run to stop."""
        body: Json = self._call("POST", f"/runs/{quote(run_id)}/cancel").json()
        return body

    def steer_run(self, run_id: str, verb: str, **params: str) -> Json:
        """Pause, resume or retry a run."""
        body: Json = self._call("POST", f"/runs/{quote(run_id)}/{verb}", params=params).json()
        return body

    def runs(self, *, status: str = "", limit: int = 50) -> list[Json]:
        """Return up to ``limit`` runs, newest first, over as many pages as that takes."""
        found: list[Json] = []
        token = ""
        while len(found) < limit:
            params: dict[str, str | int] = {"page_size": min(limit - len(found), 200)}
            params |= {"status": status} if status else {}
            params |= {"page_token": token} if token else {}
            page = self.get("/runs", **params)
            found += page["runs"]
            token = page.get("next_page_token") or ""
            if not token:
                break
        return found[:limit]

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
        import httpx

        headers = {"accept": "text/event-stream"} | ({"last-event-id": after} if after else {})
        # The server sends a comment every few seconds; a minute's silence is a dead connection.
        timeout = httpx.Timeout(10.0, read=60.0)
        path = f"/v1/runs/{quote(run_id)}/events"
        try:
            with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
                self._raise_for(response, response.read)
                for event in read_events(split_lines(response.iter_text())):
                    yield as_event(event.event, event.data, event.id)
        except httpx.TransportError as error:
            raise UnreachableError(self.url, _reason(error)) from error

    def _call(self, method: str, path: str, **options: Any) -> "httpx.Response":
        import httpx

        try:
            response = self._http.request(method, f"/v1{path}", **options)
        except httpx.TransportError as error:
            raise UnreachableError(self.url, _reason(error)) from error
        self._raise_for(response, lambda: response.content)
        return response

    @staticmethod
    def _raise_for(response: "httpx.Response", read: Callable[[], bytes]) -> None:
        if response.is_success:
            return
        raw = read()
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if not isinstance(body, dict) or not ("detail" in body or "title" in body):
            text = raw[:200].decode(errors="replace")
            detail = f"{response.request.url} answered {response.status_code}: {text}"
            body = {"title": "Unexpected answer", "status": response.status_code, "detail": detail}
        raise ApiError(response.status_code, body)


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


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
