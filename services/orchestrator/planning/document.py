"""What is asked of a plan, and what it answers, as the API spells them."""

from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.orchestrator.documents import MAX_DOCUMENT_BYTES
from services.orchestrator.planning.speed import Seconds
from services.orchestrator.planning.tokens import Quantities

_Count = Annotated[int, Field(ge=1, le=65_536)]
_Speed = Annotated[float, Field(ge=1e-6, le=1e12)] | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PlanRequest(_Part):
    """A study, and what it is to run on. What is left out is taken from what serves, or is not estimated."""

    study: Annotated[str, Field(max_length=MAX_DOCUMENT_BYTES)] | dict[str, Any] = Field(
        description="The study: YAML or JSON text, or the object itself."
    )
    shape: Annotated[str, Field(max_length=40)] = Field(
        "", description="The model's size by name: 135m, 1b, 3b, 8b, 14b, 32b or 70b."
    )
    config: dict[str, Any] | None = Field(None, description="The model's config.json, instead of shape.")
    parameters: Annotated[int, Field(ge=0, le=10**14)] = Field(
        0, description="Number of weights, where it is known better than by counting; 0 to count."
    )
    device: Annotated[str, Field(max_length=40)] = Field(
        "", description="A device by name: l4, l40s, a100-40, a100-80, h100 or h200."
    )
    device_memory_gib: Annotated[float, Field(ge=0.001, le=100_000)] | None = Field(
        None, description="Memory of one device in GiB, instead of the named device's."
    )
    gpus: _Count = Field(1, description="GPUs that share each layer: the engine's tensor parallelism.")
    pipeline_gpus: _Count = Field(
        1, description="GPUs, or groups of `gpus`, that share the stack of layers: its pipeline parallelism."
    )
    copies: _Count = Field(
        1, description="Copies of the model in one engine, each on GPUs of its own: its data parallelism."
    )
    replicas: _Count = Field(1, description="Engines that share the completions.")
    gpu_memory_utilization: Annotated[float, Field(ge=0.01, le=1)] = Field(
        0.9, description="Share of a GPU's memory for the engine."
    )
    max_model_len: Annotated[int, Field(ge=16, le=10**7)] | None = Field(
        None, description="Longest prompt plus completion in tokens; the generator's own, or 2048."
    )
    max_num_seqs: _Count = Field(256, description="Most sequences in one engine step.")
    max_loras: _Count = Field(2, description="Adapters that one engine step can mix.")
    max_lora_rank: Annotated[int, Field(ge=1, le=512)] | None = Field(
        None, description="Largest adapter rank that the engine takes; the generator's own, or 64."
    )
    training_gpus: _Count = Field(1, description="GPUs of one training job.")
    sharding: Literal["none", "full", "ddp", "fsdp2"] = Field(
        "none",
        description="fsdp2 (or full): the base's weights are divided among the training GPUs. ddp (or none):"
        " each has them all.",
    )
    checkpointing: bool = Field(False, description="Activations are computed again instead of kept.")
    training_bits: Literal[4, 16, 32] | None = Field(
        None, description="Bits of a base weight while training; by the study's dtype."
    )
    completion_tokens: Annotated[float, Field(ge=0.1, le=1e6)] | None = Field(
        None, description="Mean tokens of a completion; by default that of past runs, or the study's most."
    )
    completion_tokens_per_s: _Speed = Field(None, description="Completion tokens a second, over all engines.")
    scores_per_s: _Speed = Field(None, description="Scored continuations a second, over all engines.")
    embeddings_per_s: _Speed = Field(None, description="Embedded texts a second.")
    trained_examples_per_s: _Speed = Field(None, description="Training examples a second.")


class Amounts(_Part):
    """What is asked of the services."""

    completions: int = Field(description="Completions that are drawn.")
    prompt_tokens: int = Field(description="Tokens of their prompts.")
    completion_tokens: int = Field(description="Tokens of these completions.")
    tokens: int = Field(description="Both: what a budget of tokens counts.")
    scores: int = Field(description="Continuations whose log-probability is asked for.")
    scored_tokens: int = Field(description="Tokens of them with their prompts.")
    embeddings: int = Field(description="Texts to embed.")
    training_steps: int = Field(description="Optimiser steps.")
    trained_examples: int = Field(description="Examples seen, over all epochs.")
    trained_tokens: int = Field(description="Tokens of these examples.")

    @classmethod
    def of(cls, quantities: Quantities) -> "Amounts":
        """From the counts."""
        found = {field.name: getattr(quantities, field.name) for field in fields(quantities)}
        return cls(**found, tokens=quantities.tokens)


class SecondsBody(_Part):
    """Wall seconds by service; null where nothing tells how fast it is."""

    generation: float | None
    scoring: float | None
    embedding: float | None
    training: float | None
    known: float = Field(description="The sum of those that are known.")
    complete: bool = Field(description="Whether all are.")

    @classmethod
    def of(cls, seconds: Seconds) -> "SecondsBody":
        """From the computed ones, to a tenth of a second."""
        found = {field.name: getattr(seconds, field.name) for field in fields(seconds)}
        rounded = {name: None if value is None else round(value, 1) for name, value in found.items()}
        return cls(**rounded, known=round(seconds.known, 1), complete=seconds.complete)


class StagePlan(_Part):
    """One stage of the run."""

    stage: str = Field(description="Its name, as in the run's events.")
    expected: Amounts = Field(description="With as many draws and tokens as past runs took.")
    at_most: Amounts = Field(description="With every draw used up, and every completion as long as may be.")
    seconds: SecondsBody = Field(description="Wall time of the expected amounts.")


class MemoryPlan(_Part):
    """What one device must hold, GiB."""

    what: Literal["generation", "training"]
    gpus: int = Field(description="Devices that share it.")
    parts: dict[str, float] = Field(description="GiB by part.")
    needed_gib: float = Field(description="Their sum.")
    usable_gib: float | None = Field(description="What there is; null if no device was named.")
    sequences: int | None = Field(description="Sequences of full length that the cache has room for.")
    fits: bool | None = Field(description="null if no device was named.")


class BudgetPlan(_Part):
    """A limit of the study's budget against what is expected."""

    limit: str = Field(description="Its name.", examples=["max_tokens"])
    allowed: float
    expected: float | None = Field(description="null where nothing tells.")
    fits: bool | None


class SpeedBody(_Part):
    """What a service does in a second, and how that is known."""

    what: str
    per_s: float
    source: Literal["given", "past runs", "data sheet"]


class Plan(_Part):
    """An estimate of what a run of the study costs. Of iterations and trainings it is the most."""

    study: str = Field(description="The study's name.")
    model: str = Field(description="The shape that memory was computed for; empty for none.")
    device: str = Field(description="The device; empty for none.")
    fits: bool = Field(description="False if anything is in `problems`.")
    problems: tuple[str, ...] = Field(description="What does not fit, with the remedy.")
    expected: Amounts
    at_most: Amounts
    seconds: SecondsBody
    gpu_s: float | None = Field(description="Seconds times GPUs of what is known; null without a device.")
    stages: tuple[StagePlan, ...]
    memory: tuple[MemoryPlan, ...] = Field(description="Empty without a shape.")
    budget: tuple[BudgetPlan, ...] = Field(description="Empty without a budget.")
    speeds: tuple[SpeedBody, ...]
    past_runs: int = Field(description="Runs of this model whose use the estimate rests on.")
    assumptions: tuple[str, ...] = Field(description="What was taken for what is not known.")
