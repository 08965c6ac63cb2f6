"""Runs whose bundle can be made: a synthetic evidence with the store and the report that belong to it."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from services.common.artifacts import ArtifactStore
from services.orchestrator.analysis.archives import zip_entry
from services.orchestrator.analysis.evidence import Evidence
from services.orchestrator.analysis.files import pack_evidence
from services.orchestrator.audit.build import evidence_key, write_bundle
from services.orchestrator.audit.expected import expected_report
from services.orchestrator.audit.files import MANIFEST
from services.orchestrator.audit.keeping import keep
from services.orchestrator.audit.record import Completion, by_arm
from services.orchestrator.ports import CompletionRecord, RunStatus
from services.orchestrator.report.schema import Report
from services.orchestrator.store.sql import SqlRunStore
from tests.fakes.orchestrator import migrated_store


@dataclass(frozen=True, slots=True)
class RunWorld:
    """One run that has succeeded, and what lies behind it."""

    run_id: str
    store: SqlRunStore
    artifacts: ArtifactStore
    report: Report
    evidence: Evidence


def make_run(folder: Path, evidence: Evidence) -> RunWorld:
    """A new store with a run of which ``evidence`` is the evidence."""
    store, _ = migrated_store(folder)
    return store_run(store, ArtifactStore(str(folder / "artifacts")), evidence)


def store_run(
    store: SqlRunStore, artifacts: ArtifactStore, evidence: Evidence, run_id: str = "r-1"
) -> RunWorld:
    """Store a run that has succeeded: a draw for each text of the evidence, and the report that it gives."""
    packed = artifacts.put_bytes(evidence_key(run_id), pack_evidence(evidence))
    store.create_run(run_id, evidence.study["name"], evidence.study)
    records = completions_of(evidence)
    store.add_completions(run_id, records)
    report = report_of(run_id, evidence, records, {"uri": packed.uri, "sha256": packed.sha256})
    stored = artifacts.put_bytes(f"runs/{run_id}/report.json", report.to_json().encode())
    page = artifacts.put_bytes(f"runs/{run_id}/report.html", b"<!doctype html>")
    store.update_run(
        run_id, status=RunStatus.SUCCEEDED, identity="i" * 64, report_uri=stored.uri, report_html_uri=page.uri
    )
    return RunWorld(run_id, store, artifacts, report, evidence)


def completions_of(evidence: Evidence) -> list[CompletionRecord]:
    """One draw for every text, with an unusable one before some of them."""
    arms = {arm.name: arm for arm in evidence.arms}
    most = evidence.study["generation"]["max_draws"]
    records = []
    for number, output in enumerate(evidence.outputs):
        arm, draw = arms[output.arm], output.sample * most
        place = (output.arm, output.topic_id, output.index)
        made_by = (arm.adapter, arm.adapter_sha256)
        if number % 7 == 0:
            records.append(CompletionRecord(*place, draw, "", "", "empty", "stop", 0, *made_by))
            draw += 1
        text = output.text
        records.append(CompletionRecord(*place, draw, text, text, "ok", "stop", len(text.split()), *made_by))
    return records


def report_of(
    run_id: str, evidence: Evidence, records: list[CompletionRecord], place: Mapping[str, str]
) -> Report:
    """The report that the evidence gives, with what only a run can tell made up."""
    completions = [Completion(**{name: getattr(r, name) for name in Completion.__slots__}) for r in records]
    generation = evidence.study["generation"]
    kept = {arm: keep(arm, rows, generation) for arm, rows in by_arm(completions).items()}
    told = {"counts": dict.fromkeys(kept), "evidence": place, "analysis": {}, "governance": {"steward": ""}}
    data = expected_report(run_id, evidence, place["sha256"], kept, told)
    return Report.model_validate(
        {
            "stop_reason": "measure_only",
            **data,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
            "base_model": "test-model",
            "encoder": "bag-of-words",
            "evidence": dict(place),
            "provenance": {
                "model_fingerprint": "m" * 64,
                "encoder_fingerprint": "e" * 64,
                "identity": "i" * 64,
                "versions": {"valign": "0.1.0"},
                **data["provenance"],
            },
            "timings_s": {"uncover": 1.5, "total": 1.5},
            "adapter": {"name": "r-1-i2-0badcafe", "sha256": "a" * 64, "uri": "file:///a/r-1-i2-0badcafe"}
            if data["best_iteration"]
            else None,
        }
    )


def bundle_of(world: RunWorld, path: Path, render: Callable[[Report], str] | None = None) -> str:
    """Write the run's bundle; the page is a stand-in unless ``render`` is given. Returns its sha256."""
    run = world.store.get_run(world.run_id)
    return write_bundle(path, run, world.store, world.artifacts, render or (lambda report: report.run_id))


def change(
    source: Path,
    target: Path,
    edits: Mapping[str, Callable[[bytes], bytes | None]],
    *,
    add: Mapping[str, bytes] | None = None,
    repair: bool = True,
) -> Path:
    """A copy of a bundle with some files edited (None drops one), the manifest repaired or left as it was."""
    with zipfile.ZipFile(source) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, edit in edits.items():
        edited = edit(files.pop(name))
        if edited is not None:
            files[name] = edited
    files |= add or {}
    if repair:
        manifest = json.loads(files[MANIFEST])
        manifest["files"] = {
            name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items()) if name != MANIFEST
        }
        files[MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(zip_entry(name), data)
    return target
