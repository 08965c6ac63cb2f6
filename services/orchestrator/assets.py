"""Assets: files of a user's that studies name by their sha256 (docs/adr/0014-assets-by-content-hash.md).

An asset is checked by its kind when it comes in, lies in the artifact store under its hash, and is never
changed or replaced. A study that names one can therefore be repeated exactly.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from services.common.artifacts import Artifact, sha256_bytes
from services.common.errors import InvalidInputError, NotFoundError
from services.orchestrator.analysis.values.head import unpack_head
from services.orchestrator.analysis.values.record import unpack_judge
from services.orchestrator.documents import fault, invalid_document
from services.orchestrator.listing import Page
from services.orchestrator.ruler import unpack
from services.orchestrator.tasks import parse_task

MAX_ASSET_BYTES = 64 * 1024 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class AssetKind(StrEnum):
    """What an asset is for."""

    TASK = "task"
    RULER = "ruler"
    VALUES_HEAD = "values-head"
    VALUES_AGREEMENT = "values-agreement"


@dataclass(frozen=True, slots=True)
class AssetRecord:
    """One asset. ``name`` is a label for people; two assets may bear the same."""

    sha256: str
    kind: AssetKind
    name: str
    size_bytes: int
    create_time: datetime


# Below, ``list`` is a method.
Assets = list[AssetRecord]


class AssetStore(Protocol):
    """Which assets there are. Synchronous, like ``RunStore``."""

    def add_asset(
        self, record: AssetRecord, action: str = "asset.add", details: Mapping[str, Any] | None = None
    ) -> AssetRecord:
        """Insert, and tell the audit log; what is stored already under the sha256 stays, and is returned."""
        ...

    def get_asset(self, sha256: str) -> AssetRecord:
        """NotFoundError if there is none."""
        ...

    def list_assets(self, kind: AssetKind | None = None) -> list[AssetRecord]:
        """Newest first."""
        ...

    def asset_page(self, kind: AssetKind | None, page: Page) -> tuple[list[AssetRecord], str]:
        """A page of them, and the next page's token ("" on the last)."""
        ...


class AssetFiles(Protocol):
    """Where assets' bytes lie: the artifact store."""

    def put_bytes(self, key: str, data: bytes) -> Artifact: ...
    def get_bytes(self, uri: str, sha256: str | None = None) -> bytes: ...
    def uri(self, key: str) -> str: ...


def read_asset(files: AssetFiles, sha256: str) -> bytes:
    """An asset's bytes. NotFoundError if there is none; PreconditionError if it is damaged."""
    return files.get_bytes(files.uri(_key(sha256)), sha256)


class AssetLibrary:
    """Assets as the API offers them."""

    def __init__(self, store: AssetStore, files: AssetFiles) -> None:
        self._store = store
        self._files = files

    async def put(
        self,
        kind: AssetKind | str,
        name: str,
        data: bytes,
        action: str = "asset.add",
        details: Mapping[str, Any] | None = None,
    ) -> AssetRecord:
        """Check and keep an asset. One that is there already stays, with the name it has.

        ``action`` and ``details`` tell the audit log where a new one comes from.
        InvalidInputError, with line numbers where the kind has lines, if the bytes are no asset of this kind.
        """
        wanted = asset_kind(kind)
        check_asset_name(name)
        if len(data) > MAX_ASSET_BYTES:
            raise InvalidInputError(f"the asset has {len(data)} bytes; at most {MAX_ASSET_BYTES} are kept")
        return await asyncio.to_thread(self._put, wanted, name, data, action, details)

    async def get(self, sha256: str) -> AssetRecord:
        """One asset's record. NotFoundError if there is none."""
        return await asyncio.to_thread(self._store.get_asset, sha256)

    async def content(self, sha256: str) -> bytes:
        """One asset's bytes, checked against their hash."""
        await self.get(sha256)
        return await asyncio.to_thread(read_asset, self._files, sha256)

    async def list(self, kind: AssetKind | str | None = None) -> Sequence[AssetRecord]:
        """All of them, or those of a kind; newest first."""
        return await asyncio.to_thread(self._store.list_assets, None if kind is None else asset_kind(kind))

    async def page(self, kind: AssetKind | str | None = None, page: Page | None = None) -> tuple[Assets, str]:
        """A page of all, or of those of a kind, newest first; and the next page's token ("" on the last)."""
        wanted = None if kind is None else asset_kind(kind)
        return await asyncio.to_thread(self._store.asset_page, wanted, (page or Page()).bounded())

    async def require(self, study: Mapping[str, Any]) -> None:
        """InvalidInputError that names each asset of a resolved study that is not here, and the remedy."""
        await asyncio.to_thread(self._require, study)

    def _put(
        self, kind: AssetKind, name: str, data: bytes, action: str, details: Mapping[str, Any] | None
    ) -> AssetRecord:
        _CHECKS[kind](data)
        digest = sha256_bytes(data)
        # The bytes first: a record always has its content.
        self._files.put_bytes(_key(digest), data)
        record = AssetRecord(digest, kind, name, len(data), datetime.now(UTC))
        return self._store.add_asset(record, action, details)

    def _require(self, study: Mapping[str, Any]) -> None:
        faults = []
        for path, kind, sha256, name in _named(study):
            called = f"{kind.value} '{name}'" if name else kind.value
            try:
                found = self._store.get_asset(sha256)
            except NotFoundError:
                message = (
                    f"the {called} with sha256 {sha256[:12]}… is not here; send its file with"
                    f" `valign assets add --kind {kind.value} FILE`"
                )
                faults.append(fault(None, None, path, message))
                continue
            if found.kind is not kind:
                message = f"the asset {sha256[:12]}… ('{found.name}') is a {found.kind.value}, not a {called}"
                faults.append(fault(None, None, path, message))
        if faults:
            raise invalid_document(faults)


def check_asset_name(name: str) -> None:
    """InvalidInputError for a label that cannot be one."""
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"an asset's name is 1 to 80 lower-case letters, digits, '.', '-' or '_', not {name[:80]!r}"
        )


def asset_kind(kind: str) -> AssetKind:
    """The kind of that name. InvalidInputError for an unknown one."""
    try:
        return AssetKind(kind)
    except ValueError:
        known = ", ".join(AssetKind)
        raise InvalidInputError(f"no kind of asset is called {kind[:80]!r}; there are: {known}") from None


def _named(study: Mapping[str, Any]) -> list[tuple[tuple[str | int, ...], AssetKind, str, str]]:
    """(path, kind, sha256, name) of every asset that a resolved study names."""
    found: list[tuple[tuple[str | int, ...], AssetKind, str, str]] = []
    for place, task in enumerate(study.get("guards", {}).get("tasks", ())):
        found.append((("guards", "tasks", place, "sha256"), AssetKind.TASK, task["sha256"], task["name"]))
    if study.get("ruler"):
        found.append((("ruler",), AssetKind.RULER, study["ruler"], ""))
    values = study.get("values", {})
    if values.get("head"):
        found.append((("values", "head"), AssetKind.VALUES_HEAD, values["head"], ""))
    if values.get("agreement"):
        found.append((("values", "agreement"), AssetKind.VALUES_AGREEMENT, values["agreement"], ""))
    return found


def _key(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise NotFoundError(f"there is no asset {sha256[:80]!r}; an asset is named by its sha256")
    return f"assets/{sha256}"


def _as_input(unpack_file: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """A check of the analysis, which knows no errors of ours."""

    def check(data: bytes) -> object:
        try:
            return unpack_file(data)
        except ValueError as error:
            raise InvalidInputError(str(error)) from error

    return check


_CHECKS: Mapping[AssetKind, Callable[[bytes], object]] = {
    AssetKind.TASK: parse_task,
    AssetKind.RULER: unpack,
    AssetKind.VALUES_HEAD: _as_input(unpack_head),
    AssetKind.VALUES_AGREEMENT: _as_input(unpack_judge),
}
