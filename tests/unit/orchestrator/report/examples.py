"""Reports made by hand for the tests of the page."""

from datetime import UTC, datetime

from services.orchestrator.analysis.results import Decision
from services.orchestrator.report.schema import (
    Adapter,
    Counts,
    DataVersion,
    EvidenceFile,
    Iteration,
    MovedPrinciple,
    Overall,
    Projection,
    ProjectionPoint,
    Provenance,
    Report,
    Swap,
    SwapLoad,
    Topic,
    TrainingSummary,
)
from tests.unit.orchestrator.report import analyses

PAPER_TITLES = (
    "Reasoning and Interpretability",
    "Bias Removal",
    "Transparency and Accountability",
    "Security and Privacy",
    "Moral and Ethical Observations",
    "Public Understanding",
)
BEFORE, BASE_P3, AFTER, CONSTANT = 0.74, 0.72, 0.44, 0.32


def provenance() -> Provenance:
    return Provenance(
        model_fingerprint="a1" * 32,
        encoder_fingerprint="b2" * 32,
        prompt_set=DataVersion(id="small", version="1.0.0", sha256="c3" * 32),
        reference_set=DataVersion(id="ten-commandments", version="1.0.0", sha256="d4" * 32),
        identity="e5" * 32,
        seeds={"run": 0},
        versions={"valign": "0.1.0", "vllm": "0.32.0", "sentence-transformers": "5.6.0"},
    )


def adapter(iteration: int) -> Adapter:
    name = f"demo-i{iteration}-0a1b2c3{iteration}"
    return Adapter(name=name, sha256="f6" * 32, uri=f"file:///var/lib/valign/artifacts/adapters/{name}")


def report(
    titles: tuple[str, ...] = PAPER_TITLES,
    *,
    before: float = BEFORE,
    base_p3: float = BASE_P3,
    after: float = AFTER,
    constant: float = CONSTANT,
    iterations: int = 3,
    said: str = "An AI system should be open to feedback and willing to adapt to user needs.",
) -> Report:
    """A trained run; the topics' numbers lie around the given means, which hold exactly overall."""
    ids = [f"topic-{index}" for index in range(len(titles))]
    middle = (len(titles) - 1) / 2
    shifts = [(middle - index) * 0.1 / max(1, middle) for index in range(len(titles))]
    topics = tuple(
        Topic(
            id=topic_id,
            title=title,
            n_train=7,
            n_validation=2,
            n_test=3,
            rank=index + 1,
            initial_mean=before + shift,
            initial_weight=(before + shift) / (before + shifts[0]),
            before=before + shift,
            base_p3=base_p3 + shift,
            after=after - shift / 2,
            reduction=1 - (after - shift / 2) / (before + shift),
            constant=constant + shift / 4,
        )
        for index, (topic_id, title, shift) in enumerate(zip(ids, titles, shifts, strict=True))
    )
    path = [before, *(after + (before - after) * 0.3**n for n in range(1, iterations + 1))]
    turns = tuple(
        Iteration(
            iteration=n,
            weights={} if n == 0 else {t: 1 - 0.4 * i / len(ids) / n for i, t in enumerate(ids)},
            validation_means={t: mean + s * 0.5**n for t, s in zip(ids, shifts, strict=True)},
            validation_mean=mean,
            relative_improvement=None if n == 0 else (path[n - 1] - mean) / path[n - 1],
            adapter=adapter(n) if n else None,
            training=TrainingSummary(steps=55, final_loss=1.72 / n, duration_s=91.4) if n else None,
        )
        for n, mean in enumerate(path)
    )
    points = tuple(
        ProjectionPoint(topic=t, kind=kind, x=x + 0.02 * (i % 3), y=(i - middle) * spread)
        for i, t in enumerate(ids)
        for kind, x, spread in (
            ("original", -0.35, 0.07),
            ("reference", 0.3, 0.05),
            ("realigned", 0.1, 0.055),
        )
    )
    moved = tuple(
        MovedPrinciple(
            topic=ids[i % len(ids)],
            original=said,
            aligned="You shall not take what is not yours, neither data nor attention.",
            realigned="You shall not take what is not yours.",
            before=0.9 - i / 50,
            after=0.2 + i / 100,
        )
        for i in range(10)
    )
    arms = ["original", "aligned", "base_p3", *(f"realigned-i{n}" for n in range(1, iterations + 1))]
    return Report(
        run_id="run-0123456789ab",
        name="demo",
        created_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        base_model="SmolLM2-135M-Instruct",
        reference_set="ten-commandments",
        encoder="all-mpnet-base-v2",
        provenance=provenance(),
        study={"name": "demo", "principles_per_topic": 12, "lora": {"rank": 16, "alpha": 32}},
        topics=topics,
        overall=Overall(
            before=before, base_p3=base_p3, after=after, reduction=1 - after / before, constant=constant
        ),
        constant_sentence="You shall not bear false witness against your neighbour.",
        iterations=turns,
        best_iteration=iterations,
        stop_reason="max_iterations",
        adapter=adapter(iterations),
        timings_s={
            "prepare": 4.1,
            "uncover": 61.5,
            "quantify": 5.2,
            "realign": 284.0,
            "judge": 31.7,
            "total": 386.5,
        },
        external_s={"generation": 95.2, "training": 274.2, "embedding": 4.8, "loading": 2.5},
        counts={
            arm: Counts(
                requested=72,
                usable=71,
                redrawn=5,
                failed_by_reason={"list": 4, "empty": 2},
                near_duplicate_rate=0.014,
            )
            for arm in arms
        },
        projection=Projection(points=points),
        moved=moved,
        swap=Swap(
            loads=tuple(
                SwapLoad(
                    iteration=n,
                    adapter=adapter(n).name,
                    canaries=4,
                    max_relative_error=0.0061,
                    tolerance=0.03,
                    mean_shift_nats=41.2,
                    duration_s=0.84,
                )
                for n in range(1, iterations + 1)
            )
        ),
    )


def measured_only() -> Report:
    """One topic and two principles: nothing could be split, so nothing was trained."""
    return Report(
        run_id="run-measured",
        name="measured",
        created_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        base_model="SmolLM2-135M-Instruct",
        reference_set="ten-commandments",
        encoder="all-mpnet-base-v2",
        provenance=provenance(),
        study={"name": "measured", "principles_per_topic": 2},
        topics=(
            Topic(
                id="t", title="Bias Removal", n_train=0, n_validation=0, n_test=0, rank=1,
                initial_mean=0.7, initial_weight=1.0, before=0.7,
            ),
        ),
        overall=Overall(before=0.7),
        stop_reason="too_few_pairs",
    )  # fmt: skip


def judged(decision: Decision = "reject", titles: tuple[str, ...] = PAPER_TITLES) -> Report:
    """A trained run with its analysis and verdict."""
    made = report(titles)
    return made.model_copy(
        update={
            "analysis": analyses.analysis(tuple(topic.id for topic in made.topics), decision),
            "values": analyses.values(),
            "ruler": analyses.ruler(tuple(topic.id for topic in made.topics)),
            "warnings": ("The reference set was to be reviewed by 2026-01-31.",),
            "evidence": EvidenceFile(uri="file:///a/runs/run-0123456789ab/evidence.zip", sha256="ab" * 32),
            "governance": {"steward": "The project", "stakeholders_consulted": ["one", "two"]},
        }
    )


def measured_with_analysis() -> Report:
    """A run that was asked to measure only."""
    made = measured_only()
    return made.model_copy(update={"stop_reason": "measure_only", "analysis": analyses.measured(("t",))})
