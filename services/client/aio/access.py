"""API keys, the audit log, and who the caller is."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from urllib.parse import quote

from services.client.aio.transport import AsyncTransport
from services.client.models import ApiKey, AuditEntry, AuditVerdict, CreatedApiKey
from services.client.settings import asked


class AsyncApiKeys:
    """``client.api_keys``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._http = transport

    async def create(self, name: str, scopes: Sequence[str], lifetime_s: int = 0) -> CreatedApiKey:
        """Make a key (0: for 90 days). Its secret is in this answer and nowhere else."""
        body = {"name": name, "scopes": list(scopes), "lifetime_s": lifetime_s}
        # No second attempt: its answer is not kept, so that a repetition could only be refused.
        answer = await self._http.json("POST", "/api-keys", json=body)
        return CreatedApiKey.model_validate(answer)

    async def list(self) -> AsyncIterator[ApiKey]:
        """The keys, without their secrets, newest first."""
        token = ""
        while True:
            body = await self._http.json("GET", "/api-keys", params=asked({"page_token": token}))
            for one in body["api_keys"]:
                yield ApiKey.model_validate(one)
            token = body.get("next_page_token", "")
            if not token:
                return

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key at once."""
        path = f"/api-keys/{quote(key_id, safe='')}/revoke"
        return ApiKey.model_validate(await self._http.json("POST", path))


class AsyncAuditLog:
    """``client.audit_log``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._http = transport

    async def entries(
        self,
        *,
        after: int = 0,
        limit: int = 0,
        actor: str = "",
        action: str = "",
        target_kind: str = "",
        target: str = "",
        time_after: datetime | None = None,
        time_before: datetime | None = None,
    ) -> AsyncIterator[AuditEntry]:
        """Entries in order, as they are read; with a filter the numbers have gaps."""
        params = asked({name: value for name, value in locals().items() if name != "self"})
        async for line in self._http.lines("/audit-log", params=params):
            if line:
                yield AuditEntry.model_validate_json(line)

    async def verify(self, *, known_sequence: int = 0, known_sha256: str = "") -> AuditVerdict:
        """Whether its chain holds; a broken one is an answer, not an error."""
        params = asked({"known_sequence": known_sequence, "known_sha256": known_sha256})
        return AuditVerdict.model_validate(await self._http.json("GET", "/audit-log/verify", params=params))
