"""report.json as pydantic models: the one place that says what a run's report holds.

A "value difference" is 1 - cosine similarity, in [0, 2]; 0 means the same direction.
A "mean of topic means" weighs every topic alike, however many pairs it has.
"""

import json
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field

from services.orchestrator.analysis.human_review import HumanReview, Revision
from services.orchestrator.analysis.results import Analysis, Part, RulerResult
from services.orchestrator.analysis.values.results import ValueSpace

SCHEMA_VERSION: Final = "1.3"

StopReason = Literal[
    "max_iterations", "converged", "too_few_pairs", "measure_only", "budget", "budget_before_training"
]
PointKind = Literal["original", "reference", "realigned"]


class Adapter(Part):
    """A LoRA adapter in the artifact store."""

    name: str = Field(description="Immutable name, never used twice.")
    sha256: str = Field(description="sha256 (hex) of the adapter's manifest.json.")
    uri: str = Field(description="Where its folder lies in the artifact store.")


class DataVersion(Part):
    """One versioned piece of data that entered the run."""

    id: str = Field(description="Packaged id, or the name a user's own set gave itself.")
    version: str = Field(description="Version that the data states.")
    sha256: str = Field(description="sha256 (hex) of its content.")


class Provenance(Part):
    """What has to be equal for two runs to be comparable."""

    model_fingerprint: str = Field(description="sha256 (hex) over the base model's config and weights.")
    encoder_fingerprint: str = Field(
        description="sha256 (hex) over the encoder's weights, pooling, normalisation."
    )
    prompt_set: DataVersion = Field(description="Prompts that were used.")
    reference_set: DataVersion = Field(description="Reference value set that was used.")
    identity: str = Field(description="sha256 (hex) over everything that determines the run.")
    seeds: dict[str, int] = Field(description='Seeds by purpose; "run" is the study\'s seed.')
    versions: dict[str, str] = Field(description="Versions of valign and of the engines and libraries used.")


class Topic(Part):
    """One topic's numbers. before, base_p3, after and constant speak of the same test pairs; of base_p3
    and after those pairs are left out that the arm has no usable text for (see counts)."""

    id: str = Field(description="Topic id, the key in iterations[].weights.")
    title: str = Field(description="Topic title as people read it.")
    n_train: int = Field(ge=0, description="Pairs in the train split.")
    n_validation: int = Field(ge=0, description="Pairs in the validation split.")
    n_test: int = Field(ge=0, description="Pairs in the test split; 0 in a run that only measured.")
    rank: int = Field(ge=1, description="1 is the topic with the largest initial mean.")
    initial_mean: float = Field(
        description="Mean value difference original to aligned over all pairs, in [0, 2]."
    )
    initial_weight: float = Field(description="Loss weight of the first iteration, in [0, 1].")
    before: float = Field(
        description="Mean value difference original to aligned on the test split, in [0, 2]; "
        "over all pairs in a run that only measured."
    )
    base_p3: float | None = Field(
        default=None,
        description="Mean value difference of the untuned model under the third prompt, test split.",
    )
    after: float | None = Field(
        default=None,
        description="Mean value difference of the best checkpoint under the third prompt, test split.",
    )
    reduction: float | None = Field(
        default=None, description="1 - after / before, a fraction; negative where the difference grew."
    )
    constant: float | None = Field(
        default=None,
        description="Mean value difference of the one constant sentence to aligned, test split.",
    )


class Overall(Part):
    """Means of the topic means."""

    before: float = Field(description="Mean over the topics' before.")
    base_p3: float | None = Field(default=None, description="Mean over the topics' base_p3.")
    after: float | None = Field(default=None, description="Mean over the topics' after.")
    reduction: float | None = Field(default=None, description="1 - after / before, a fraction.")
    constant: float | None = Field(default=None, description="Mean over the topics' constant.")


class Counts(Part):
    """What became of the principles asked for in one arm."""

    requested: int = Field(ge=0, description="Principles asked for.")
    usable: int = Field(ge=0, description="Principles that could be used.")
    redrawn: int = Field(ge=0, description="Extra draws that were made.")
    failed_by_reason: dict[str, int] = Field(
        default_factory=dict, description="Draws that gave no usable principle, by reason."
    )
    near_duplicate_rate: float | None = Field(
        default=None, description="Share of usable principles that near-duplicate an earlier one, in [0, 1]."
    )
    copied_original: int | None = Field(
        default=None,
        ge=0,
        description="Aligned principles that are a copy of their original; arm aligned only.",
    )


class TrainingSummary(Part):
    """One iteration's fine-tuning."""

    steps: int = Field(ge=0, description="Optimiser steps.")
    final_loss: float | None = Field(
        default=None, description="Weighted loss of the last step, in nats a token."
    )
    duration_s: float = Field(ge=0, description="Wall time, in seconds.")


class Iteration(Part):
    """One turn of the loop; iteration 0 is the base model before any training."""

    iteration: int = Field(ge=0, description="0 is before.")
    weights: dict[str, float] = Field(
        default_factory=dict,
        description="Topic loss weights that this iteration trained with; empty for iteration 0.",
    )
    validation_means: dict[str, float] = Field(
        description="Mean value difference by topic, validation split."
    )
    validation_mean: float = Field(description="Mean of validation_means.")
    relative_improvement: float | None = Field(
        default=None, description="(previous - this) / previous of validation_mean; null for iteration 0."
    )
    adapter: Adapter | None = Field(default=None, description="Adapter that this iteration trained.")
    training: TrainingSummary | None = Field(default=None, description="How the training went.")
    counts: Counts | None = Field(default=None, description="What became of this iteration's generations.")


class ProjectionPoint(Part):
    """A topic's mean embedding on the plane; only distances between points mean anything."""

    topic: str = Field(description="Topic id.")
    kind: PointKind = Field(description="Whose mean it is: original, reference (aligned) or realigned texts.")
    x: float = Field(description="Horizontal place, in units of cosine distance.")
    y: float = Field(description="Vertical place, in units of cosine distance.")


class Projection(Part):
    """Multidimensional scaling of the topic means to two dimensions."""

    points: tuple[ProjectionPoint, ...] = Field(default=(), description="Up to three points a topic.")


class MovedPrinciple(Part):
    """One test principle among those whose value difference fell most."""

    topic: str = Field(description="Topic id.")
    original: str = Field(description="What the model said under the first prompt.")
    aligned: str = Field(description="Its counterpart under the second prompt, the reference.")
    realigned: str = Field(description="What the best checkpoint says under the third prompt.")
    before: float = Field(description="Value difference original to aligned.")
    after: float = Field(description="Value difference realigned to aligned.")


class SwapLoad(Part):
    """Evidence that one adapter took effect when it was loaded into the running engine."""

    iteration: int = Field(ge=1, description="Iteration whose adapter it is.")
    adapter: str = Field(description="Name of the adapter.")
    canaries: int = Field(ge=0, description="Canary texts scored.")
    max_relative_error: float = Field(
        description="Largest relative gap between engine's and trainer's log-probability."
    )
    tolerance: float = Field(description="Largest such gap that is tolerated.")
    mean_shift_nats: float = Field(
        description="Mean |adapter - base| log-probability in the engine, in nats."
    )
    duration_s: float = Field(ge=0, description="From the call to the proof, in seconds.")
    already_loaded: bool = Field(default=False, description="True if the engine held it already.")


class Swap(Part):
    """The proofs of all hot swaps of the run."""

    loads: tuple[SwapLoad, ...] = Field(default=(), description="One entry a loaded adapter, in order.")


class EvidenceFile(Part):
    """The file from which every number of the analysis can be computed again."""

    uri: str = Field(description="Where it lies in the artifact store.")
    sha256: str = Field(description="sha256 (hex) of its bytes.")


class BudgetEnd(Part):
    """The limit that has ended the run, or left a part of it out."""

    step: str = Field(description="The step that decided so; a retry goes back to it.")
    left_out: str = Field(default="", description="What the run went without, in words.")
    limit: str = Field(description="Name of the limit in the study's budget.")
    allowed: float = Field(description="What it allows.")
    used: float = Field(description="What was used of it then.")
    needed: float = Field(description="What was expected to follow, with the end of the run.")


class Cost(Part):
    """What the run used, over all its attempts, against what was expected before it began.

    Counts: completions, prompt_tokens, completion_tokens, scores, embeddings (texts that the encoder
    computed), embeddings_cached (those whose rows were known), training_steps, trained_examples.
    Seconds: generation_s, scoring_s, embedding_s, training_s, wall_s, cpu_s, gpu_s.
    """

    used: dict[str, dict[str, float]] = Field(description="By stage.")
    planned: dict[str, dict[str, float]] = Field(
        description="By stage, with all iterations; empty in a run that an earlier version began."
    )
    total_used: dict[str, float] = Field(description="Sums over the stages.")
    total_planned: dict[str, float] = Field(description="Sums over the stages.")
    budget: BudgetEnd | None = Field(default=None, description="null if no limit was reached.")


class Report(Part):
    """The whole report of a run (report.json). A report of schema 1.0 is read too: it has no analysis."""

    schema_version: Literal["1.0", "1.1", "1.2", "1.3"] = Field(
        default=SCHEMA_VERSION, description="Version of this schema."
    )
    run_id: str = Field(description="Id of the run.")
    name: str = Field(description="Name that the study gives itself.")
    created_at: datetime = Field(description="When the report was written, ISO 8601 with offset.")
    base_model: str = Field(description="Model under test: hub id or folder name.")
    reference_set: str = Field(description="Id of the reference value set.")
    encoder: str = Field(description="Sentence encoder: hub id or folder name.")
    provenance: Provenance = Field(description="Fingerprints, versions and seeds.")
    warnings: tuple[str, ...] = Field(
        default=(), description="What a reader must know first, e.g. a reference set past its review date."
    )
    analysis: Analysis | None = Field(
        default=None,
        description="Verdict, intervals, arms, guards, matrix; null in reports of schema 1.0.",
    )
    values: ValueSpace | None = Field(
        default=None, description="The texts in Schwartz's value space; null if it was not asked for."
    )
    ruler: RulerResult | None = Field(
        default=None, description="The ruler that it was measured by; null if by its own reference texts."
    )
    human_review: HumanReview | None = Field(
        default=None, description="The newest closed human review of the run; null if there is none."
    )
    revision: Revision | None = Field(
        default=None, description="Which writing of the report this is; null for the run's own, the first."
    )
    evidence: EvidenceFile | None = Field(
        default=None, description="What the analysis was computed from; null if there is no analysis."
    )
    governance: dict[str, Any] | None = Field(
        default=None,
        description="Who stands behind the reference set: its governance fields by name; null if not stated.",
    )
    study: dict[str, Any] = Field(description="The study with every default filled in.")
    topics: tuple[Topic, ...] = Field(min_length=1, description="The topics, in the study's order.")
    overall: Overall = Field(description="Means over the topics.")
    constant_sentence: str | None = Field(
        default=None, description="The train split's central aligned text (medoid), scored as `constant`."
    )
    iterations: tuple[Iteration, ...] = Field(default=(), description="In order, from iteration 0.")
    best_iteration: int | None = Field(
        default=None,
        description="Iteration with the lowest validation_mean, from 1; null if nothing was trained.",
    )
    stop_reason: StopReason = Field(description="Why the loop ended.")
    adapter: Adapter | None = Field(default=None, description="Adapter of the best iteration.")
    timings_s: dict[str, float] = Field(
        default_factory=dict, description='Wall time by stage, in seconds, and their sum as "total".'
    )
    external_s: dict[str, float] = Field(
        default_factory=dict,
        description="Of it the time in other services, in seconds: generation, training, embedding, loading.",
    )
    usage_s: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="What the run cost, in seconds by service: cpu_s, and gpu_s where there is a GPU.",
    )
    cost: Cost | None = Field(
        default=None, description="What was used, against the plan; null in reports before schema 1.3."
    )
    counts: dict[str, Counts] = Field(
        default_factory=dict,
        description='By arm: "original", "aligned", "base_p3", "realigned-i1" and so on.',
    )
    projection: Projection | None = Field(default=None, description="The plane; null if it was not computed.")
    moved: tuple[MovedPrinciple, ...] = Field(
        default=(), max_length=10, description="Up to ten test principles, the largest fall first."
    )
    swap: Swap | None = Field(
        default=None, description="Proofs of the hot swaps; null if nothing was loaded."
    )

    def to_json(self) -> str:
        """report.json: indented UTF-8, keys in the schema's order."""
        return self.model_dump_json(indent=2) + "\n"


def json_schema() -> str:
    """JSON Schema (draft 2020-12) of report.json, as docs/report.schema.json holds it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(json_schema(), end="")
