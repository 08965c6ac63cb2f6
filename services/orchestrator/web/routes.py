"""The page's two routes. They are open: the files hold no data, and every call that they make is guarded."""

from fastapi import APIRouter, Request, Response

from services.common.errors import NotFoundError
from services.orchestrator.web.files import FRAME, WebFile, web_files

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Where a report is shown: a page of no origin, which can reach nothing. Its only script is the file that puts
# the report in; the report's own styles are inline.
FRAME_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "vary": "accept-encoding",
}
_REVALIDATE = "no-cache"
_FOREVER = "public, max-age=31536000, immutable"


def router(credentials_required: bool) -> APIRouter:
    """``/`` and ``/web/<version>/<file>``; not part of the API, so not in its description."""
    routes = APIRouter(include_in_schema=False)

    @routes.api_route("/", methods=["GET", "HEAD"], operation_id="getWebPage")
    async def get_web_page(request: Request) -> Response:
        """The first page. It is asked for each time, and answered with 304 while it is the same."""
        return _answer(request, web_files(credentials_required).first, _REVALIDATE, PAGE_POLICY)

    @routes.api_route("/web/{version}/{name:path}", methods=["GET", "HEAD"], operation_id="getWebFile")
    async def get_web_file(request: Request, version: str, name: str) -> Response:
        """One file of the list; whatever else is asked for is not there."""
        known = web_files(credentials_required)
        found = known.files.get(name) if version == known.version else None
        if found is None:
            raise NotFoundError(
                f"there is no file {name[:80]!r} of version {version[:40]!r}; the page is now of version"
                f" {known.version}: load it again"
            )
        return _answer(request, found, _FOREVER, FRAME_POLICY if name == FRAME else PAGE_POLICY)

    return routes


def _answer(request: Request, file: WebFile, caching: str, policy: str) -> Response:
    packed = _takes_gzip(request.headers.get("accept-encoding", ""))
    etag = file.packed_etag if packed else file.etag
    headers = {**_HEADERS, "cache-control": caching, "content-security-policy": policy, "etag": etag}
    known = request.headers.get("if-none-match", "").split(",")
    if etag in {part.strip().removeprefix("W/") for part in known}:
        return Response(status_code=304, headers=headers)
    if packed:
        headers["content-encoding"] = "gzip"
    body = file.packed if packed else file.body
    if request.method == "HEAD":
        return Response(headers={**headers, "content-length": str(len(body))}, media_type=file.media_type)
    return Response(body, headers=headers, media_type=file.media_type)


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding (RFC 9110, section 12.5.3) names gzip and does not forbid it."""
    for part in accepted.lower().split(","):
        name, _, parameters = part.partition(";")
        if name.strip() == "gzip":
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
