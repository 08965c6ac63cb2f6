"""What valign ships as data: topics, reference sets, prompt sets and studies."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from services.common.errors import NotFoundError
from services.orchestrator.documents import fault, invalid_document, parse_document
from services.orchestrator.domain.prompts import PromptSet
from services.orchestrator.domain.reference import ReferenceSet
from services.orchestrator.domain.topics import TopicSet
from services.orchestrator.general_prompts import GeneralPromptSet, GeneralPromptSetDocument
from services.orchestrator.schemas import PromptSetDocument, ReferenceSetDocument, TopicSetDocument


@dataclass(frozen=True, slots=True)
class ShippedStudy:
    """A study file as it is shipped, comments and all. ``title`` is its first comment line."""

    id: str
    title: str
    text: str


def list_topic_sets() -> list[TopicSet]:
    """Every packaged topic set, by id."""
    return [load_topics(name) for name in _ids("topics")]


def list_reference_sets() -> list[ReferenceSet]:
    """Every packaged reference set, by id."""
    return [load_reference_set(name) for name in _ids("reference_sets")]


def list_prompt_sets() -> list[PromptSet]:
    """Every packaged prompt set, by id."""
    return [load_prompt_set(name) for name in _ids("prompt_sets")]


def list_shipped_studies() -> list[ShippedStudy]:
    """Every packaged study, by id."""
    return [load_shipped_study(name) for name in _ids("studies")]


@lru_cache
def load_topics(set_id: str) -> TopicSet:
    """A packaged topic set. InvalidInputError if there is none of that id."""
    return parse_document(_read("topics", set_id, "topic set"), TopicSetDocument).to_domain()


@lru_cache
def load_reference_set(set_id: str) -> ReferenceSet:
    """A packaged reference set. InvalidInputError if there is none of that id."""
    return parse_document(_read("reference_sets", set_id, "reference set"), ReferenceSetDocument).to_domain()


@lru_cache
def load_prompt_set(set_id: str) -> PromptSet:
    """A packaged prompt set. InvalidInputError if there is none of that id."""
    return parse_document(_read("prompt_sets", set_id, "prompt set"), PromptSetDocument).to_domain()


@lru_cache
def load_general_prompts(set_id: str) -> GeneralPromptSet:
    """A packaged set of general prompts. InvalidInputError if there is none of that id."""
    text = _read("general_prompts", set_id, "set of general prompts")
    return parse_document(text, GeneralPromptSetDocument).to_domain()


def load_shipped_study(study_id: str) -> ShippedStudy:
    """A packaged study's text. NotFoundError if there is none of that id."""
    if study_id not in _ids("studies"):
        raise NotFoundError(f"no shipped study '{study_id}'; there are: {', '.join(_ids('studies'))}")
    text = _read("studies", study_id, "study")
    return ShippedStudy(id=study_id, title=text.splitlines()[0].lstrip("# ").rstrip(), text=text)


def _folder(kind: str) -> Traversable:
    return files("services.orchestrator").joinpath("data", kind)


def _ids(kind: str) -> list[str]:
    return sorted(_stems(_folder(kind)))


def _stems(folder: Traversable) -> Iterator[str]:
    for entry in folder.iterdir():
        if entry.name.endswith(".yaml"):
            yield entry.name.removesuffix(".yaml")


def _read(kind: str, name: str, what: str) -> str:
    # Compared with the list, never joined from input: a name cannot leave the folder.
    if name not in _ids(kind):
        message = f"no packaged {what} '{name}'; there are: {', '.join(_ids(kind))}"
        raise invalid_document([fault(None, None, (), message)])
    return _folder(kind).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
