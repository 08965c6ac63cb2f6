"""Looking after reference sets: what changed between two versions, and whose review is overdue."""

import asyncio
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.common.errors import PreconditionError
from services.orchestrator import catalogue
from services.orchestrator.documents import MAX_DOCUMENT_BYTES, parse_document
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.domain.reference_diff import Change, ReferenceDiff, diff_reference_sets
from services.orchestrator.ports import RunRecord, RunStore
from services.orchestrator.schemas import ReferenceSetDocument, Slug


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ReferenceSource(_Section):
    """Where a version comes from: a packaged ``id``, the set that a run used, or a ``document`` (YAML)."""

    id: Slug | None = None
    run_id: Annotated[str, Field(max_length=64)] | None = None
    document: Annotated[str, Field(max_length=MAX_DOCUMENT_BYTES)] | None = None

    @model_validator(mode="after")
    def _one(self) -> "ReferenceSource":
        if sum(value is not None for value in (self.id, self.run_id, self.document)) != 1:
            raise ValueError("give exactly one of id, run_id and document")
        return self


class ReferenceDiffRequest(_Section):
    """Two versions to compare."""

    old: ReferenceSource
    new: ReferenceSource


class ChangeBody(_Section):
    """One change; ``old`` is null for what was added, ``new`` for what was removed."""

    what: str
    kind: str = Field(description="added, removed or changed.")
    old: str | None
    new: str | None

    @classmethod
    def of(cls, change: Change) -> "ChangeBody":
        """From the domain."""
        return cls(what=change.what, kind=change.kind, old=change.old, new=change.new)


class ReferenceDiffBody(_Section):
    """What changed between two versions of a reference set."""

    old: str = Field(description="Id and version of the older one.")
    new: str = Field(description="Id and version of the newer one.")
    measures_differently: bool = Field(description="True if runs with the two cannot be compared.")
    governance: tuple[ChangeBody, ...]
    principles: tuple[ChangeBody, ...]
    topics: tuple[ChangeBody, ...]
    note: str = ""
    warnings: tuple[str, ...] = Field(default=(), description="Reviews that are overdue.")


def review_warnings(reference_set: ReferenceSet, today: date | None = None) -> tuple[str, ...]:
    """A warning if the set is past its review date. ``today`` is UTC's, unless given."""
    warning = reference_set.overdue_review(today or datetime.now(UTC).date())
    return (warning,) if warning else ()


class Governance:
    """Questions about versions of reference sets."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    async def diff(self, text: str | bytes) -> ReferenceDiffBody:
        """Compare the two versions that the request (YAML or JSON) names."""
        request = await asyncio.to_thread(parse_document, text, ReferenceDiffRequest)
        # One after the other: what is told of two faults is always the first.
        old = await self._find(request.old)
        new = await self._find(request.new)
        found = diff_reference_sets(old, new)
        return _body(old, new, found)

    async def _find(self, source: ReferenceSource) -> ReferenceSet:
        if source.id is not None:
            return await asyncio.to_thread(catalogue.load_reference_set, source.id)
        if source.run_id is not None:
            run = await asyncio.to_thread(self._store.get_run, source.run_id)
            return _of_run(run)
        document = await asyncio.to_thread(parse_document, source.document or "", ReferenceSetDocument)
        return document.to_domain()


def _of_run(run: RunRecord) -> ReferenceSet:
    """A run stores its set in full. PreconditionError if this version cannot read it."""
    try:
        return ReferenceSetDocument.model_validate(run.study["reference_set"]).to_domain()
    except (KeyError, ValidationError) as error:
        raise PreconditionError(
            f"the reference set of run {run.run_id} cannot be read by this version of valign: "
            "give the set's id or its document instead"
        ) from error


def _body(old: ReferenceSet, new: ReferenceSet, found: ReferenceDiff) -> ReferenceDiffBody:
    return ReferenceDiffBody(
        old=f"{old.id} {old.version}",
        new=f"{new.id} {new.version}",
        measures_differently=found.measures_differently,
        governance=tuple(ChangeBody.of(change) for change in found.governance),
        principles=tuple(ChangeBody.of(change) for change in found.principles),
        topics=tuple(ChangeBody.of(change) for change in found.topics),
        note=found.note,
        warnings=tuple(dict.fromkeys((*review_warnings(old), *review_warnings(new)))),
    )
