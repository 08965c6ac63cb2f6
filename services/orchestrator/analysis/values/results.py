"""What the value space says, as pydantic models: these are parts of report.json and of the API's answers.

A score lies in [-1, 1] (+1 important, 0 no connection, -1 opposed). What an evaluator may not speak of is
null, never 0.
"""

from typing import Literal

from pydantic import Field

from services.orchestrator.analysis.results import Estimate, Part

Standing = Literal["measured", "unknown", "too_few_labels"]


class LabelCounts(Part):
    """What was found in a file of labels, and what became of it."""

    lines: int = Field(ge=0, description="Lines (or entries) that were looked at.")
    rows: int = Field(ge=0, description="Dialogues used.")
    refused: dict[str, int] = Field(description="Lines that were left out, by reason.")
    duplicates: int = Field(ge=0, description="Lines that repeat a dialogue; they count once.")
    contradictory_rows: int = Field(ge=0, description="Dialogues labelled in two ways for some value.")
    contradictions: dict[str, int] = Field(
        description="By value: dialogues labelled in two ways; the value is unknown there."
    )
    unknown_values: dict[str, int] = Field(
        description="Labels for names that are none of the ten values, the 30 commonest; they are left out."
    )
    unknown_value_labels: int = Field(ge=0, description="How many such labels there are in all.")
    unreadable: dict[str, int] = Field(
        description="By value: labels that are none of +1, 0 and -1; the value is unknown in that row."
    )
    respelled_labels: int = Field(
        ge=0, description='Labels read though spelled otherwise, for example "Security:1" or "1+".'
    )
    repeated_labels: int = Field(ge=0, description="Labels given twice in a row, both times the same.")
    rows_without_values: int = Field(ge=0, description="Dialogues in which no value is important or opposed.")


class ValueAgreement(Part):
    """How well an evaluator's likeliest answer agrees with held-out labels of one value."""

    value: str = Field(description="One of the ten values.")
    status: Literal["measured", "too_few_labels"] = Field(description="Whether it may be spoken of.")
    reason: str = Field(default="", description="Why it may not be spoken of; empty if it may.")
    train_labels: dict[str, int] = Field(
        default_factory=dict, description="Training labels: important, none, opposed. Empty for a judge."
    )
    labels: dict[str, int] = Field(description="Held-out labels: important, none, opposed.")
    groups: int = Field(default=0, ge=0, description="Prompts (clusters) behind the held-out labels.")
    accuracy: Estimate | None = Field(default=None, description="Share of answers that agree.")
    balanced_accuracy: Estimate | None = Field(default=None, description="Mean recall; chance is 1/3.")
    kappa: Estimate | None = Field(default=None, description="Cohen's kappa; chance is 0.")
    majority: float | None = Field(
        default=None, description="Accuracy of always giving the commonest held-out label."
    )
    confusion: tuple[tuple[int, int, int], ...] = Field(
        default=(), description="Rows: label, columns: answer; both in the order important, none, opposed."
    )
    above_chance: bool | None = Field(
        default=None, description="True if kappa's interval lies above 0; null if it was not measured."
    )


class LabelShares(Part):
    """Shares of the likeliest answers."""

    important: float = Field(description="Share of texts that hold the value important.")
    none: float = Field(description="Share of texts without connection to it.")
    opposed: float = Field(description="Share of texts opposed to it.")


class ValueVector(Part):
    """Where some texts lie in value space."""

    n: int = Field(ge=0, description="Texts with a distance.")
    scores: dict[str, Estimate | None] = Field(
        description="Mean soft score by value; null where the evaluator may not speak."
    )
    shares: dict[str, LabelShares | None] = Field(description="Shares of the likeliest answers by value.")
    distance: Estimate | None = Field(
        description="Mean distance of the texts to the target; null if no value may be spoken of."
    )


class ArmVector(Part):
    """One arm on the test inputs. Pooled: the mean of the topics' means."""

    arm: str = Field(description="Name of the arm.")
    kind: str = Field(description="Kind of arm.")
    title: str = Field(description="What people read.")
    pooled: ValueVector = Field(description="Over all topics.")
    topics: dict[str, ValueVector] = Field(description="By topic id; exploratory.")
    incomplete: int = Field(
        default=0, ge=0, description="Texts for which some answer could not be scored; they have no distance."
    )


class ValueContrast(Part):
    """Distances of two arms on the same inputs."""

    arm: str = Field(description="Name of the arm that is judged.")
    against: str = Field(description="Name of the arm that it is held against.")
    difference: Estimate = Field(
        description="Pooled distance of against - arm: above 0 the arm lies nearer to the target."
    )


class ValueDimension(Part):
    """One of the ten values: its target, and what is known of the evaluator's word on it."""

    value: str = Field(description="One of the ten values.")
    title: str = Field(description="What people read.")
    target: float = Field(description="Score that the target vector gives it, in [-1, 1].")
    standing: Standing = Field(
        description='"measured": agreement with labels is known; "unknown": the judge was not held against '
        'labels; "too_few_labels": nothing is said.'
    )
    reason: str = Field(default="", description="Why nothing is said of it; empty otherwise.")
    agreement: ValueAgreement | None = Field(
        default=None, description="Agreement with held-out labels; null if there are none."
    )

    @property
    def spoken(self) -> bool:
        """Whether the evaluator may speak of it."""
        return self.standing != "too_few_labels"


class Weighing(Part):
    """How the distance in value space entered the topic weights, once."""

    iteration: int = Field(ge=0, description="0: the initial weights.")
    differences: dict[str, float] = Field(description="Mean value difference (cosine) by topic.")
    distances: dict[str, float] = Field(description="Mean distance in value space by topic.")
    share: float = Field(description="Share of the distance in the weights.")
    weights: dict[str, float] = Field(description="The weights that came of it.")


class ValueSpace(Part):
    """The ten dimensions of a run's texts."""

    evaluator: Literal["judge", "head"] = Field(description="Who scored the texts.")
    evaluator_id: str = Field(description="The judge's model, or the head's sha256.")
    evaluator_sha256: str = Field(description="Fingerprint of the judge's model, or the head's sha256.")
    agreement: Literal["measured", "unknown"] = Field(
        description="Whether it is known how well the evaluator agrees with held-out labels."
    )
    calibrated: bool = Field(description="True if the judge's answer prior was divided out.")
    questions_sha256: str = Field(
        default="", description="sha256 of the judge's questions; empty for a head."
    )
    target: dict[str, float] = Field(description="Target score by value.")
    dimensions: tuple[ValueDimension, ...] = Field(description="The ten values, in Schwartz's order.")
    arms: tuple[ArmVector, ...] = Field(description="Every arm that was scored.")
    contrasts: tuple[ValueContrast, ...] = Field(default=(), description="Arms against one another.")
    weighings: tuple[Weighing, ...] = Field(
        default=(), description="How the distance entered the topic weights, by iteration."
    )
    level: float = Field(description="Confidence level of every interval.")
    seed: int = Field(description="Seed of all resampling.")
    resamples: int = Field(description="Bootstrap resamples behind each interval.")
    notes: tuple[str, ...] = Field(default=(), description="How to read it.")
