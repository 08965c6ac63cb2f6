"""Analyses made by hand for the tests of the page: the shape is real, the numbers are chosen."""

from typing import Any

from services.orchestrator.analysis.results import (
    Analysis,
    ArmResult,
    Contrast,
    Decision,
    Distribution,
    Estimate,
    Guard,
    MatrixCell,
    Measure,
    Reason,
    RulerResult,
    RulerTopicResult,
    Scale,
    TopicContrast,
    Verdict,
)
from services.orchestrator.analysis.values.dimensions import IDEAL, TITLES
from services.orchestrator.analysis.values.results import (
    ArmVector,
    LabelShares,
    ValueContrast,
    ValueDimension,
    ValueSpace,
    ValueVector,
)

ARMS: tuple[tuple[str, str, float, int], ...] = (
    ("original", "Base model, first prompt (the paper's before)", 0.740, 0),
    ("base_p3", "Base model, third prompt", 0.720, 0),
    ("base_reference", "Base model, reference in context", 0.610, 0),
    ("tuned", "Tuned", 0.442, 3),
    ("uniform", "Tuned with equal topic weights", 0.450, 1),
    ("shuffled", "Tuned on shuffled pairs", 0.520, 1),
    ("other", "Tuned on the other reference set", 0.690, 1),
    ("constant", "One constant sentence", 0.316, 0),
    ("copied", "Copied training target", 0.480, 0),
)


def estimate(value: float, half: float = 0.04, n: int = 120) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=n)


def arm(name: str, title: str, mean: float, seeds: int, topics: tuple[str, ...]) -> ArmResult:
    return ArmResult(
        arm=name,
        kind=name,
        title=title,
        training_seeds=seeds,
        outputs=600 * max(1, seeds),
        mean=estimate(mean),
        by_topic={topic: estimate(mean + 0.01 * place, 0.09, 20) for place, topic in enumerate(topics)},
        shuffled=mean + 0.1,
        specificity=estimate(0.1, 0.03),
        scaled=estimate((0.86 - mean) / 0.56, 0.07),
        distribution=Distribution(statistic=0.12, p_value=0.0001, n_left=600, n_right=120),
    )


def contrast(left: str, against: str, topics: tuple[str, ...], reduction: float = 0.386) -> Contrast:
    return Contrast(
        arm=left,
        against=against,
        difference=estimate(0.278 if reduction > 0 else -0.05, 0.05),
        reduction=estimate(reduction, 0.06),
        p_value=0.0001,
        effect_size=1.21,
        topics=tuple(
            TopicContrast(
                topic=topic,
                difference=estimate(0.3 - 0.08 * place, 0.11, 20),
                p_value=0.004 * (place + 1),
                p_holm=min(1.0, 0.02 * (place + 1)),
                effect_size=1.1 - 0.2 * place,
            )
            for place, topic in enumerate(topics)
        ),
    )


GUARDS: tuple[Guard, ...] = (
    Guard(
        id="diversity",
        title="Diversity",
        question="Does the tuned model still say as many different things as base and references?",
        status="fail",
        summary="Vendi score 11.2 against 24.0 of the references: a ratio of 0.47, at least 0.80 is asked.",
        measures=(
            Measure(
                name="vendi", title="Vendi score, ratio to references", value=0.47, low=0.41, high=0.55,
                threshold=0.8, better="higher",
            ),
            Measure(name="unique", title="Share of unique outputs", value=0.91),
        ),
    ),
    Guard(
        id="leakage",
        title="Marker words",
        question="Does the tuned model only take on the reference's marker words?",
        status="warn",
        summary="8% of tuned outputs hold a marker word, 1% of the base's.",
        measures=(
            Measure(
                name="excess", title="Excess share of marker words", value=0.07, low=0.02, high=0.12,
                threshold=0.1, better="lower", note="Against held-out references.",
            ),
        ),
    ),
    Guard(
        id="second_encoder",
        title="Second encoder",
        question="Does an encoder of another family see the same fall?",
        status="pass",
        summary="Reduction 31% (24% to 38%) under all-MiniLM-L6-v2.",
        measures=(
            Measure(
                name="reduction", title="Reduction under the second encoder", value=0.31, low=0.24, high=0.38,
                threshold=0.0, better="higher",
            ),
        ),
    ),
    Guard(
        id="polarity",
        title="Polarity",
        question="Do tuned outputs contradict the reference?",
        status="not_measured",
        summary="Not measured: the generator cannot score.",
        measures=(Measure(name="contradictions", title="Share of contradictions", threshold=0.05),),
    ),
)  # fmt: skip

REASONS: dict[Decision, tuple[Reason, ...]] = {
    "promote": (
        Reason(rule="reduction", outcome="promote", text="Reduction 38.6%, at least 5% is asked."),
        Reason(rule="diversity", outcome="promote", text="Diversity ratio 0.95, at least 0.80 is asked."),
    ),
    "hold": (
        Reason(rule="seeds", outcome="hold", text="One training seed, at least 2 asked.", value=1),
        Reason(rule="reduction", outcome="promote", text="Reduction 38.6%, at least 5% is asked."),
    ),
    "reject": (
        Reason(
            rule="constant",
            outcome="reject",
            text="One constant sentence scores 0.316, nearer to the reference than the tuned 0.442.",
            value=0.442,
            threshold=0.316,
        ),
        Reason(rule="diversity", outcome="reject", text="Diversity ratio 0.47, at least 0.80 is asked."),
        Reason(rule="seeds", outcome="hold", text="One training seed, at least 2 are asked."),
        Reason(rule="reduction", outcome="promote", text="Reduction 38.6%, at least 5% is asked."),
    ),
}  # fmt: skip

HEADLINES: dict[Decision, str] = {
    "promote": "Promote: every rule of the gate passed.",
    "hold": "Hold: nearer to the reference, but too few trainings to be sure.",
    "reject": "Reject: the number fell, and one constant sentence would have brought it lower still.",
}


def analysis(topics: tuple[str, ...], decision: Decision = "reject", **changes: Any) -> Analysis:
    """A trained run's analysis over these topic ids."""
    made = Analysis(
        level=0.95,
        seed=0,
        resamples=10_000,
        permutations=10_000,
        primary=contrast("tuned", "base_p3", topics),
        scale=Scale(
            floor=estimate(0.86, 0.02), register_only=estimate(0.56, 0.03), ceiling=estimate(0.30, 0.02)
        ),
        arms=tuple(arm(*entry, topics) for entry in ARMS),
        contrasts=(contrast("tuned", "shuffled", topics, 0.15), contrast("tuned", "constant", topics, -0.4)),
        guards=GUARDS,
        matrix=tuple(
            MatrixCell(trained_on=row, measured_against=column, mean=estimate(mean))
            for row, column, mean in (
                ("ten-commandments", "ten-commandments", 0.442),
                ("ten-commandments", "gdpr-article-5", 0.700),
                ("gdpr-article-5", "ten-commandments", 0.690),
                ("gdpr-article-5", "gdpr-article-5", 0.410),
                ("base", "ten-commandments", 0.720),
                ("base", "gdpr-article-5", 0.650),
            )
        ),
        verdict=Verdict(decision=decision, headline=HEADLINES[decision], reasons=REASONS[decision]),
        uncontrolled=(),
        not_run={"polarity": "the generator cannot score"},
        notes=("The pooled figure is primary; topics are exploratory.",),
    )
    return made.model_copy(update=changes)


def measured(topics: tuple[str, ...]) -> Analysis:
    """The analysis of a run that only measured: base arms, no contrast, no verdict."""
    whole = analysis(topics)
    base = tuple(entry for entry in whole.arms if entry.arm in ("original", "base_p3", "base_reference"))
    return whole.model_copy(
        update={
            "primary": None, "verdict": None, "arms": base, "contrasts": (), "matrix": (),
            "guards": (GUARDS[3],), "uncontrolled": ("The endpoint takes no seed: no draw can be repeated.",),
        }
    )  # fmt: skip


def values() -> ValueSpace:
    """Two arms in value space; of hedonism nothing may be said."""

    def vector(shift: float) -> ValueVector:
        spoken = [name for name in TITLES if name != "hedonism"]
        silent = dict.fromkeys(TITLES)
        shares = LabelShares(important=0.5, none=0.4, opposed=0.1)
        return ValueVector(
            n=120,
            scores={**silent, **{name: estimate(IDEAL[name] * 0.6 + shift, 0.1) for name in spoken}},
            shares={**silent, **dict.fromkeys(spoken, shares)},
            distance=estimate(1.4 - shift, 0.1),
        )

    dimensions = tuple(
        ValueDimension(
            value=name,
            title=title,
            target=IDEAL[name],
            standing="too_few_labels" if name == "hedonism" else "unknown",
            reason="3 labels, at least 20 are asked" if name == "hedonism" else "",
        )
        for name, title in TITLES.items()
    )
    arms = (("base_p3", "Base model, third prompt", 0.0), ("tuned", "Tuned", 0.2))
    return ValueSpace(
        evaluator="judge",
        evaluator_id="SmolLM2-135M-Instruct",
        evaluator_sha256="ab" * 32,
        agreement="unknown",
        calibrated=True,
        target=dict(IDEAL),
        dimensions=dimensions,
        arms=tuple(
            ArmVector(arm=name, kind=name, title=title, pooled=vector(shift), topics={})
            for name, title, shift in arms
        ),
        contrasts=(ValueContrast(arm="tuned", against="base_p3", difference=estimate(0.2, 0.08)),),
        level=0.95,
        seed=0,
        resamples=10_000,
        notes=("Distances are Euclidean over the values that may be spoken of.",),
    )


def ruler(topics: tuple[str, ...]) -> RulerResult:
    return RulerResult(
        sha256="cd" * 32,
        name="benchmark",
        model="Qwen2.5-7B-Instruct",
        model_fingerprint="ef" * 32,
        run_id="run-benchmark",
        own=0.71,
        benchmark=0.62,
        topics=tuple(RulerTopicResult(topic=t, own=0.71, benchmark=0.62, texts=100) for t in topics),
    )
