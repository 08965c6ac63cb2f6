"""Writing a bundle: everything of a run that its report rests on, and what computes it again.

Entries are not compressed, bear a fixed date and come in order of their names, so that one run gives one
bundle: its sha256 can be told to others.
"""

import hashlib
import io
import json
import platform
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import IO, Any, Final

from pydantic import ValidationError

from services.common.artifacts import ArtifactStore
from services.common.errors import NotFoundError, PreconditionError
from services.orchestrator.analysis.archives import dump_json, dump_jsonl, read_json, zip_entry
from services.orchestrator.analysis.evidence import ArmKind, text_sha256
from services.orchestrator.audit import texts
from services.orchestrator.audit.checking import COMPLETIONS, FACTS, PROMPTS, REVIEW
from services.orchestrator.audit.files import FORMAT, FORMAT_VERSION, MANIFEST
from services.orchestrator.audit.keeping import keep
from services.orchestrator.audit.prompts import prompt_lines
from services.orchestrator.audit.record import Completion, by_arm, read_sets
from services.orchestrator.audit.sources import LIBRARIES, source_files
from services.orchestrator.ports import RunRecord, RunStore
from services.orchestrator.report.html import render_html
from services.orchestrator.report.schema import Report
from services.orchestrator.report_files import read_report_file

_CHUNK_BYTES: Final = 1 << 20
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")
Content = bytes | Iterable[bytes]


def evidence_key(run_id: str) -> str:
    """Where a run's evidence lies in the artifact store."""
    return f"runs/{run_id}/evidence.zip"


def write_bundle(
    path: Path,
    run: RunRecord,
    store: RunStore,
    artifacts: ArtifactStore,
    render: Callable[[Report], str] = render_html,
) -> str:
    """Write the bundle of a run that has a report; returns its sha256.

    NotFoundError if the run has no report or no evidence, PreconditionError if the evidence in the store is
    not the one that the report names.
    """
    if not run.report_uri:
        raise NotFoundError(
            f"run {run.run_id} has no report yet; a bundle is made of a run that has succeeded"
        )
    report_json = read_report_file(store, artifacts, run, run.report_uri)
    report = read_report(run.run_id, report_json)
    evidence = _evidence(run, report, artifacts)
    completions = [Completion(**asdict(record)) for record in store.completions(run.run_id)]
    with zipfile.ZipFile(io.BytesIO(evidence)) as archive, path.open("wb") as file:
        study = read_json("study.json", archive.read("study.json"))
        entries: dict[str, Callable[[], Content]] = {
            FACTS: lambda: dump_json(FACTS, _facts(run, report, hashlib.sha256(evidence).hexdigest())),
            COMPLETIONS: lambda: dump_jsonl(COMPLETIONS, _lines(completions)),
            PROMPTS: lambda: dump_jsonl(PROMPTS, _prompts(study, completions)),
            "README.txt": lambda: texts.README.encode(),
            "recompute.py": lambda: texts.RECOMPUTE.encode(),
            "report.html": lambda: render(report).encode(),
            "report.json": lambda: report_json,
            "requirements.txt": lambda: requirements().encode(),
            "study.json": lambda: dump_json("study.json", study),
        }
        if report.human_review is not None:
            told = report.human_review
            entries[REVIEW] = lambda: artifacts.get_bytes(told.file, told.file_sha256)
        for name in archive.namelist():
            entries[f"evidence/{name}"] = partial(_parts, archive, name)
        for name, content in source_files():
            entries[f"source/{name}"] = partial(bytes, content)
        _write(file, ((name, entries[name]()) for name in sorted(entries)))
    with path.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def read_report(run_id: str, data: bytes) -> Report:
    """PreconditionError for a report that this version of valign cannot read."""
    try:
        return Report.model_validate_json(data)
    except ValidationError as error:
        raise PreconditionError(
            f"the report of run {run_id} was written by another version of valign and cannot be read:"
            f" {error.error_count()} faults; run its study again"
        ) from error


def requirements() -> str:
    """requirements.txt: the versions of the analysis's libraries, and of what they need, in this process."""
    found: dict[str, str] = {}
    waiting = list(LIBRARIES)
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = version(name)
        except PackageNotFoundError:
            continue  # an optional part that is not installed was not used either
        for line in requires(name) or ():
            if "extra ==" not in line and (match := _REQUIREMENT.match(line)):
                waiting.append(match[0])
    lines = [f"# Python {platform.python_version()}", *(f"{key}=={found[key]}" for key in sorted(found))]
    return "\n".join(lines) + "\n"


def _evidence(run: RunRecord, report: Report, artifacts: ArtifactStore) -> bytes:
    told = report.evidence
    uri = told.uri if told else artifacts.uri(evidence_key(run.run_id))
    if not artifacts.exists(uri):
        raise NotFoundError(
            f"run {run.run_id} has no evidence: it ran with a version of valign that kept none;"
            " run its study anew"
        )
    return artifacts.get_bytes(uri, told.sha256 if told else None)


def _facts(run: RunRecord, report: Report, evidence_sha256: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "run_id": run.run_id,
        "name": run.name,
        "identity": run.identity,
        "evidence_sha256": evidence_sha256,
        "valign_of_run": report.provenance.versions.get("valign", "unknown"),
        "valign": version("valign"),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "page_libraries": {name: version(name) for name in ("jinja2", "matplotlib")},
    }


def _lines(completions: Iterable[Completion]) -> Iterator[dict[str, Any]]:
    for completion in completions:
        yield {**asdict(completion), "sha256": text_sha256(completion.text)}


def _prompts(study: dict[str, Any], completions: list[Completion]) -> Iterator[dict[str, Any]]:
    drawn = by_arm(completions)[ArmKind.ORIGINAL.value]
    originals = keep(ArmKind.ORIGINAL.value, drawn, study["generation"]).sample(0)
    return prompt_lines(read_sets(study), completions, originals)


def _parts(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    with archive.open(name) as entry:
        while part := entry.read(_CHUNK_BYTES):
            yield part


def _write(file: IO[bytes], entries: Iterable[tuple[str, Content]]) -> None:
    """All entries, then the manifest with the sha256 of each."""
    digests: dict[str, str] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries:
            digest = hashlib.sha256()
            with archive.open(zip_entry(name), "w", force_zip64=True) as entry:
                for part in (content,) if isinstance(content, bytes) else content:
                    digest.update(part)
                    entry.write(part)
            digests[name] = digest.hexdigest()
        manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, "files": digests}
        archive.writestr(zip_entry(MANIFEST), json.dumps(manifest, indent=1).encode() + b"\n")
