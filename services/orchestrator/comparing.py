"""Several runs side by side: several models on one reference set, several sets on one model.

Runs that are no comparison (another encoder, other prompts, another ruler) are refused with every reason.
Where runs share their inputs and targets, as those by one ruler do, their arms are also compared input by
input, which takes the differences between inputs out of the interval.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import combinations
from typing import Literal

import numpy as np
from pydantic import Field

from services.common.errors import InvalidInputError, PreconditionError
from services.orchestrator.analysis.evidence import ArmKind, Evidence, Key
from services.orchestrator.analysis.instrument import Instrument
from services.orchestrator.analysis.results import Decision, Estimate, Part
from services.orchestrator.analysis.statistics.bootstrap import DIFFERENCE, Bootstrap, Column
from services.orchestrator.analysis.statistics.signflip import sign_flip
from services.orchestrator.comparing_words import refusals, ruler_of, warnings
from services.orchestrator.report.schema import Report

MAX_RUNS = 20
_PAIRED = (ArmKind.BASE_P3, ArmKind.BASE_REFERENCE, ArmKind.TUNED)

Kind = Literal["models", "sets", "models_and_sets", "repeats"]


class ComparedRun(Part):
    """One of the runs."""

    run_id: str
    name: str
    label: str = Field(description="What tells it from the others: model, reference set, or run id.")
    created_at: datetime
    model: str
    model_fingerprint: str
    reference_set: str
    reference_set_version: str
    reference_set_sha256: str
    measured_only: bool
    decision: Decision | None = Field(description="The gate's; null if the run only measured.")
    test_inputs: int = Field(description="Inputs behind the pooled numbers of its reference.")
    uncontrolled: tuple[str, ...] = Field(default=(), description="What the run could not control.")


class Cell(Part):
    """One arm of one run."""

    run_id: str
    mean: Estimate = Field(description="Pooled value difference to the run's reference texts.")
    scaled: Estimate | None = Field(description="The same on the run's own scale; null if it has none.")
    by_topic: dict[str, Estimate] = Field(description="The mean by topic, of the common topics; exploratory.")


class ArmRow(Part):
    """One kind of arm over the runs that have it."""

    arm: str
    title: str
    cells: tuple[Cell, ...]


class OwnCell(Part):
    """One model's own principles against the ruler's targets, each with each."""

    run_id: str
    own: float = Field(description="Mean over the topics.")
    by_topic: dict[str, float]


class OwnRow(Part):
    """Own principles of the models that one ruler measured, beside the benchmark's."""

    benchmark_model: str
    benchmark: float
    benchmark_by_topic: dict[str, float]
    cells: tuple[OwnCell, ...]


class MatrixRow(Part):
    """One cell of the matrix over all runs: trained on x measured against."""

    run_id: str
    model: str
    trained_on: str = Field(description='Reference set id, or "base" for the untuned model.')
    measured_against: str
    mean: Estimate


class Paired(Part):
    """One arm of two runs on the inputs that they share."""

    arm: str
    left: str = Field(description="A run id.")
    right: str = Field(description="Another.")
    difference: Estimate = Field(description="Pooled right - left: above 0 the left lies nearer.")
    p_value: float | None = Field(description="Sign-flip permutation p-value, two-sided.")
    by_topic: dict[str, Estimate] = Field(description="By topic; exploratory.")


class Comparison(Part):
    """The runs side by side."""

    kind: Kind
    encoder: str
    encoder_fingerprint: str
    prompt_set: str
    prompt_set_sha256: str
    ruler: str | None = Field(description="Content hash of the ruler of all runs; null if each has its own.")
    ruler_name: str = ""
    topics: dict[str, str] = Field(description="Common topics: id -> title.")
    runs: tuple[ComparedRun, ...]
    arms: tuple[ArmRow, ...]
    own: OwnRow | None = None
    matrix: tuple[MatrixRow, ...] = ()
    paired: tuple[Paired, ...] = ()
    warnings: tuple[str, ...] = ()


def compare(reports: Sequence[Report], evidence: Mapping[str, Evidence] | None = None) -> Comparison:
    """Put runs side by side, in the order given.

    ``evidence`` by run id, for those runs that are to be compared input by input. InvalidInputError for
    fewer than two runs, more than ``MAX_RUNS``, or one twice; PreconditionError, with every reason in
    ``details["reasons"]``, for runs that cannot be compared.
    """
    ids = [one.run_id for one in reports]
    if not 2 <= len(ids) <= MAX_RUNS or len(set(ids)) != len(ids):
        raise InvalidInputError(
            f"give 2 to {MAX_RUNS} different runs to compare, not {', '.join(ids) or 'none'}"
        )
    if reasons := refusals(reports):
        raise PreconditionError(
            f"these runs cannot be compared: {'; '.join(reasons)}", details={"reasons": reasons}
        )
    first, kind = reports[0], _kind(reports)
    common = {
        topic.id: topic.title
        for topic in first.topics
        if all(topic.id in {other.id for other in one.topics} for one in reports)
    }
    return Comparison(
        kind=kind,
        encoder=first.encoder,
        encoder_fingerprint=first.provenance.encoder_fingerprint,
        prompt_set=first.provenance.prompt_set.id,
        prompt_set_sha256=first.provenance.prompt_set.sha256,
        ruler=ruler_of(first),
        ruler_name=first.ruler.name if first.ruler else "",
        topics=common,
        runs=_runs(reports, kind),
        arms=_arms(reports, common),
        own=_own(reports, common),
        matrix=_matrix(reports),
        paired=_paired(ids, evidence or {}),
        warnings=tuple(warnings(reports)),
    )


def _kind(reports: Sequence[Report]) -> Kind:
    models = len({one.provenance.model_fingerprint for one in reports}) > 1
    sets = len({one.provenance.reference_set.sha256 for one in reports}) > 1
    if models and sets:
        return "models_and_sets"
    return "models" if models else "sets" if sets else "repeats"


def _runs(reports: Sequence[Report], kind: Kind) -> tuple[ComparedRun, ...]:
    found = [_run(one, kind) for one in reports]
    labels = [one.label for one in found]
    # Two runs of one name must stay two.
    return tuple(
        one.model_copy(update={"label": f"{one.label} ({one.run_id})"})
        if labels.count(one.label) > 1
        else one
        for one in found
    )


def _run(report: Report, kind: Kind) -> ComparedRun:
    model = report.base_model.rstrip("/").split("/")[-1]
    reference = f"{report.reference_set} {report.provenance.reference_set.version}"
    labels = {
        "models": model,
        "sets": reference,
        "models_and_sets": f"{model}, {reference}",
        "repeats": report.name,
    }
    analysis = report.analysis
    verdict = analysis.verdict if analysis else None
    return ComparedRun(
        run_id=report.run_id,
        name=report.name,
        label=labels[kind],
        created_at=report.created_at,
        model=report.base_model,
        model_fingerprint=report.provenance.model_fingerprint,
        reference_set=report.reference_set,
        reference_set_version=report.provenance.reference_set.version,
        reference_set_sha256=report.provenance.reference_set.sha256,
        measured_only=bool(report.study.get("measure_only")) or report.best_iteration is None,
        decision=verdict.decision if verdict else None,
        test_inputs=analysis.scale.floor.n if analysis else 0,
        uncontrolled=analysis.uncontrolled if analysis else (),
    )


def _arms(reports: Sequence[Report], common: Mapping[str, str]) -> tuple[ArmRow, ...]:
    titles: dict[str, str] = {}
    cells: dict[str, list[Cell]] = {}
    for report in reports:
        for arm in report.analysis.arms if report.analysis else ():
            titles.setdefault(arm.kind, arm.title)
            cells.setdefault(arm.kind, []).append(
                Cell(
                    run_id=report.run_id,
                    mean=arm.mean,
                    scaled=arm.scaled,
                    by_topic={topic: arm.by_topic[topic] for topic in common if topic in arm.by_topic},
                )
            )
    return tuple(ArmRow(arm=kind, title=titles[kind], cells=tuple(cells[kind])) for kind in titles)


def _own(reports: Sequence[Report], common: Mapping[str, str]) -> OwnRow | None:
    rulers = [(one.run_id, one.ruler) for one in reports if one.ruler is not None]
    if not rulers:
        return None
    benchmark = rulers[0][1]
    return OwnRow(
        benchmark_model=benchmark.model,
        benchmark=benchmark.benchmark,
        benchmark_by_topic={one.topic: one.benchmark for one in benchmark.topics if one.topic in common},
        cells=tuple(
            OwnCell(
                run_id=run_id,
                own=ruler.own,
                by_topic={one.topic: one.own for one in ruler.topics if one.topic in common},
            )
            for run_id, ruler in rulers
        ),
    )


def _matrix(reports: Sequence[Report]) -> tuple[MatrixRow, ...]:
    return tuple(
        MatrixRow(
            run_id=report.run_id,
            model=report.base_model,
            trained_on=cell.trained_on,
            measured_against=cell.measured_against,
            mean=cell.mean,
        )
        for report in reports
        if report.analysis
        for cell in report.analysis.matrix
    )


def _paired(ids: Sequence[str], evidence: Mapping[str, Evidence]) -> tuple[Paired, ...]:
    instruments = {run_id: Instrument(evidence[run_id]) for run_id in ids if run_id in evidence}
    found = (
        _pair(kind, left, right, instruments[left], instruments[right])
        for left, right in combinations(instruments, 2)
        for kind in _PAIRED
    )
    return tuple(pair for pair in found if pair is not None)


def _pair(kind: ArmKind, left: str, right: str, one: Instrument, other: Instrument) -> Paired | None:
    """The arm of both runs on shared inputs: same original, same target. None if they share none."""
    mine, theirs = one.measure(kind), other.measure(kind)
    if mine is None or theirs is None:
        return None
    shared = _inputs(one).items() & _inputs(other).items()
    known = {key for key, _ in shared} & set(theirs.keys)
    keys = tuple(key for key in mine.keys if key in known)
    if not keys:
        return None
    # Trainings of two runs are independent, so their seeds must not be resampled together.
    columns = [
        Column(measured.column(keys).values, f"{kind.value}/{run_id}" if measured.training_seeds else "")
        for measured, run_id in ((mine, left), (theirs, right))
    ]
    study = one.evidence.study
    settings = study["measurement"]
    topics = [topic for topic, _ in keys]
    bootstrap = Bootstrap(topics, settings["resamples"], settings["confidence"], study["seed"])
    estimates = bootstrap.estimate(DIFFERENCE, columns)
    if estimates is None:
        return None
    values = columns[1].values.mean(axis=0) - columns[0].values.mean(axis=0)
    weights = np.array([1.0 / (len(set(topics)) * topics.count(topic)) for topic in topics])
    return Paired(
        arm=kind.value,
        left=left,
        right=right,
        difference=estimates.pooled,
        p_value=sign_flip(values, weights, settings["permutations"], study["seed"], f"{left}/{right}"),
        by_topic=estimates.by_topic,
    )


def _inputs(instrument: Instrument) -> dict[Key, tuple[str, str]]:
    """Original and target of each test input."""
    originals = instrument.texts(ArmKind.ORIGINAL)
    targets = instrument.references()
    return {
        key: (texts[0], targets[key]) for arm in originals[:1] for key, texts in arm.items() if key in targets
    }
