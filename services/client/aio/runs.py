"""Runs: begin, list, watch, steer, and what they found."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from services.client.aio.transport import AsyncTransport
from services.client.errors import NotFoundError, UnreachableError
from services.client.models import Event, Principle, Run, RunPage, RunStatus, Step, Verdict
from services.client.retrying import Retry
from services.client.settings import asked, if_match

_sleep = asyncio.sleep
_YAML = {"content-type": "application/yaml"}
_RECONNECT = Retry(first_s=0.5, longest_s=10.0)
GIVE_UP_AFTER_S = 300.0
"""A restarting orchestrator is back within seconds; minutes without it are a person's matter."""


class AsyncRuns:
    """``client.runs``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._http = transport

    async def create(self, study: str, *, idempotency_key: str = "") -> Run:
        """Begin a run of a study (YAML or JSON text).

        The same key and study give the same run, also days later; without a key each call begins one.
        """
        body = await self._http.json(
            "POST", "/runs", key=idempotency_key, content=study.encode(), headers=_YAML
        )
        return Run.model_validate(body)

    async def get(self, run_id: str) -> Run:
        """One run; NotFoundError if there is none."""
        return Run.model_validate(await self._http.json("GET", _path(run_id)))

    async def page(
        self,
        *,
        status: RunStatus | str = "",
        name: str = "",
        created_by: str = "",
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        reference_set: str = "",
        verdict: str = "",
        order_by: str = "",
        page_size: int = 50,
        page_token: str = "",
    ) -> RunPage:
        """One page of runs, newest first unless ``order_by`` is "create_time"."""
        params = asked({name: value for name, value in locals().items() if name != "self"})
        return RunPage.model_validate(await self._http.json("GET", "/runs", params=params))

    async def list(self, **filters: Any) -> AsyncIterator[Run]:
        """All runs that the filters of ``page`` let through, read page by page as they are asked for."""
        token = ""
        while True:
            page = await self.page(**filters, page_token=token)
            for run in page.runs:
                yield run
            token = page.next_page_token
            if not token:
                return

    async def cancel(self, run_id: str, *, etag: str = "") -> Run:
        """Ask a run to stop; PreconditionError if it is no more as the ``etag`` says."""
        return await self._steer(run_id, "cancel", etag)

    async def pause(self, run_id: str, *, etag: str = "") -> Run:
        """Stop a run where it is, and keep all that it has."""
        return await self._steer(run_id, "pause", etag)

    async def resume(self, run_id: str, *, etag: str = "") -> Run:
        """Let a paused run go on."""
        return await self._steer(run_id, "resume", etag)

    async def retry(
        self,
        run_id: str,
        *,
        from_step: str = "",
        max_tokens: float | None = None,
        max_training_steps: float | None = None,
        max_gpu_s: float | None = None,
        max_wall_s: float | None = None,
        etag: str = "",
    ) -> Run:
        """Open a run that has ended again, from a recorded step on ("": where it ended), with other limits of
        its budget where they are given."""
        limits = {
            "max_tokens": max_tokens,
            "max_training_steps": max_training_steps,
            "max_gpu_s": max_gpu_s,
            "max_wall_s": max_wall_s,
        }
        return await self._steer(run_id, "retry", etag, from_step=from_step, **limits)

    async def steps(self, run_id: str) -> Sequence[Step]:
        """The steps that a run has recorded, in order."""
        body = await self._http.json("GET", f"{_path(run_id)}/steps")
        return [Step.model_validate(one) for one in body["steps"]]

    async def events(self, run_id: str, after: int = 0) -> AsyncIterator[Event]:
        """A run's events after a number, over one connection: ends when the server closes it.

        UnreachableError if the connection is lost; call again with the last number seen, or use ``watch``.
        """
        async for event in self._http.events(f"{_path(run_id)}/events", str(after) if after else ""):
            yield Event.model_validate_json(event.data)

    async def watch(
        self,
        run_id: str,
        after: int = 0,
        *,
        give_up_after_s: float = GIVE_UP_AFTER_S,
        on_lost: Callable[[UnreachableError], Any] | None = None,
    ) -> AsyncIterator[Event]:
        """A run's events after a number until it has ended, over lost connections, each event once.

        ``on_lost`` is told of each connection that is lost. UnreachableError if nothing answers for
        ``give_up_after_s``; the run itself goes on.
        """
        lost_at_s: float | None = None
        attempt = 0
        while True:
            try:
                async for event in self.events(run_id, after):
                    lost_at_s, attempt = None, 0
                    after = event.number
                    yield event
                if (await self.get(run_id)).ended:
                    return
            except UnreachableError as error:
                now_s = time.monotonic()
                lost_at_s = now_s if lost_at_s is None else lost_at_s
                if now_s - lost_at_s >= give_up_after_s:
                    raise
                if on_lost is not None:
                    on_lost(error)
            attempt += 1
            await _sleep(_RECONNECT.wait_s(attempt, None))

    async def wait(self, run_id: str, on_event: Callable[[Event], Any] | None = None) -> Run:
        """The run once it has ended; ``on_event`` is told of each event meanwhile."""
        async for event in self.watch(run_id):
            if on_event is not None:
                on_event(event)
        return await self.get(run_id)

    async def report(self, run_id: str) -> dict[str, Any]:
        """report.json (docs/report.schema.json); NotFoundError until the run has succeeded."""
        report: dict[str, Any] = await self._http.json("GET", f"{_path(run_id)}/report")
        return report

    async def verdict(self, run_id: str) -> Verdict | None:
        """What the gate says; None for a run that only measured. NotFoundError until it has succeeded."""
        analysis = (await self.report(run_id)).get("analysis") or {}
        found = analysis.get("verdict")
        return None if found is None else Verdict.model_validate(found)

    async def report_html(self, run_id: str) -> str:
        """The report as one page that opens offline."""
        return (await self._http.request("GET", f"{_path(run_id)}/report.html")).text

    async def model_card(self, run_id: str) -> str:
        """README.md of the run's adapter."""
        return (await self._http.request("GET", f"{_path(run_id)}/model-card")).text

    async def bundle(self, run_id: str, write: Callable[[bytes], Any]) -> str:
        """Give the audit bundle (a zip) to ``write`` part by part; returns its sha256, which was checked."""
        return await self._http.checked_download(f"{_path(run_id)}/bundle", write)

    async def principles(self, run_id: str, *, arm: str = "", topic: str = "") -> Sequence[Principle]:
        """The usable principles that the run has drawn so far."""
        params = asked({"arm": arm, "topic": topic})
        body = await self._http.json("GET", f"{_path(run_id)}/principles", params=params)
        return [Principle.model_validate(one) for one in body["principles"]]

    async def compare(self, run_ids: Sequence[str]) -> dict[str, Any]:
        """Runs side by side; PreconditionError with every reason if they cannot be."""
        body = {"run_ids": list(run_ids)}
        found: dict[str, Any] = await self._http.json("POST", "/compare", json=body, changes=False)
        return found

    async def latest(self, **filters: Any) -> Run:
        """The newest run that the filters of ``page`` let through; NotFoundError if there is none."""
        page = await self.page(**filters, page_size=1)
        if not page.runs:
            raise NotFoundError(404, {"code": "NOT_FOUND", "detail": "there is no such run yet"})
        return page.runs[0]

    async def _steer(self, run_id: str, verb: str, etag: str, **params: Any) -> Run:
        path = f"{_path(run_id)}/{verb}"
        headers = if_match(etag)
        return Run.model_validate(await self._http.json("POST", path, params=asked(params), headers=headers))


def _path(run_id: str) -> str:
    return f"/runs/{quote(run_id, safe='')}"
