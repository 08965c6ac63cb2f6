"""``SqlAssetStore``: the ``AssetStore`` port on SQLAlchemy Core."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from services.common.errors import NotFoundError
from services.orchestrator.assets import AssetKind, AssetRecord
from services.orchestrator.listing import Page
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.engine import insert_or_ignore
from services.orchestrator.store.paging import read_page
from services.orchestrator.store.tables import assets


class SqlAssetStore:
    """Which assets there are, in the database of the runs; their bytes lie in the artifact store."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add_asset(
        self, record: AssetRecord, action: str = "asset.add", details: Mapping[str, Any] | None = None
    ) -> AssetRecord:
        """Insert, with an entry of the audit log; what is stored already under the sha256 stays."""
        row = {**asdict(record), "kind": record.kind.value}
        with self._engine.begin() as connection:
            added = insert_or_ignore(connection, assets, [row])
            stored = _read(connection, record.sha256)
            if added:
                told = {"kind": record.kind.value, "name": record.name, "size_bytes": record.size_bytes}
                append_audit(connection, action, "asset", record.sha256, {**told, **(details or {})})
            return stored

    def get_asset(self, sha256: str) -> AssetRecord:
        """NotFoundError if there is none."""
        with self._engine.connect() as connection:
            return _read(connection, sha256)

    def list_assets(self, kind: AssetKind | None = None) -> list[AssetRecord]:
        """Newest first."""
        query = sa.select(assets).order_by(assets.c.create_time.desc(), assets.c.sha256)
        if kind is not None:
            query = query.where(assets.c.kind == kind.value)
        with self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(query)]

    def asset_page(self, kind: AssetKind | None, page: Page) -> tuple[list[AssetRecord], str]:
        """A page of them, and the next page's token ("" on the last)."""
        query = sa.select(assets)
        if kind is not None:
            query = query.where(assets.c.kind == kind.value)
        with self._engine.connect() as connection:
            by = (assets.c.create_time, assets.c.sha256)
            return read_page(connection, query, by, page, {"kind": kind}, _record)


def _read(connection: sa.Connection, sha256: str) -> AssetRecord:
    # PostgreSQL refuses a text with NUL in it; no such text is a hash.
    row = None
    if sha256.isalnum():
        row = connection.execute(sa.select(assets).where(assets.c.sha256 == sha256)).first()
    if row is None:
        raise NotFoundError(f"there is no asset {sha256[:80]!r}; an asset is named by its sha256")
    return _record(row)


def _record(row: sa.Row[Any]) -> AssetRecord:
    columns = dict(row._mapping)
    return AssetRecord(**{**columns, "kind": AssetKind(columns["kind"])})
