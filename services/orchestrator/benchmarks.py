"""Runs put side by side, and runs frozen as rulers: what the API offers of ``comparing`` and ``ruler``."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from services.common.errors import NotFoundError, PreconditionError
from services.orchestrator.analysis.evidence import Evidence
from services.orchestrator.analysis.files import unpack_evidence
from services.orchestrator.assets import AssetKind, AssetLibrary, AssetRecord, check_asset_name
from services.orchestrator.comparing import Comparison, compare
from services.orchestrator.listing import Page
from services.orchestrator.report.comparison import render_comparison
from services.orchestrator.report.schema import Report
from services.orchestrator.ruler import RulerFacts, freeze, pack, unpack


class Files(Protocol):
    """Where evidence lies."""

    def get_bytes(self, uri: str, sha256: str | None = None) -> bytes:
        """The bytes; NotFoundError if there are none, PreconditionError if they are damaged."""
        ...


@dataclass(frozen=True, slots=True)
class RulerRecord:
    """A ruler in the library, and what is in it."""

    asset: AssetRecord
    facts: RulerFacts


class Benchmarks:
    """Comparisons and rulers."""

    def __init__(
        self, report: Callable[[str], Awaitable[dict[str, Any]]], files: Files, assets: AssetLibrary
    ) -> None:
        """``report`` gives a run's report.json; NotFoundError without one."""
        self._report = report
        self._files = files
        self._assets = assets

    async def compare(self, run_ids: Sequence[str]) -> Comparison:
        """Runs side by side, in the order given.

        NotFoundError for a run without a report, InvalidInputError for too few or too many runs,
        PreconditionError, with every reason, for runs that cannot be compared.
        """
        reports = [await self._read(run_id) for run_id in dict.fromkeys(run_ids)]
        if len(reports) < len(run_ids):
            # One is given twice: ``compare`` says so.
            reports = [next(one for one in reports if one.run_id == run_id) for run_id in run_ids]
        return await asyncio.to_thread(self._compare, reports)

    async def compare_html(self, run_ids: Sequence[str]) -> str:
        """The same as one page that opens offline."""
        return await asyncio.to_thread(render_comparison, await self.compare(run_ids))

    async def freeze(self, run_id: str, name: str) -> RulerRecord:
        """Freeze a run that has succeeded as a ruler. Equal runs give the ruler that is there."""
        check_asset_name(name)
        report = await self._read(run_id)
        data, facts = await asyncio.to_thread(self._freeze, report, name)
        kept = await self._assets.put(AssetKind.RULER, name, data, "ruler.freeze", {"run_id": run_id})
        return RulerRecord(kept, facts)

    async def rulers(self) -> list[RulerRecord]:
        """All rulers, newest first."""
        found = await self._assets.list(AssetKind.RULER)
        return [RulerRecord(one, await self._facts(one.sha256)) for one in found]

    async def ruler_page(self, page: Page) -> tuple[list[RulerRecord], str]:
        """A page of rulers, newest first, and the next page's token ("" on the last)."""
        found, token = await self._assets.page(AssetKind.RULER, page)
        return [RulerRecord(one, await self._facts(one.sha256)) for one in found], token

    async def _facts(self, sha256: str) -> RulerFacts:
        data = await self._assets.content(sha256)
        return (await asyncio.to_thread(unpack, data)).facts

    async def _read(self, run_id: str) -> Report:
        data = await self._report(run_id)
        try:
            return Report.model_validate(data)
        except ValidationError as error:
            raise PreconditionError(
                f"the report of run {run_id} was written by another version of valign and cannot be read:"
                f" {error.error_count()} faults; run its study again"
            ) from error

    def _compare(self, reports: Sequence[Report]) -> Comparison:
        # Only what can be compared is worth the reading of its evidence.
        compare(reports)
        evidence = {one.run_id: self._evidence(one) for one in reports if one.evidence is not None}
        return compare(reports, evidence)

    def _freeze(self, report: Report, name: str) -> tuple[bytes, RulerFacts]:
        told = report.provenance
        evidence = self._evidence(report)
        try:
            ruler = freeze(
                evidence, name, report.run_id, told.identity, report.base_model, told.model_fingerprint
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise PreconditionError(
                f"run {report.run_id} left what no ruler can hold: {first['loc']}: {first['msg']};"
                " freeze another run"
            ) from error
        return pack(ruler), ruler.facts

    def _evidence(self, report: Report) -> Evidence:
        if report.evidence is None:
            raise PreconditionError(
                f"run {report.run_id} kept no evidence (report schema {report.schema_version}): run its study"
                " again"
            )
        try:
            return unpack_evidence(self._files.get_bytes(report.evidence.uri, report.evidence.sha256))
        except NotFoundError as error:
            raise NotFoundError(f"the evidence of run {report.run_id} is gone: {error.message}") from error
        except ValueError as error:
            raise PreconditionError(f"the evidence of run {report.run_id} is damaged: {error}") from error
