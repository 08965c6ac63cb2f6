"""One attempt: a POST to a webhook's receiver, with a signature, and what came of it.

The connection goes to an address that was checked just before, under the certificate of the URL's host. No
proxy of the environment is used and no redirect followed: both would reach what was not checked.
"""

import asyncio
import ipaddress
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version

import httpx

from services.common.errors import ValignError
from services.common.redact import redact
from services.orchestrator.webhooks.addresses import RefusedAddressError, Resolve, checked, resolve
from services.orchestrator.webhooks.cloud_event import CONTENT_TYPE, body_of
from services.orchestrator.webhooks.records import Attempt, Delivery, Webhook
from services.orchestrator.webhooks.rules import UrlRules, host_of
from services.orchestrator.webhooks.signing import SecretBox, sign

MAX_ANSWER_BYTES = 4096
MAX_ANSWER_CHARACTERS = 1000
MAX_ERROR_CHARACTERS = 500
_GONE = 410


class Sender:
    """Sends deliveries, each over a connection of its own.

    Args:
        secrets: finds the keys that sign.
        rules: which hosts may be private, or spoken to without TLS.
        public_url: of this installation; the events' source.
        timeout_s: of an attempt as a whole.
        lookup: names to addresses.
        trust: certificates of authorities; None for those of the system.
    """

    def __init__(
        self,
        secrets: SecretBox,
        rules: UrlRules,
        public_url: str = "",
        timeout_s: float = 10.0,
        *,
        lookup: Resolve = resolve,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._secrets = secrets
        self._rules = rules
        self._public_url = public_url
        self._timeout_s = timeout_s
        self._lookup = lookup
        self._trust = trust

    async def send(self, webhook: Webhook, delivery: Delivery) -> Attempt:
        """One attempt; whatever goes wrong is in the result."""
        try:
            self._rules.check(webhook.url)
            async with asyncio.timeout(self._timeout_s):
                return await self._post(webhook, delivery)
        except TimeoutError:
            return Attempt(error=f"no answer within {self._timeout_s:g} s")
        except ValignError as error:
            return Attempt(error=_error(error.message))
        except RefusedAddressError as error:
            return Attempt(error=_error(f"not sent: {error}"))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            kind = type(error).__name__
            return Attempt(error=_error(f"{host_of(webhook.url)}: {error}" if str(error) else kind))

    async def _post(self, webhook: Webhook, delivery: Delivery) -> Attempt:
        url = httpx.URL(webhook.url)
        host = url.raw_host.decode("ascii").rstrip(".")
        port = url.port or (443 if url.scheme == "https" else 80)
        found = await self._lookup(host, port)
        address = checked(host, found, trusted=self._rules.trusts(webhook.url))[0]
        body = body_of(delivery, self._public_url)
        headers = {**self._headers(webhook, delivery, body), "host": url.netloc.decode("ascii")}
        # The name is for the certificate; a literal address is checked as one.
        names = {} if _is_address(host) else {"sni_hostname": host}
        if self._trust is None:
            self._trust = await asyncio.to_thread(ssl.create_default_context)
        async with (
            httpx.AsyncClient(verify=self._trust, trust_env=False, timeout=self._timeout_s) as client,
            client.stream(
                "POST", url.copy_with(host=address), content=body, headers=headers, extensions=names
            ) as response,
        ):
            return await _outcome(response)

    def _headers(self, webhook: Webhook, delivery: Delivery, body: bytes) -> dict[str, str]:
        seeds = [webhook.seed]
        if webhook.former_seed and webhook.former_until and datetime.now(UTC) < webhook.former_until:
            seeds.append(webhook.former_seed)
        now = int(time.time())
        keys = [self._secrets.key_of(seed) for seed in seeds]
        return {
            "content-type": CONTENT_TYPE,
            "user-agent": f"valign/{_version()}",
            "webhook-id": delivery.event_id,
            "webhook-timestamp": str(now),
            "webhook-signature": sign(keys, delivery.event_id, now, body),
        }


async def _outcome(response: httpx.Response) -> Attempt:
    status = response.status_code
    if response.is_success:
        # Its body is nothing that anybody needs.
        return Attempt(status=status)
    answer = await _beginning(response)
    match status:
        case 410:
            error = "the receiver answered 410 (Gone)"
        case _ if response.is_redirect:
            error = f"the receiver answered {status}: redirects are not followed; name its new URL"
        case _:
            error = f"the receiver answered {status}"
    return Attempt(status, error, answer, status == _GONE, retry_after_s(response.headers.get("retry-after")))


async def _beginning(response: httpx.Response) -> str:
    held = b""
    try:
        # Raw: a small body that unpacks to a large one must not be unpacked.
        async for part in response.aiter_raw(1024):
            held += part
            if len(held) >= MAX_ANSWER_BYTES:
                break
    except httpx.HTTPError as error:
        held += f" (cut: {type(error).__name__})".encode()
    if response.headers.get("content-encoding", "identity") != "identity":
        return "(an encoded body)"
    text = held[:MAX_ANSWER_BYTES].decode("utf-8", "replace")
    shown = "".join(
        character if character.isprintable() or character == "\n" else "\ufffd" for character in text
    )
    return redact(shown)[:MAX_ANSWER_CHARACTERS]


def retry_after_s(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a header Retry-After asks for (RFC 9110 section 10.2.3); None for none, or nonsense."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        return None
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _error(text: str) -> str:
    return redact(text)[:MAX_ERROR_CHARACTERS]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _version() -> str:
    try:
        return version("valign")
    except PackageNotFoundError:
        return "0+unknown"
