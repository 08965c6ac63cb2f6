"""Shapes of the documents that people write, and their conversion to and from the domain."""

import re
from collections.abc import Sized
from datetime import date
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from services.orchestrator.domain.prompts import (
    STAGES,
    PromptSet,
    Shot,
    Stage,
    StagePrompt,
    placeholder_faults,
)
from services.orchestrator.domain.reference import ReferencePrinciple, ReferenceSet
from services.orchestrator.domain.topics import Topic, TopicSet

_Sized = TypeVar("_Sized", bound=Sized)
# Marks of "a packaged id" and "written out"; they stand in pydantic's paths, never in ours.
ID_TAG, INLINE_TAG = "<id>", "<inline>"
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
# Ids of topics and principles may be in any script; they must stay one readable word.
_NAME = re.compile(r"[^\W_][\w.-]{0,79}")


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise ValueError(
            f"'{value}' must be 1 to 80 lower-case letters, digits, '.', '-' or '_', "
            "and begin with a letter or digit"
        )
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"'{value}' must be 1 to 80 letters (of any script), digits, '.', '-' or '_', "
            "and begin with a letter or digit"
        )
    return value


def _words(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value.strip()


def _text(value: Any) -> Any:
    # YAML reads 1.0 as a number where a person meant text.
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _not_empty(value: _Sized) -> _Sized:
    # After the entries: a constraint of pydantic's would also complain when an entry is wrong.
    if not value:
        raise ValueError("must have at least 1 entry")
    return value


def _form(value: Any) -> str:
    return ID_TAG if isinstance(value, str) else INLINE_TAG


def _iso_date(value: str) -> str:
    try:
        date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"'{value}' is no date; write it as 2026-01-31") from None
    return value


Slug = Annotated[str, AfterValidator(_slug)]
Name = Annotated[str, BeforeValidator(_text), AfterValidator(_name)]
Words = Annotated[str, BeforeValidator(_text), Field(max_length=20_000), AfterValidator(_words)]
Prefill = Annotated[str, Field(max_length=2_000)]
IsoDate = Annotated[str, BeforeValidator(_text), AfterValidator(_iso_date)]
AsId = Annotated[Slug, Tag(ID_TAG)]
IdOrInline = Discriminator(_form)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TopicDocument(_Document):
    """One topic: a stable id, a title and one sentence that says what it means."""

    id: Name
    title: Words
    description: Words

    def to_domain(self) -> Topic:
        return Topic(id=self.id, title=self.title, description=self.description)


Topics = Annotated[tuple[TopicDocument, ...], AfterValidator(_not_empty)]
TopicsChoice = Annotated[AsId | Annotated[Topics, Tag(INLINE_TAG)], IdOrInline]


class TopicSetDocument(_Document):
    """A named list of topics."""

    id: Slug
    title: Words
    version: Words
    topics: Topics

    def to_domain(self) -> TopicSet:
        return TopicSet(self.id, self.title, self.version, tuple(t.to_domain() for t in self.topics))


class ReferencePrincipleDocument(_Document):
    """One reference principle."""

    id: Name
    heading: Words
    text: Words
    source: str = ""


class ReferenceSetDocument(_Document):
    """A reference set: principles, the topics they are mapped to, and who answers for them."""

    id: Slug
    title: Words
    version: Words
    review_date: IsoDate
    steward: Words
    responsible: Words
    source: Words
    languages: tuple[Words, ...] = ("en",)
    changes: tuple[Words, ...] = ()
    stakeholders_consulted: tuple[Words, ...] = ()
    principles: Annotated[tuple[ReferencePrincipleDocument, ...], AfterValidator(_not_empty)]
    topics: dict[Name, Annotated[tuple[Name, ...], AfterValidator(_not_empty)]]

    @model_validator(mode="after")
    def _consistent(self) -> "ReferenceSetDocument":
        ids = [principle.id for principle in self.principles]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"principles given twice: {', '.join(twice)}")
        if unknown := self.to_domain().unknown_principles():
            places = "; ".join(f"topics.{topic} names '{name}'" for topic, name in unknown)
            raise ValueError(f"unknown principle: {places}; known: {', '.join(ids)}")
        return self

    def to_domain(self) -> ReferenceSet:
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        fields["principles"] = tuple(ReferencePrinciple(**p.model_dump()) for p in self.principles)
        return ReferenceSet(**fields)

    @classmethod
    def from_domain(cls, value: ReferenceSet) -> "ReferenceSetDocument":
        fields = {name: getattr(value, name) for name in cls.model_fields}
        fields["principles"] = tuple(
            ReferencePrincipleDocument(id=p.id, heading=p.heading, text=p.text, source=p.source)
            for p in value.principles
        )
        return cls(**fields)


ReferenceSetChoice = Annotated[AsId | Annotated[ReferenceSetDocument, Tag(INLINE_TAG)], IdOrInline]


class ShotDocument(_Document):
    """One worked example: values of placeholders, and the answer."""

    answer: Words
    values: dict[str, Words] = {}


class StagePromptDocument(_Document):
    """One prompt stage."""

    user: Words
    system: str = ""
    shots: tuple[ShotDocument, ...] = ()
    prefill: Prefill = ""

    def to_domain(self) -> StagePrompt:
        shots = tuple(Shot(answer=shot.answer, values=shot.values) for shot in self.shots)
        return StagePrompt(user=self.user, system=self.system.strip(), shots=shots, prefill=self.prefill)


class StagesDocument(_Document):
    """The three stages; in an override only those that differ."""

    original: StagePromptDocument | None = None
    aligned: StagePromptDocument | None = None
    realigned: StagePromptDocument | None = None

    def to_domain(self) -> dict[Stage, StagePrompt]:
        given = {stage: getattr(self, stage) for stage in STAGES}
        return {stage: prompt.to_domain() for stage, prompt in given.items() if prompt is not None}


class PromptSetDocument(_Document):
    """A prompt set: the three stages, and per reference set the stages that differ."""

    id: Slug
    title: Words
    version: Words
    stages: StagesDocument
    overrides: dict[Slug, StagesDocument] = {}
    facets: tuple[Words, ...] = ()
    schema_version: Literal["1"] = "1"

    @model_validator(mode="after")
    def _consistent(self) -> "PromptSetDocument":
        if missing := [stage for stage in STAGES if getattr(self.stages, stage) is None]:
            raise ValueError(f"stages: missing {', '.join(missing)}")
        for where, stages in {"stages": self.stages, **self.overrides}.items():
            for stage, prompt in stages.to_domain().items():
                if faults := placeholder_faults(stage, prompt):
                    raise ValueError(f"{where}.{stage}: {'; '.join(faults)}")
        return self

    def to_domain(self) -> PromptSet:
        return PromptSet(
            id=self.id,
            title=self.title,
            version=self.version,
            stages=self.stages.to_domain(),
            overrides={name: stages.to_domain() for name, stages in self.overrides.items()},
            facets=self.facets,
        )

    @classmethod
    def from_domain(cls, value: PromptSet) -> "PromptSetDocument":
        return cls(
            id=value.id,
            title=value.title,
            version=value.version,
            stages=_stages_document(value.stages),
            overrides={name: _stages_document(stages) for name, stages in value.overrides.items()},
            facets=value.facets,
        )


PromptSetChoice = Annotated[AsId | Annotated[PromptSetDocument, Tag(INLINE_TAG)], IdOrInline]


def _stages_document(stages: Any) -> StagesDocument:
    documents = {
        stage: StagePromptDocument(
            user=prompt.user,
            system=prompt.system,
            prefill=prompt.prefill,
            shots=tuple(ShotDocument(answer=s.answer, values=dict(s.values)) for s in prompt.shots),
        )
        for stage, prompt in stages.items()
    }
    return StagesDocument(**cast(dict[str, Any], documents))
