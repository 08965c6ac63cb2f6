"""General prompts: everyday questions with an answer each, by which drift of a tuned model is seen."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.orchestrator.schemas import Slug, Words

MAX_PROMPTS = 1_000


@dataclass(frozen=True, slots=True)
class GeneralPrompt:
    """One question and a good answer to it."""

    id: str
    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class GeneralPromptSet:
    """A versioned set of them. ``source`` says who wrote it, ``license`` under which terms it stands."""

    id: str
    title: str
    version: str
    source: str
    license: str
    prompts: tuple[GeneralPrompt, ...]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GeneralPromptDocument(_Document):
    """One question and its answer."""

    id: Slug
    text: Words
    answer: Words


class GeneralPromptSetDocument(_Document):
    """The file of a set."""

    id: Slug
    title: Words
    version: Words
    source: Words
    license: Words
    prompts: Annotated[tuple[GeneralPromptDocument, ...], Field(min_length=1, max_length=MAX_PROMPTS)]

    @model_validator(mode="after")
    def _each_once(self) -> "GeneralPromptSetDocument":
        ids = [prompt.id for prompt in self.prompts]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"prompts given twice: {', '.join(twice)}")
        return self

    def to_domain(self) -> GeneralPromptSet:
        """The set without its document."""
        prompts = tuple(GeneralPrompt(p.id, p.text, p.answer) for p in self.prompts)
        return GeneralPromptSet(self.id, self.title, self.version, self.source, self.license, prompts)
