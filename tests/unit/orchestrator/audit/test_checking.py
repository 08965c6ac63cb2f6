"""Tampering: whatever is changed in a bundle, also with the manifest repaired, is found and named."""

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.orchestrator.analysis.evidence import text_sha256
from services.orchestrator.analysis.files import evidence_files, evidence_from_files, evidence_sha256
from services.orchestrator.audit.checking import Outcome, check_bundle
from services.orchestrator.audit.files import Below, ZipFiles
from services.orchestrator.audit.recompute import as_json, plain, table
from tests.bundles import change
from tests.unit.orchestrator.audit.conftest import Bundled

Edit = Callable[[bytes], bytes | None]


def _check(path: Path) -> Outcome:
    with path.open("rb") as file:
        return check_bundle(ZipFiles(file))


def _faults(outcome: Outcome) -> dict[str, list[str]]:
    return {check.id: check.faults for check in outcome.checks if check.faults}


@pytest.fixture
def tampered(bundled: Bundled, tmp_path: Path) -> Callable[..., dict[str, list[str]]]:
    """Faults by check of the bundle with edits."""

    def make(edits: Mapping[str, Edit], **options: Any) -> dict[str, list[str]]:
        return _faults(_check(change(bundled.path, tmp_path / "changed.zip", edits, **options)))

    return make


def _json(edit: Callable[[Any], None]) -> Edit:
    def apply(data: bytes) -> bytes:
        value = json.loads(data)
        edit(value)
        return json.dumps(value).encode()

    return apply


def _lines(number: int, edit: Callable[[Any], None]) -> Edit:
    def apply(data: bytes) -> bytes:
        lines = [json.loads(line) for line in data.split(b"\n")[:-1]]
        edit(lines[number])
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    return apply


def test_check_bundle_of_an_untouched_bundle_finds_nothing(bundled: Bundled) -> None:
    outcome = _check(bundled.path)
    assert _faults(outcome) == {}
    assert outcome.ok
    assert all(check.checked for check in outcome.checks)
    assert outcome.facts["run_id"] == "r-1"
    assert "FAULT" not in table(outcome)
    assert json.loads(json.dumps(as_json(outcome)))["ok"] is True


def test_check_bundle_with_a_changed_file_names_it(tampered: Any) -> None:
    faults = tampered({"README.txt": lambda data: data + b"!"}, repair=False)
    assert list(faults) == ["manifest"]
    assert faults["manifest"][0].startswith("README.txt: changed")


def test_check_bundle_with_a_missing_file_names_it(tampered: Any) -> None:
    assert tampered({"README.txt": lambda data: None}, repair=False) == {"manifest": ["README.txt: missing"]}


def test_check_bundle_with_an_extra_file_names_it(tampered: Any) -> None:
    faults = tampered({}, add={"evil.py": b"import os"}, repair=False)
    assert faults == {"manifest": ["evil.py: not in the manifest"]}


@pytest.mark.parametrize(
    "name", ["report.json", "completions.jsonl", "evidence/outputs.jsonl", "manifest.json"]
)
def test_check_bundle_without_a_needed_file_says_so(tampered: Any, name: str) -> None:
    faults = tampered({name: lambda data: None}, repair=name != "manifest.json")
    assert any("missing" in fault for found in faults.values() for fault in found)


@pytest.mark.parametrize(
    ("path", "edit"),
    [
        ("overall.reduction", lambda r: r["overall"].update(reduction=0.9)),
        ("topics[1].before", lambda r: r["topics"][1].update(before=r["topics"][1]["before"] * 1.001)),
        ("topics[0].rank", lambda r: r["topics"][0].update(rank=3 - r["topics"][0]["rank"])),
        ("iterations[1].validation_mean", lambda r: r["iterations"][1].update(validation_mean=0.1)),
        ("iterations[2].weights.topic-0", lambda r: r["iterations"][2]["weights"].update({"topic-0": 0.5})),
        ("best_iteration", lambda r: r.update(best_iteration=1)),
        ("counts.base_p3.redrawn", lambda r: r["counts"]["base_p3"].update(redrawn=0)),
        ("projection.points[0].x", lambda r: r["projection"]["points"][0].update(x=0.0)),
        ("moved[0].after", lambda r: r["moved"][0].update(after=0.0)),
        ("analysis.primary.reduction.low", lambda r: r["analysis"]["primary"]["reduction"].update(low=0.6)),
        ("analysis.primary.p_value", lambda r: r["analysis"]["primary"].update(p_value=0.001)),
        ("analysis.verdict.decision", lambda r: r["analysis"]["verdict"].update(decision="promote")),
        ("analysis.guards[1].status", lambda r: r["analysis"]["guards"][1].update(status="fail")),
        ("analysis.guards[6].measures[0].value", lambda r: _first_measure(r, 6).update(value=0.5)),
        ("analysis.matrix[0].mean.value", lambda r: r["analysis"]["matrix"][0]["mean"].update(value=0.1)),
        ("provenance.seeds.run", lambda r: r["provenance"]["seeds"].update(run=1)),
        (
            "provenance.reference_set.sha256",
            lambda r: r["provenance"]["reference_set"].update(sha256="0" * 64),
        ),
        ("governance.steward", lambda r: r["governance"].update(steward="the sender")),
    ],
)
def test_check_bundle_with_a_changed_number_and_a_repaired_manifest_names_it(
    tampered: Any, path: str, edit: Callable[[Any], None]
) -> None:
    faults = tampered({"report.json": _json(edit)})
    assert any(fault.startswith(f"report.json {path}: ") for fault in faults["numbers"]), faults


def _first_measure(report: Any, guard: int) -> Any:
    return report["analysis"]["guards"][guard]["measures"][0]


def test_check_bundle_with_a_removed_verdict_names_it(tampered: Any) -> None:
    faults = tampered({"report.json": _json(lambda report: report.update(analysis=None))})
    assert "report.json analysis: None, computed '(an object or a list)'" in faults["numbers"]


def test_check_bundle_with_a_number_that_nothing_gives_names_it(tampered: Any) -> None:
    faults = tampered({"report.json": _json(lambda report: report["overall"].update(bonus=0.99))})
    assert faults == {"numbers": ["report.json overall.bonus: nothing in the bundle gives this"]}


def test_check_bundle_with_a_changed_completion_finds_its_hash(tampered: Any) -> None:
    faults = tampered({"completions.jsonl": _lines(3, lambda line: line.update(text="Something else."))})
    assert "completions.jsonl line 4: the text's sha256" in faults["readable"][0]


def _rewrite(line: Any, text: str = "You shall keep every promise that you make.") -> None:
    line.update(text=text, principle=text, sha256=text_sha256(text))


def test_check_bundle_with_a_changed_completion_and_hash_finds_that_the_evidence_differs(
    bundled: Bundled, tampered: Any
) -> None:
    number = _line_of(bundled, "aligned")
    faults = tampered({"completions.jsonl": _lines(number, _rewrite)})
    assert re.match(
        r"evidence/outputs\.jsonl aligned .*the completions give 'You shall keep", faults["kept"][0]
    )


def test_check_bundle_with_a_changed_principle_finds_that_the_text_reads_otherwise(
    bundled: Bundled, tampered: Any
) -> None:
    number = _line_of(bundled, "base_p3")
    faults = tampered({"completions.jsonl": _lines(number, lambda line: line.update(principle="Nothing."))})
    assert faults["parsing"][0].startswith("completions.jsonl base_p3 ")
    assert "reads as" in faults["parsing"][0]


def test_check_bundle_with_a_left_out_completion_finds_it(bundled: Bundled, tampered: Any) -> None:
    number = _line_of(bundled, "base_p3")

    def drop(data: bytes) -> bytes:
        lines = data.split(b"\n")
        return b"\n".join(lines[:number] + lines[number + 1 :])

    faults = tampered({"completions.jsonl": drop})
    assert "no completion gives this text" in faults["kept"][0]
    assert any("counts.base_p3.requested" in fault for fault in faults["numbers"])


def test_check_bundle_with_a_changed_output_text_finds_it(tampered: Any) -> None:
    def edit(line: Any) -> None:
        line["text"] = "You shall keep every promise that you make."

    faults = tampered({"evidence/outputs.jsonl": _lines(30, edit)})
    assert set(faults) >= {"study", "kept", "numbers"}
    assert any("You shall keep every promise" in fault for fault in faults["kept"])


def test_check_bundle_with_an_output_text_changed_everywhere_finds_that_it_was_never_embedded(
    bundled: Bundled, tampered: Any
) -> None:
    """The forger repairs completion, hash, evidence digest and manifest, and has no encoder."""
    output = next(o for o in bundled.world.evidence.outputs if o.arm == "realigned-i2" and o.sample == 0)
    new = "You shall keep every promise that you make."

    def replace(data: bytes) -> bytes:
        old_sha, new_sha = text_sha256(output.text), text_sha256(new)
        return data.replace(output.text.encode(), new.encode()).replace(old_sha.encode(), new_sha.encode())

    edits = dict.fromkeys(("completions.jsonl", "evidence/outputs.jsonl"), replace)
    faults = _with_new_digest(bundled, tampered, edits)
    assert "study" not in faults
    assert "kept" not in faults
    assert any(new[:20] in fault for fault in faults["numbers"]), faults


def _with_new_digest(bundled: Bundled, tampered: Any, edits: dict[str, Edit]) -> dict[str, list[str]]:
    with bundled.path.open("rb") as file:
        files = {f"evidence/{name}": data for name, data in Below(ZipFiles(file), "evidence").items()}
    changed = {name: edits.get(name, lambda data: data)(data) for name, data in files.items()}
    digest = evidence_sha256(evidence_from_files(Below({n: d for n, d in changed.items() if d}, "evidence")))
    told = {
        "bundle.json": _json(lambda facts: facts.update(evidence_sha256=digest)),
        "report.json": _json(lambda report: report["evidence"].update(sha256=digest)),
    }
    found: dict[str, list[str]] = tampered({**told, **edits})
    return found


def test_check_bundle_with_a_changed_row_finds_its_hash(tampered: Any) -> None:
    def edit(data: bytes) -> bytes:
        return data[:-4] + np.float32(0.5).tobytes()

    faults = tampered({"evidence/vectors/primary.npy": edit})
    assert "vectors/primary.jsonl line" in faults["readable"][0]
    assert "the row was changed" in faults["readable"][0]


def _with_rows(bundled: Bundled, tampered: Any, rows: np.ndarray) -> dict[str, list[str]]:
    """Other embeddings, with every hash repaired."""
    vectors = bundled.world.evidence.vectors["primary"]
    before = dict(evidence_files(bundled.world.evidence))
    kept, vectors.rows = vectors.rows, rows
    try:
        after = dict(evidence_files(bundled.world.evidence))
    finally:
        vectors.rows = kept
    names = [name for name in before if before[name] != after[name]]
    assert names == ["vectors/primary.jsonl", "vectors/primary.npy"]
    edits: dict[str, Edit] = {f"evidence/{name}": partial(_instead, after[name]) for name in names}
    return _with_new_digest(bundled, tampered, edits)


def _instead(new: bytes, old: bytes) -> bytes:
    return new


def test_check_bundle_with_a_changed_row_and_hash_finds_that_the_numbers_differ(
    bundled: Bundled, tampered: Any
) -> None:
    evidence = bundled.world.evidence
    rows = evidence.vectors["primary"].rows.copy()
    place = evidence.vectors["primary"].texts.index(next(iter(evidence.targets().values())))
    rows[place] = rows[place][::-1]
    faults = _with_rows(bundled, tampered, rows)
    assert list(faults) == ["numbers"]
    assert len(faults["numbers"]) > 20


def test_check_bundle_with_rows_that_another_batch_rounded_faults_none_of_the_papers_figures(
    bundled: Bundled, tampered: Any
) -> None:
    """What a run computed before its evidence was embedded; the analysis has the evidence's own rows."""
    rows = bundled.world.evidence.vectors["primary"].rows
    noise = np.random.default_rng(0).uniform(-2e-7, 2e-7, rows.shape).astype(np.float32)
    faults = _with_rows(bundled, tampered, rows + noise)
    assert list(faults) == ["numbers"]
    assert {fault.split()[1].partition(".")[0] for fault in faults["numbers"]} == {"analysis"}


def test_check_bundle_with_the_report_of_another_run_says_so(tampered: Any) -> None:
    faults = tampered({"report.json": _json(lambda report: report.update(run_id="r-2"))})
    assert faults["study"] == ["report.json: of run r-2, the bundle of r-1"]


def test_check_bundle_with_a_changed_setting_names_it(tampered: Any) -> None:
    faults = tampered({"study.json": _json(lambda study: study["gate"].update(alpha=0.5))})
    assert any("it differs in gate" in fault for fault in faults["study"])


def test_check_bundle_with_a_changed_prompt_names_it(tampered: Any) -> None:
    faults = tampered({"prompts.jsonl": _lines(2, lambda line: line["messages"][-1].update(content="Hi"))})
    assert faults["prompts"][0].startswith("prompts.jsonl line 3: not what the study renders for ")


def test_check_bundle_with_another_adapter_in_a_completion_names_it(bundled: Bundled, tampered: Any) -> None:
    number = _line_of(bundled, "realigned-i2")
    faults = tampered({"completions.jsonl": _lines(number, lambda line: line.update(adapter_sha256=""))})
    assert "adapter sha256 (base), the arm's is 0000" in faults["adapters"][0]


def test_check_bundle_with_inputs_moved_to_another_part_names_it(tampered: Any) -> None:
    def edit(head: Any) -> None:
        split = head["split"]
        split["train"]["topic-0"], split["test"]["topic-0"] = (
            split["test"]["topic-0"],
            split["train"]["topic-0"],
        )

    faults = tampered({"evidence/evidence.json": _json(edit)})
    assert "evidence/evidence.json split.train.topic-0: not what seed 0 gives" in faults["split"]


@pytest.mark.parametrize("name", ["bundle.json", "study.json", "report.json", "evidence/probes.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b"\xff", b'{"a": NaN}', b"[" * 50_000])
def test_check_bundle_with_nonsense_in_a_file_says_so_and_raises_nothing(
    tampered: Any, name: str, content: bytes
) -> None:
    assert tampered({name: lambda data: content})


def test_zip_files_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.zip"
    path.write_bytes(b"no zip")
    with path.open("rb") as file, pytest.raises(ValueError, match="not a readable zip"):
        ZipFiles(file)


@pytest.mark.parametrize(
    ("name", "compression", "message"),
    [
        ("../report.json", zipfile.ZIP_STORED, "not a plain relative name"),
        ("report.json", zipfile.ZIP_DEFLATED, "report.json: compressed"),
    ],
)
def test_zip_files_of_a_hostile_zip_is_refused(
    tmp_path: Path, name: str, compression: int, message: str
) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(name, b"0" * 100_000)
    with path.open("rb") as file, pytest.raises(ValueError, match=message):
        ZipFiles(file)


def test_zip_files_with_too_much_in_it_is_refused(bundled: Bundled) -> None:
    with bundled.path.open("rb") as file, pytest.raises(ValueError, match="more than 1000 bytes in all"):
        ZipFiles(file, max_bytes=1000)


def test_plain_control_characters_are_shown_and_not_obeyed() -> None:
    assert plain("\x1b[31mred\n") == "\\x1b[31mred\\n"


def _line_of(bundled: Bundled, arm: str) -> int:
    with zipfile.ZipFile(bundled.path) as archive:
        lines = archive.read("completions.jsonl").split(b"\n")[:-1]
    found = (json.loads(line) for line in lines)
    return next(n for n, line in enumerate(found) if line["arm"] == arm and line["outcome"] == "ok")


@pytest.mark.parametrize("name", ["resamples", "permutations", "max_distribution_texts"])
@pytest.mark.parametrize("value", [10**12, 0, "10", True])
def test_check_bundle_whose_study_asks_for_any_amount_of_work_computes_nothing(
    tampered: Any, name: str, value: Any
) -> None:
    edit = _json(lambda study: study["measurement"].update({name: value}))
    faults = tampered({"study.json": edit, "evidence/study.json": edit})
    assert f"measurement.{name}" in faults["numbers"][0]


def test_check_bundle_error_of_any_kind_is_a_fault(bundled: Bundled, monkeypatch: Any) -> None:
    def exhausted(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("services.orchestrator.audit.checking.expected_report", exhausted)
    assert _faults(_check(bundled.path)) == {"numbers": ["MemoryError: "]}
