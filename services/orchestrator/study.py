"""A study: everything that determines a run. The defaults are the paper's numbers (section 4)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from services.common.errors import InvalidInputError
from services.orchestrator import catalogue
from services.orchestrator.documents import fault, invalid_document
from services.orchestrator.domain.prompts import PromptSet
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.domain.topics import Topic
from services.orchestrator.schemas import (
    PromptSetChoice,
    PromptSetDocument,
    ReferenceSetChoice,
    ReferenceSetDocument,
    Slug,
    TopicsChoice,
    Words,
)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GenerationSettings(_Section):
    """How completions are drawn, and how often a draw that is no usable principle is repeated."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 96
    max_draws: Annotated[int, Field(ge=1, le=100)] = 5
    duplicates: Literal["redraw", "keep"] = "redraw"
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] = 0.9


class SplitSettings(_Section):
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


class WeightSettings(_Section):
    """How topic means become loss weights; ``floor`` is used by min-max alone."""

    normalization: Literal["max", "min-max"] = "max"
    floor: Annotated[float, Field(gt=0, le=1)] = 0.1


class LoraSettings(_Section):
    """The LoRA adapter: rank, scaling, dropout and the modules it attaches to."""

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[int, Field(ge=1)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] = ("q_proj", "k_proj", "v_proj", "o_proj")


class TrainingSettings(_Section):
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


OTHER_REFERENCE_SETS = ("gdpr-article-5", "ten-commandments")
"""What the arm "other" is trained on by default: the first, or the second if the first is the study's."""

TrainingArm = Literal["uniform", "shuffled", "other"]


class ArmSettings(_Section):
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


class MeasurementSettings(_Section):
    """How often each input is drawn, and how the numbers are resampled."""

    samples: Annotated[int, Field(ge=1, le=100)] = 5
    reference_samples: Annotated[int, Field(ge=1, le=100)] = 2
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    permutations: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    max_distribution_texts: Annotated[int, Field(ge=20, le=20_000)] = 1_000


class TaskSettings(_Section):
    """A task file of the user's: multiple-choice items, uploaded before, named by its sha256."""

    name: Slug
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    margin: Annotated[float, Field(gt=0, lt=1)] = 0.02


class GuardSettings(_Section):
    """What is watched beside the value difference."""

    general_prompts: Slug | None = "general"
    general_max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    polarity: bool = True
    tasks: tuple[TaskSettings, ...] = ()
    markers: tuple[Words, ...] = ()
    """Marker words beside those of the reference set."""


class GateSettings(_Section):
    """Thresholds of the verdict. docs/guides/gate.md gives the reason of each default."""

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    min_reduction: Annotated[float, Field(ge=0, lt=1)] = 0.05
    min_training_seeds: Annotated[int, Field(ge=1)] = 2
    min_test_inputs: Annotated[int, Field(ge=1)] = 30
    min_diversity_ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    min_specificity_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_subject_ratio: Annotated[float, Field(gt=0, le=1)] = 0.8
    max_copying_excess: Annotated[float, Field(ge=0, le=1)] = 0.1
    max_marker_excess: Annotated[float, Field(ge=0, le=1)] = 0.1
    max_contradictions: Annotated[float, Field(ge=0, le=1)] = 0.05
    min_valid_references: Annotated[float, Field(gt=0, le=1)] = 0.8
    max_kl_nats: Annotated[float, Field(gt=0)] = 0.5
    max_nll_increase_nats: Annotated[float, Field(gt=0)] = 0.1
    max_length_ratio: Annotated[float, Field(gt=1)] = 1.5
    required: tuple[str, ...] = (
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


class EndpointSettings(_Section):
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


class ValueSpaceSettings(_Section):
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


class StopSettings(_Section):
    """When the loop ends. A negative ``min_relative_improvement`` never stops early."""

    max_iterations: Annotated[int, Field(ge=1, le=100)] = 5
    min_relative_improvement: Annotated[float, Field(ge=-1e9, le=1)] = 0.01


class Study(_Section):
    """The file that ``valign run`` takes. Sets are a packaged id or written out in the file."""

    name: Slug
    description: Words | None = None
    model: Words | None = None
    encoder: Words | None = None
    reference_set: ReferenceSetChoice = "ten-commandments"
    topics: TopicsChoice = "ai-for-social-good"
    prompt_set: PromptSetChoice = "instruct"
    principles_per_topic: Annotated[int, Field(ge=1, le=10_000)] = 100
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    generation: GenerationSettings = GenerationSettings()
    split: SplitSettings = SplitSettings()
    weights: WeightSettings = WeightSettings()
    lora: LoraSettings = LoraSettings()
    training: TrainingSettings = TrainingSettings()
    stop: StopSettings = StopSettings()
    measure_only: bool = False
    endpoint: EndpointSettings | None = None
    ruler: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    second_encoder: Words | None = None
    arms: ArmSettings = ArmSettings()
    measurement: MeasurementSettings = MeasurementSettings()
    guards: GuardSettings = GuardSettings()
    gate: GateSettings = GateSettings()
    values: ValueSpaceSettings = ValueSpaceSettings()

    @model_validator(mode="after")
    def _tunable(self) -> "Study":
        if self.endpoint is not None and not self.measure_only:
            raise ValueError("a model behind an endpoint can only be measured: set measure_only: true")
        return self


@dataclass(frozen=True, slots=True)
class ResolvedStudy:
    """A study with its topics, reference set and prompt set in full.

    ``other_reference_set`` is None if no arm is trained on another set.
    """

    study: Study
    topics: tuple[Topic, ...]
    reference_set: ReferenceSet
    prompt_set: PromptSet
    other_reference_set: ReferenceSet | None = None

    def as_json(self) -> dict[str, Any]:
        """The study as JSON-able data in which nothing refers to a packaged id.

        ``Study.model_validate`` of it, resolved again, gives an equal ResolvedStudy, whatever a
        later version packages under the same ids.
        """
        study = self.study.model_dump(mode="json")
        if self.other_reference_set is not None:
            document = ReferenceSetDocument.from_domain(self.other_reference_set)
            study["arms"]["other_reference_set"] = document.model_dump(mode="json")
        return {
            **study,
            "topics": [asdict(topic) for topic in self.topics],
            "reference_set": ReferenceSetDocument.from_domain(self.reference_set).model_dump(mode="json"),
            "prompt_set": PromptSetDocument.from_domain(self.prompt_set).model_dump(mode="json"),
        }


def resolve(study: Study) -> ResolvedStudy:
    """Look up packaged ids and check that the parts fit. InvalidInputError names every fault's path."""
    faults: list[dict[str, Any]] = []
    topics = _lookup(study.topics, "topics", faults)
    reference_set = _lookup(study.reference_set, "reference_set", faults)
    prompt_set = _lookup(study.prompt_set, "prompt_set", faults)
    if topics and isinstance(reference_set, ReferenceSet):
        faults += _topic_faults(topics, reference_set)
    if faults:
        raise invalid_document(faults)
    other = None
    if "other" in study.arms.controls and not study.measure_only:
        other = _other_reference_set(study, topics, reference_set, faults)
    if faults:
        raise invalid_document(faults)
    return ResolvedStudy(study, topics, reference_set, prompt_set, other)


def _other_reference_set(
    study: Study, topics: tuple[Topic, ...], reference_set: ReferenceSet, faults: list[dict[str, Any]]
) -> ReferenceSet | None:
    """The set that the control arm "other" is trained on; None if the default one lacks a topic."""
    asked = study.arms.other_reference_set
    if asked is None:
        first, second = OTHER_REFERENCE_SETS
        default = catalogue.load_reference_set(second if reference_set.id == first else first)
        return default if all(default.topics.get(topic.id) for topic in topics) else None
    other = _lookup(asked, "other_reference_set", faults)
    if not isinstance(other, ReferenceSet):
        return None
    place = ("arms", "other_reference_set")
    if other.id == reference_set.id:
        message = f"'{other.id}' is the study's own reference set; name another one"
        faults.append(fault(None, None, place, message))
    for topic in topics:
        if not other.topics.get(topic.id):
            message = (
                f"the topic '{topic.id}' has no reference principle in '{other.id}'; name a set that has"
                f" one, or take 'other' out of arms.controls"
            )
            faults.append(fault(None, None, (*place, "topics", topic.id), message))
    return other


def study_digest(resolved: ResolvedStudy) -> str:
    """Sha256 (hex) of everything that determines the run's results; name and description left out."""
    data = resolved.as_json()
    return digest({key: value for key, value in data.items() if key not in ("name", "description")})


def digest(data: Any) -> str:
    """Sha256 (hex) of JSON-able data in canonical form."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def reference_set_digest(reference_set: ReferenceSet) -> str:
    """Sha256 (hex) of a reference set in full."""
    return digest(ReferenceSetDocument.from_domain(reference_set).model_dump(mode="json"))


def prompt_set_digest(prompt_set: PromptSet) -> str:
    """Sha256 (hex) of a prompt set in full: any change of a template changes the run's identity."""
    return digest(PromptSetDocument.from_domain(prompt_set).model_dump(mode="json"))


def _lookup(value: Any, key: str, faults: list[dict[str, Any]]) -> Any:
    try:
        match value:
            case ReferenceSetDocument() | PromptSetDocument():
                return value.to_domain()
            case tuple():
                return tuple(topic.to_domain() for topic in value)
            case _ if key == "topics":
                return catalogue.load_topics(value).topics
            case _ if key in ("reference_set", "other_reference_set"):
                return catalogue.load_reference_set(value)
            case _:
                return catalogue.load_prompt_set(value)
    except InvalidInputError as error:
        place = ("arms", key) if key == "other_reference_set" else (key,)
        faults.append(fault(None, None, place, error.message))
        return None


def _topic_faults(topics: tuple[Topic, ...], reference_set: ReferenceSet) -> list[dict[str, Any]]:
    faults, seen = [], set()
    for index, topic in enumerate(topics):
        if topic.id in seen:
            faults.append(
                fault(None, None, ("topics", index, "id"), f"the topic '{topic.id}' is given twice")
            )
        seen.add(topic.id)
        if not reference_set.topics.get(topic.id):
            message = (
                f"the topic '{topic.id}' has no reference principle in '{reference_set.id}'; "
                f"add it under the reference set's topics, or remove the topic"
            )
            faults.append(fault(None, None, ("reference_set", "topics", topic.id), message))
    return faults


def check_served(
    study: Mapping[str, Any] | Study, key: Literal["model", "encoder", "second_encoder"], served: str
) -> bool:
    """Whether what a service serves is what the study asks for (full id, or the folder's name)."""
    asked = study[key] if isinstance(study, Mapping) else getattr(study, key)
    if asked is None:
        return True
    return bool(asked == served or served.rstrip("/").split("/")[-1] == asked.rstrip("/").split("/")[-1])
