"""The sections of a study and their defaults: the paper's numbers (section 4), and what goes beyond it."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from services.orchestrator.schemas import ReferenceSetChoice, Slug, Words


class Section(BaseModel):
    """Immutable; unknown keys, NaN and infinities are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GenerationSettings(Section):
    """How completions are drawn, and how often a draw that is no usable principle is repeated."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 96
    max_draws: Annotated[int, Field(ge=1, le=100)] = 5
    duplicates: Literal["redraw", "keep"] = "redraw"
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] = 0.9


class SplitSettings(Section):
    """Fractions of each topic's pairs; they add up to 1."""

    train: Annotated[float, Field(gt=0, lt=1)] = 0.6
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2

    @model_validator(mode="after")
    def _whole(self) -> "SplitSettings":
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train, validation and test must add up to 1, not {total:g}")
        return self


class WeightSettings(Section):
    """How topic means become loss weights; ``floor`` is used by min-max alone."""

    normalization: Literal["max", "min-max"] = "max"
    floor: Annotated[float, Field(gt=0, le=1)] = 0.1


class LoraSettings(Section):
    """The LoRA adapter: rank, scaling, dropout and the modules it attaches to."""

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[int, Field(ge=1)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] = ("q_proj", "k_proj", "v_proj", "o_proj")


class TrainingSettings(Section):
    """One iteration of fine-tuning. ``learning_rate`` 1e-5, AdamW, cosine schedule: the paper's."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = 5
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 4
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-5
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    lr_schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    max_length: Annotated[int, Field(ge=8)] = 1024
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    continue_adapter: bool = True
    canaries: Annotated[int, Field(ge=1, le=64)] = 4
    checkpoint_every_steps: Annotated[int, Field(ge=1)] = 25


"""What the arm "other" is trained on by default: the first, or the second if the first is the study's."""

TrainingArm = Literal["uniform", "shuffled", "other"]

GuardName = Literal[
    "reference_validity",
    "diversity",
    "subject",
    "copying",
    "leakage",
    "second_encoder",
    "polarity",
    "utility",
    "tasks",
    "training",
]


class ArmSettings(Section):
    """The arms beside the tuned one. Cheap arms (base, in-context, constant, copied) always run.

    ``training_seeds``: how often the best checkpoint's recipe is trained, each time from another seed.
    ``controls``: trainings that should do worse; see docs/guides/statistics.md.
    ``other_reference_set``: what "other" is trained on; by default ``gdpr-article-5``, or
    ``ten-commandments`` for that one. Where it is left out and the default says nothing of the study's
    topics, the arm is not run, and the report says so.
    """

    training_seeds: Annotated[int, Field(ge=1, le=20)] = 3
    controls: tuple[TrainingArm, ...] = ("uniform", "shuffled", "other")
    other_reference_set: ReferenceSetChoice | None = None


class MeasurementSettings(Section):
    """How often each input is drawn, and how the numbers are resampled."""

    samples: Annotated[int, Field(ge=1, le=100)] = 5
    reference_samples: Annotated[int, Field(ge=1, le=100)] = 2
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    permutations: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    max_distribution_texts: Annotated[int, Field(ge=20, le=20_000)] = 1_000


class TaskSettings(Section):
    """A task file of the user's: multiple-choice items, uploaded before, named by its sha256."""

    name: Slug
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.02


class GuardSettings(Section):
    """What is watched beside the value difference."""

    general_prompts: Slug | None = "general"
    general_max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    polarity: bool = True
    tasks: tuple[TaskSettings, ...] = ()
    markers: tuple[Words, ...] = ()
    """Marker words beside those of the reference set."""

    @model_validator(mode="after")
    def _tasks_by_name(self) -> "GuardSettings":
        names = [task.name for task in self.tasks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"tasks given twice: {', '.join(twice)}; give each a name of its own")
        return self


class HumanReviewSettings(Section):
    """What the gate asks of a human review; nothing unless ``required``. docs/guides/human-review.md.

    ``min_reviewers``: people other than whoever began the run, an item. ``min_alpha``: Krippendorff's,
    ordinal. ``min_difference``: points of the mean rating, tuned above base_p3; below 0 a margin of
    non-inferiority; null to leave it out. ``min_correlation``: Spearman's, of ratings and cosine similarity;
    null to leave it out.
    """

    required: bool = False
    min_reviewers: Annotated[int, Field(ge=1, le=20)] = 2
    min_items: Annotated[int, Field(ge=1, le=100_000)] = 30
    min_alpha: Annotated[float, Field(ge=-1, le=1)] = 0.667
    min_difference: Annotated[float, Field(ge=-9, le=9)] | None = 0.0
    min_correlation: Annotated[float, Field(ge=-1, le=1)] | None = None


class GateSettings(Section):
    """Thresholds of the verdict. docs/guides/gate.md gives the reason of each default."""

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    min_reduction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    min_training_seeds: Annotated[int, Field(ge=1)] = 2
    min_test_inputs: Annotated[int, Field(ge=1)] = 30
    min_answered: Annotated[float, Field(ge=0, le=1)] = 0.8
    min_diversity_ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    min_diversity_of_base: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_diversity_of_topic: Annotated[float, Field(ge=0, le=1)] = 0.5
    min_specificity_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_subject_ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    max_copying_excess: Annotated[float, Field(ge=0, le=1)] = 0.1
    max_marker_excess: Annotated[float, Field(ge=0, le=1)] = 0.1
    min_masked_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_contradictions: Annotated[float, Field(ge=0, le=1)] = 0.05
    min_judge_auc: Annotated[float, Field(gt=0.5, le=1)] = 0.8
    min_valid_references: Annotated[float, Field(gt=0, le=1)] = 0.8
    max_kl_nats: Annotated[float, Field(gt=0)] = 0.5
    max_nll_increase_nats: Annotated[float, Field(gt=0)] = 0.1
    max_length_ratio: Annotated[float, Field(gt=1)] = 1.5
    required_controls: tuple[TrainingArm, ...] = ("shuffled",)
    """Controls that the tuned model must be shown to beat; one that was not trained holds it."""
    required: tuple[GuardName, ...] = (
        "reference_validity",
        "diversity",
        "subject",
        "copying",
        "leakage",
        "second_encoder",
        "polarity",
        "utility",
    )
    """Guards without which there is no promotion: one that was not measured holds it."""
    human_review: HumanReviewSettings = HumanReviewSettings()


class EndpointSettings(Section):
    """An OpenAI-compatible endpoint to measure instead of the generator. Its key is a setting of the
    orchestrator, by host: a study holds no secret."""

    url: Annotated[str, Field(pattern="^https?://", max_length=2000)]
    model: Words
    requests_at_once: Annotated[int, Field(ge=1, le=256)] = 8
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    max_attempts: Annotated[int, Field(ge=1, le=50)] = 6
    send_seed: bool = True

    @field_validator("url", mode="after")
    @classmethod
    def _holds_no_secret(cls, value: str) -> str:
        # Never quoted: what is refused here may be a secret.
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError("is no URL; write it as https://api.example.org/v1") from None
        if parts.username is not None or parts.password is not None:
            raise ValueError(
                "must hold no user or password; set the key in VALIGN_ORCHESTRATOR_ENDPOINT_KEYS by host"
            )
        if parts.query or parts.fragment:
            raise ValueError("must end with its path: no '?' and no '#'")
        if not host:
            raise ValueError("names no host; write it as https://api.example.org/v1")
        return value.rstrip("/")


ValueName = Literal[
    "self-direction",
    "stimulation",
    "hedonism",
    "achievement",
    "power",
    "security",
    "tradition",
    "conformity",
    "benevolence",
    "universalism",
]


class ValueSpaceSettings(Section):
    """FULCRA's value space beside cosine. ``target``: "ideal", or a score in [-1, 1] by value.

    ``weight``: share of the topic weights that the distance in value space makes up; 0 for none.
    ``calibrate``: divide a judge's answers by those to content-free questions (Zhao et al. 2021).
    ``agreement``: sha256 of how well the judge agreed with labels; without it that is reported as unknown.
    """

    evaluator: Literal["none", "judge", "head"] = "none"
    head: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    target: Literal["ideal"] | dict[ValueName, Annotated[float, Field(ge=-1, le=1)]] = "ideal"
    weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    calibrate: bool = True
    agreement: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "ValueSpaceSettings":
        if (self.evaluator == "head") != (self.head is not None):
            raise ValueError(
                "head is the sha256 of a trained head and goes with evaluator 'head', and only with it"
            )
        if self.weight and self.evaluator == "none":
            raise ValueError("weight above 0 needs an evaluator: judge or head")
        if self.agreement is not None and self.evaluator != "judge":
            raise ValueError("agreement tells how well a judge agrees; it goes with evaluator 'judge'")
        return self


class StopSettings(Section):
    """When the loop ends. A negative ``min_relative_improvement`` never stops early."""

    max_iterations: Annotated[int, Field(ge=1, le=100)] = 5
    min_relative_improvement: Annotated[float, Field(ge=-1e9, le=1)] = 0.01


class BudgetSettings(Section):
    """The most that a run may use; whichever is reached first ends it between two steps, with the best state
    so far. null: no limit.

    ``max_tokens``: prompt and completion tokens of what is generated. ``max_training_steps``: over all
    trainings. ``max_gpu_s``: seconds times GPUs, as the services tell them. ``max_wall_s``: seconds in which
    the run goes on, without those in which it waits or is paused.
    """

    max_tokens: Annotated[int, Field(ge=1, le=10**15)] | None = None
    max_training_steps: Annotated[int, Field(ge=1, le=10**12)] | None = None
    max_gpu_s: Annotated[float, Field(gt=0, le=1e12)] | None = None
    max_wall_s: Annotated[float, Field(gt=0, le=1e12)] | None = None


class PromotionSettings(Section):
    """What becomes of the best adapter once the gate says promote. It changes nothing of what is measured.

    ``approval``: a second person must approve it first. ``automatic``: it is promoted without anybody's word,
    or, with ``canary_share``, becomes the route's canary with that share of the requests.
    """

    approval: bool = False
    automatic: bool = False
    route: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "valign"
    canary_share: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "PromotionSettings":
        if self.approval and self.automatic:
            raise ValueError("approval asks for a person, and automatic for none; set one of them to false")
        if self.canary_share is not None and not self.automatic:
            raise ValueError("canary_share is what an automatic promotion begins with: set automatic: true")
        return self
