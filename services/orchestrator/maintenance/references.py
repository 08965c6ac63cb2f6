"""Every artifact that the database speaks of, and whether it is still what it was."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from services.common.artifacts import MANIFEST_NAME, ArtifactStore, Manifest
from services.common.errors import NotFoundError, ValignError
from services.orchestrator.store.tables import assets, run_values, runs
from services.orchestrator.store.tables_operations import adapters


@dataclass(frozen=True, slots=True)
class Reference:
    """An artifact and who speaks of it; ``sha256`` is empty where only the place is known."""

    owner: str
    uri: str
    sha256: str = ""
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a reference: "missing" or "damaged", and in words."""

    reference: Reference
    kind: str
    reason: str


def references(engine: sa.Engine, artifacts: ArtifactStore) -> Iterator[Reference]:
    """Reports, stored results, assets, and adapters whose files were not pruned."""
    with engine.connect() as connection:
        for run_id, report, html in connection.execute(
            sa.select(runs.c.run_id, runs.c.report_uri, runs.c.report_html_uri).order_by(runs.c.run_id)
        ):
            yield from (Reference(f"run {run_id}", uri) for uri in (report, html) if uri)
        for run_id, value in connection.execute(
            sa.select(run_values.c.run_id, run_values.c.value).order_by(
                run_values.c.run_id, run_values.c.value_key
            )
        ):
            yield from (Reference(f"run {run_id}", uri, sha256) for uri, sha256 in _places(value))
        for (sha256,) in connection.execute(sa.select(assets.c.sha256).order_by(assets.c.sha256)):
            yield Reference(f"asset {sha256[:12]}", artifacts.uri(f"assets/{sha256}"), sha256)
        kept = adapters.c.prune_time.is_(None)
        for name, uri, sha256 in connection.execute(
            sa.select(adapters.c.name, adapters.c.uri, adapters.c.sha256)
            .where(kept)
            .order_by(adapters.c.name)
        ):
            yield Reference(f"adapter {name}", uri, sha256, folder=True)


def check(engine: sa.Engine, artifacts: ArtifactStore) -> tuple[int, list[Finding]]:
    """How many artifacts were read whole, and what is wrong with the others."""
    sound, findings, seen = 0, [], set()
    for reference in references(engine, artifacts):
        if (reference.uri, reference.sha256) in seen:
            continue
        seen.add((reference.uri, reference.sha256))
        try:
            _read(artifacts, reference)
        except NotFoundError as error:
            findings.append(Finding(reference, "missing", error.message))
        except ValignError as error:
            findings.append(Finding(reference, "damaged", error.message))
        else:
            sound += 1
    return sound, findings


def _read(artifacts: ArtifactStore, reference: Reference) -> None:
    if not reference.folder:
        artifacts.get_bytes(reference.uri, reference.sha256 or None)
        return
    raw = artifacts.get_bytes(f"{reference.uri}/{MANIFEST_NAME}", reference.sha256)
    for name, sha256 in Manifest.from_bytes(raw).files.items():
        artifacts.get_bytes(f"{reference.uri}/{name}", sha256)


def _places(value: Any) -> Iterator[tuple[str, str]]:
    """(uri, sha256) of every pair in nested JSON data."""
    if isinstance(value, Mapping):
        uri, sha256 = value.get("uri"), value.get("sha256")
        if isinstance(uri, str) and isinstance(sha256, str) and "://" in uri:
            yield uri, sha256
            return
        for item in value.values():
            yield from _places(item)
    elif isinstance(value, list):
        for item in value:
            yield from _places(item)
