"""Every check of a bundle that needs no model: files, prompts, texts, kept draws, embeddings and numbers."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from services.orchestrator.analysis.archives import read_json, read_jsonl
from services.orchestrator.analysis.evidence import ArmKind, Evidence
from services.orchestrator.analysis.files import evidence_from_files, evidence_sha256
from services.orchestrator.analysis.human_review import ReviewFile, items_sha256
from services.orchestrator.analysis.stage_one import freeze
from services.orchestrator.audit.comparing import Comparison, compare
from services.orchestrator.audit.expected import LOOSE, TAKEN, expected_report
from services.orchestrator.audit.files import Below, Files, manifest_faults
from services.orchestrator.audit.keeping import Kept, keep
from services.orchestrator.audit.paper import has_budget
from services.orchestrator.audit.prompts import misread, prompt_lines
from services.orchestrator.audit.record import Completion, Sets, by_arm, read_completions, read_sets
from services.orchestrator.domain.split import MIN_PAIRS, split_pairs

COMPLETIONS: Final = "completions.jsonl"
PROMPTS: Final = "prompts.jsonl"
FACTS: Final = "bundle.json"
REVIEW: Final = "review.json"
_MOST_FAULTS = 50
# Value differences are recomputed from the same rows; only the order of additions may differ.
_METRIC_TOLERANCE = 1e-9
# The limits of a study's settings, of which a bundle carries no copy.
_MOST: Final = {"resamples": 1_000_000, "permutations": 1_000_000, "max_distribution_texts": 20_000}


@dataclass(slots=True)
class Check:
    """One question that was asked of the bundle, the faults that were found, and how many more there are."""

    id: str
    question: str
    faults: list[str] = field(default_factory=list)
    more: int = 0
    checked: int = 0

    @property
    def ok(self) -> bool:
        return not self.faults


@dataclass(slots=True)
class Outcome:
    """All checks; ``facts`` is bundle.json, ``comparison`` is None if the numbers could not be computed."""

    checks: list[Check] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)
    comparison: Comparison | None = None

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


def check_bundle(files: Files, tell: Callable[[str], None] = lambda question: None) -> Outcome:
    """Ask everything. ``tell`` hears each question before it is asked; nothing is raised for a bad bundle."""
    outcome = Outcome()

    def ask(id_: str, question: str, work: Callable[[Check], Any]) -> Any:
        tell(question)
        check = Check(id_, question)
        outcome.checks.append(check)
        try:
            return work(check)
        except Exception as error:
            # Data of a stranger may be shaped in any way, and raise anything: it becomes a fault.
            text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            check.faults.append(text)
            return None

    ask("manifest", "Is every file there, unchanged, and none besides?", lambda c: _manifest(c, files))
    read = ask("readable", "Can the record, the evidence and the report be read?", lambda c: _read(c, files))
    if read is None:
        return outcome
    outcome.facts = read.facts
    ask("study", "Do bundle, evidence and report speak of one study and one run?", lambda c: _study(c, read))
    ask("prompts", "Are the prompts what the study renders?", lambda c: _prompts(c, files, read))
    ask("parsing", "Is every completion read as the rule reads it?", lambda c: _parsing(c, read))
    ask("adapters", "Does every completion come from its arm's adapter?", lambda c: _adapters(c, read))
    ask("kept", "Are the evidence's texts those that the draws give?", lambda c: _kept(c, read))
    if read.report.get("human_review") is not None:
        ask(
            "review",
            "Are the review's items what stage one gives?",
            lambda c: _review(c, files, read),
        )
    ask("split", "Is the split the one that the seed gives?", lambda c: _split(c, read.evidence))
    outcome.comparison = ask(
        "numbers", "Is every number of report.json what the evidence gives?", lambda c: _numbers(c, read)
    )
    return outcome


@dataclass(frozen=True, slots=True)
class _Read:
    facts: dict[str, Any]
    report: dict[str, Any]
    study: dict[str, Any]
    evidence: Evidence
    completions: tuple[Completion, ...]
    kept: dict[str, Kept]
    sets: Sets
    review: ReviewFile | None


def _manifest(check: Check, files: Files) -> None:
    check.checked = len(files)
    for fault in manifest_faults(files):
        _add(check, fault)


def _read(check: Check, files: Files) -> _Read:
    documents = {}
    for name in (FACTS, "report.json", "study.json", COMPLETIONS, PROMPTS):
        if name not in files:
            raise ValueError(f"{name}: missing")
    for name in (FACTS, "report.json", "study.json"):
        documents[name] = read_json(name, files[name])
    evidence = evidence_from_files(Below(files, "evidence"))
    completions = read_completions(COMPLETIONS, files[COMPLETIONS])
    study = documents["study.json"]
    kept = {arm: keep(arm, rows, study["generation"]) for arm, rows in by_arm(completions).items()}
    check.checked = len(files)
    review = None
    if documents["report.json"].get("human_review") is not None:
        if REVIEW not in files:
            raise ValueError(f"{REVIEW}: missing, though report.json tells of a human review")
        review = ReviewFile.model_validate_json(files[REVIEW])
    return _Read(
        documents[FACTS],
        documents["report.json"],
        study,
        evidence,
        completions,
        kept,
        read_sets(study),
        review,
    )


def _study(check: Check, read: _Read) -> None:
    check.checked = 5
    for name, study in (
        ("evidence/study.json", read.evidence.study),
        ("report.json study", read.report["study"]),
    ):
        if study != read.study:
            keys = sorted(key for key in {*study, *read.study} if study.get(key) != read.study.get(key))
            check.faults.append(f"{name}: not study.json; it differs in {', '.join(keys)}")
    if read.report["run_id"] != read.facts["run_id"]:
        check.faults.append(
            f"report.json: of run {read.report['run_id']}, the bundle of {read.facts['run_id']}"
        )
    digest = evidence_sha256(read.evidence)
    if digest != read.facts["evidence_sha256"]:
        check.faults.append(f"evidence: sha256 {digest}, {FACTS} says {read.facts['evidence_sha256']}")
    told = (read.report.get("evidence") or {}).get("sha256", digest)
    if digest != told:
        check.faults.append(f"evidence: sha256 {digest}, report.json says {told}")


def _prompts(check: Check, files: Files, read: _Read) -> None:
    originals = read.kept[ArmKind.ORIGINAL.value].sample(0)
    rendered = list(prompt_lines(read.sets, read.completions, originals))
    found = [line for _, line in read_jsonl(PROMPTS, files[PROMPTS])]
    check.checked = len(rendered)
    if len(found) != len(rendered):
        check.faults.append(f"{PROMPTS}: {len(found)} prompts, the study renders {len(rendered)}")
    for number, (line, wanted) in enumerate(zip(found, rendered, strict=False), start=1):
        if line != wanted:
            place = f"{wanted['prompt']} {wanted['topic_id']}/{wanted['index']}"
            _add(check, f"{PROMPTS} line {number}: not what the study renders for {place}")


def _parsing(check: Check, read: _Read) -> None:
    check.checked = len(read.completions)
    seen: set[tuple[str, str, int, int]] = set()
    for completion in read.completions:
        place = (completion.arm, completion.topic_id, completion.index, completion.draw)
        fault = "there twice" if place in seen else misread(read.sets, completion)
        seen.add(place)
        if fault:
            _add(check, f"{COMPLETIONS} {_name(completion)}: {fault}")


def _adapters(check: Check, read: _Read) -> None:
    """Arms of the base model have none; another arm has one and the same, the one that the evidence names."""
    arms = {arm.name: arm for arm in read.evidence.arms}
    for completion in read.completions:
        arm = arms.get(completion.arm)
        check.checked += 1
        if arm is None or completion.outcome not in ("ok",):
            continue
        if completion.adapter_sha256 != arm.adapter_sha256:
            found, wanted = completion.adapter_sha256 or "(base)", arm.adapter_sha256 or "(base)"
            _add(check, f"{COMPLETIONS} {_name(completion)}: adapter sha256 {found}, the arm's is {wanted}")


def _kept(check: Check, read: _Read) -> None:
    """Both ways: no text of the evidence without its draw, and no kept draw that the evidence leaves out."""
    outputs = {(o.arm, o.topic_id, o.index, o.sample): o.text for o in read.evidence.outputs}
    if len(outputs) != len(read.evidence.outputs):
        check.faults.append("evidence/outputs.jsonl: an arm has two texts for one input and sample")
    arms = {arm.name for arm in read.evidence.arms}
    paired = read.kept["original"].sample(0).keys() & read.kept["aligned"].sample(0).keys()
    drawn = {
        (arm, *place): text
        for arm, kept in read.kept.items()
        if arm in arms
        for place, text in kept.texts().items()
        if place[:2] in paired
    }
    check.checked = len(outputs)
    for place in sorted(outputs.keys() | drawn.keys()):
        where = f"evidence/outputs.jsonl {place[0]} {place[1]}/{place[2]} sample {place[3]}"
        if place not in drawn:
            _add(check, f"{where}: no completion gives this text")
        elif place not in outputs:
            _add(check, f"{where}: missing, though a completion gives it")
        elif outputs[place] != drawn[place]:
            _add(check, f"{where}: {outputs[place][:80]!r}, the completions give {drawn[place][:80]!r}")


def _split(check: Check, evidence: Evidence) -> None:
    study, targets = evidence.study, evidence.targets()
    originals = {output.key for output in evidence.outputs if output.arm == ArmKind.ORIGINAL.value}
    indices = {
        topic: sorted(index for other, index in originals & targets.keys() if other == topic)
        for topic in evidence.topic_ids
    }
    unpaid = evidence.facts.get("stop_reason") == "budget_before_training" and has_budget(study)
    if study["measure_only"] or unpaid or any(len(members) < MIN_PAIRS for members in indices.values()):
        wanted: dict[str, Mapping[str, Iterable[int]]] = {"train": {}, "validation": {}, "test": indices}
    else:
        fractions = study["split"]
        split = split_pairs(
            indices, (fractions["train"], fractions["validation"], fractions["test"]), study["seed"]
        )
        wanted = {"train": split.train, "validation": split.validation, "test": split.test}
    for part, topics in wanted.items():
        for topic in evidence.topic_ids:
            check.checked += 1
            found = sorted(evidence.split.get(part, {}).get(topic, ()))
            if found != sorted(topics.get(topic, ())):
                _add(
                    check, f"evidence/evidence.json split.{part}.{topic}: not what seed {study['seed']} gives"
                )


def _review(check: Check, files: Files, read: _Read) -> None:
    """The frozen items are what stage one gives, and the file is the one that the report names."""
    review, told = read.review, read.report["human_review"]
    if review is None:
        return
    digest = hashlib.sha256(files[REVIEW]).hexdigest()
    if digest != told.get("file_sha256"):
        check.faults.append(f"{REVIEW}: sha256 {digest}, report.json says {told.get('file_sha256')}")
    if review.run_id != read.report["run_id"]:
        check.faults.append(f"{REVIEW}: of run {review.run_id}, the report of {read.report['run_id']}")
    if items_sha256(review.items) != review.items_sha256:
        check.faults.append(f"{REVIEW}: its items do not have the sha256 {review.items_sha256}")
    wanted, _ = freeze(
        read.evidence,
        arms=review.arms,
        threshold=review.threshold,
        items_per_topic=review.items_per_topic,
        seed=review.seed,
    )
    check.checked = len(wanted)
    if len(wanted) != len(review.items):
        check.faults.append(f"{REVIEW}: {len(review.items)} items, stage one gives {len(wanted)}")
    for found, item in zip(review.items, wanted, strict=False):
        same = found.model_copy(update={"metric": item.metric}) == item
        if not same or abs(found.metric - item.metric) > _METRIC_TOLERANCE:
            _add(check, f"{REVIEW} item {found.number}: not what stage one gives")


def _bounded(study: Mapping[str, Any]) -> None:
    """ValueError for settings that would take all memory or days: no study of valign's can have them."""
    for name, most in _MOST.items():
        value = study["measurement"][name]
        if type(value) is not int or not 1 <= value <= most:
            raise ValueError(f"study.json measurement.{name} is {_short(value)}; a study has 1 to {most}")


def _numbers(check: Check, read: _Read) -> Comparison:
    _bounded(read.evidence.study)
    digest = evidence_sha256(read.evidence)
    computed = expected_report(
        read.facts["run_id"], read.evidence, digest, read.kept, read.report, read.review
    )
    comparison = compare(computed, read.report, TAKEN, LOOSE)
    check.checked = sum(section.compared for section in comparison.sections.values())
    for path in comparison.uncovered:
        _add(check, f"report.json {path}: nothing in the bundle gives this")
    for difference in comparison.differences:
        _add(
            check,
            f"report.json {difference.path}: {_short(difference.reported)},"
            f" computed {_short(difference.computed)}",
        )
    return comparison


def _add(check: Check, fault: str) -> None:
    if len(check.faults) < _MOST_FAULTS:
        check.faults.append(fault)
    else:
        check.more += 1


def _name(completion: Completion) -> str:
    return f"{completion.arm} {completion.topic_id}/{completion.index} draw {completion.draw}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:119]}…"
