"""A study: everything that determines a run. The defaults are the paper's numbers (section 4)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

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
from services.orchestrator.study_sections import (
    ArmSettings,
    BudgetSettings,
    EndpointSettings,
    GateSettings,
    GenerationSettings,
    GuardSettings,
    LoraSettings,
    MeasurementSettings,
    PromotionSettings,
    Section,
    SplitSettings,
    StopSettings,
    TrainingSettings,
    ValueSpaceSettings,
    WeightSettings,
)

OTHER_REFERENCE_SETS = ("gdpr-article-5", "ten-commandments")


class Study(Section):
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
    promotion: PromotionSettings = PromotionSettings()
    budget: BudgetSettings = BudgetSettings()

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
    if study.guards.general_prompts is not None:
        _lookup(study.guards.general_prompts, "general_prompts", faults)
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
    """Sha256 (hex) of everything that determines the run's results; name, description, what becomes of the
    adapter afterwards and what the run may cost left out."""
    data = resolved.as_json()
    left_out = ("name", "description", "promotion", "budget")
    return digest({key: value for key, value in data.items() if key not in left_out})


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
            case _ if key == "general_prompts":
                return catalogue.load_general_prompts(value)
            case _:
                return catalogue.load_prompt_set(value)
    except InvalidInputError as error:
        section = {"other_reference_set": "arms", "general_prompts": "guards"}.get(key)
        faults.append(fault(None, None, (section, key) if section else (key,), error.message))
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
