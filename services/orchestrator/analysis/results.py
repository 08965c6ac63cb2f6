"""What the analysis returns, as pydantic models: these are parts of report.json.

A "value difference" is 1 - cosine similarity, in [0, 2]. "Pooled" means the mean of the topic means.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

GuardStatus = Literal["pass", "warn", "fail", "not_measured"]
Decision = Literal["promote", "hold", "reject"]


class Part(BaseModel):
    """Immutable; unknown keys, NaN and infinities are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(Part):
    """A number with its confidence interval."""

    value: float = Field(description="Point estimate.")
    low: float | None = Field(default=None, description="Lower end of the interval; null if it has none.")
    high: float | None = Field(default=None, description="Upper end of the interval.")
    n: int = Field(default=0, ge=0, description="Inputs (clusters) behind it.")


class Distribution(Part):
    """Energy distance between two sets of texts (Euclidean chord), with a permutation test."""

    statistic: float = Field(description="Energy distance of the unit embeddings; 0 for equal distributions.")
    p_value: float = Field(description="Permutation p-value.")
    n_left: int = Field(description="Texts used on the left.")
    n_right: int = Field(description="Texts used on the right.")


class ArmResult(Part):
    """One arm measured against the reference texts, on the test inputs."""

    arm: str = Field(description="Name of the arm; arms of one kind that differ by seed are pooled.")
    kind: str = Field(description="Kind of arm, e.g. base_p3, tuned, constant.")
    title: str = Field(description="What people read.")
    training_seeds: int = Field(default=0, ge=0, description="Training seeds pooled here.")
    outputs: int = Field(ge=0, description="Texts measured.")
    mean: Estimate = Field(description="Pooled value difference to the reference texts.")
    by_topic: dict[str, Estimate] = Field(description="The same by topic; exploratory.")
    shuffled: float | None = Field(
        default=None, description="Pooled difference to reference texts of other inputs of the topic."
    )
    specificity: Estimate | None = Field(
        default=None, description="shuffled - mean: 0 for an arm that ignores its input."
    )
    scaled: Estimate | None = Field(
        default=None, description="(floor - mean) / (floor - ceiling): 0 at the floor, 1 at the ceiling."
    )
    distribution: Distribution | None = Field(
        default=None, description="Energy distance to the reference texts of the test inputs."
    )


class TopicContrast(Part):
    """One topic of a contrast; exploratory."""

    topic: str = Field(description="Topic id.")
    difference: Estimate = Field(description="Mean of against - arm: above 0 the arm lies nearer.")
    p_value: float | None = Field(default=None, description="Sign-flip permutation p-value, two-sided.")
    p_holm: float | None = Field(default=None, description="The same, adjusted over the topics (Holm).")
    effect_size: float | None = Field(
        default=None, description="Mean / standard deviation of the inputs' differences."
    )


class Contrast(Part):
    """One arm against another on the same inputs."""

    arm: str = Field(description="Name of the arm that is judged.")
    against: str = Field(description="Name of the arm that it is held against.")
    difference: Estimate = Field(
        description="Pooled against - arm: above 0 the arm lies nearer to the reference."
    )
    reduction: Estimate = Field(description="1 - arm / against of the pooled means, a fraction.")
    p_value: float | None = Field(
        default=None, description="Sign-flip permutation p-value, two-sided, pooled."
    )
    effect_size: float | None = Field(
        default=None, description="Mean / standard deviation of the inputs' differences."
    )
    topics: tuple[TopicContrast, ...] = Field(default=(), description="By topic; exploratory.")


class Scale(Part):
    """What the numbers lie between."""

    floor: Estimate = Field(
        description="Originals against the reference texts of other inputs: chance pairing."
    )
    register_only: Estimate = Field(
        description="Reference texts against other inputs of the topic: right register, wrong subject."
    )
    ceiling: Estimate | None = Field(
        default=None, description="Two independent draws of the reference for one input; null if not drawn."
    )


class Measure(Part):
    """One number of a guard."""

    name: str = Field(description="Id of the number within its guard.")
    title: str = Field(description="What people read.")
    value: float | None = Field(default=None, description="Null if it could not be computed.")
    low: float | None = Field(default=None, description="Lower end of its interval; null if it has none.")
    high: float | None = Field(default=None, description="Upper end of its interval.")
    threshold: float | None = Field(default=None, description="What it is held against; null if only told.")
    better: Literal["higher", "lower", "neither"] = Field(
        default="neither", description="On which side of the threshold it passes."
    )
    note: str = Field(default="", description="What to know about it.")


class Guard(Part):
    """One guard: what it asks, how it ended, and its numbers."""

    id: str = Field(description="Id of the guard, as the study's gate.required names it.")
    title: str = Field(description="What people read.")
    question: str = Field(description="The question it answers, in one sentence.")
    status: GuardStatus = Field(description="How it ended.")
    summary: str = Field(description="The outcome in words and numbers.")
    measures: tuple[Measure, ...] = Field(default=(), description="Its numbers.")


class Reason(Part):
    """One reason of the verdict."""

    rule: str = Field(description="Id of the gate's rule.")
    outcome: Literal["promote", "hold", "reject"] = Field(description="What this rule alone would decide.")
    text: str = Field(description="In words and numbers.")
    value: float | None = Field(default=None, description="The number that the rule looked at.")
    threshold: float | None = Field(default=None, description="What the rule held it against.")


class Verdict(Part):
    """The gate's decision."""

    decision: Decision = Field(description="What the gate decided.")
    headline: str = Field(description="One sentence.")
    reasons: tuple[Reason, ...] = Field(description="Every rule, those that decided first.")


class MatrixCell(Part):
    """One cell of trained on x measured against."""

    trained_on: str = Field(description='Reference set id, or "base" for the untuned model.')
    measured_against: str = Field(description="Reference set id.")
    mean: Estimate = Field(description="Pooled value difference to that set's reference texts.")


class RulerTopicResult(Part):
    """One topic of a model measured by a ruler. Both numbers are means over all pairs of a text of the one
    side and a target of the ruler: no text has a counterpart here."""

    topic: str = Field(description="Topic id.")
    own: float = Field(description="This model's own principles against the ruler's targets, in [0, 2].")
    benchmark: float = Field(description="The ruler's own originals against the same targets.")
    texts: int = Field(ge=0, description="Own principles behind it.")


class RulerResult(Part):
    """The ruler that a run was measured by, and how far the model's own principles lie from its targets."""

    sha256: str = Field(description="Content hash of the ruler.")
    name: str = Field(description="The ruler's name.")
    model: str = Field(description="The benchmark model, which wrote its texts.")
    model_fingerprint: str = Field(description="sha256 (hex) over that model's config and weights.")
    run_id: str = Field(description="The run that it was frozen from.")
    own: float = Field(description="Mean of the topics' own.")
    benchmark: float = Field(description="Mean of the topics' benchmark.")
    topics: tuple[RulerTopicResult, ...] = Field(description="The same by topic.")
    requested: int = Field(default=0, ge=0, description="Own principles asked for.")
    failed_by_reason: dict[str, int] = Field(
        default_factory=dict, description="Draws that gave no usable own principle, by reason."
    )


class Analysis(Part):
    """All of it: the part of report.json that says whether the number can be believed."""

    level: float = Field(description="Confidence level of every interval.")
    seed: int = Field(description="Seed of all resampling.")
    resamples: int = Field(description="Bootstrap resamples behind each interval.")
    permutations: int = Field(description="Permutations behind each p-value.")
    primary: Contrast | None = Field(
        description="Tuned against base_p3, pooled: the primary figure. Null if only measured."
    )
    scale: Scale = Field(description="Floor, register-only level and ceiling.")
    arms: tuple[ArmResult, ...] = Field(description="Every arm that was measured.")
    contrasts: tuple[Contrast, ...] = Field(default=(), description="Secondary and exploratory contrasts.")
    guards: tuple[Guard, ...] = Field(default=(), description="Every guard, measured or not.")
    matrix: tuple[MatrixCell, ...] = Field(default=(), description="Trained on x measured against.")
    verdict: Verdict | None = Field(default=None, description="Null for a run that only measured.")
    uncontrolled: tuple[str, ...] = Field(default=(), description="What this run could not control.")
    not_run: dict[str, str] = Field(default_factory=dict, description="What was not measured, and why.")
    notes: tuple[str, ...] = Field(
        default=(), description="How to read it: primary, exploratory, subsampled parts."
    )
