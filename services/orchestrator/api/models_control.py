"""What the routes that steer runs answer with."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from services.orchestrator.ports import StepRecord


class RunStep(BaseModel):
    """One recorded step."""

    number: int = Field(description="Its place, from 1.")
    name: str = Field(description="Its name.", examples=["train_1"])
    error_code: str = Field(description="A code of the error table if it failed; empty if it succeeded.")


class RunSteps(BaseModel):
    """The steps of a run."""

    steps: list[RunStep] = Field(description="In order.")

    @classmethod
    def of(cls, steps: Sequence[StepRecord]) -> "RunSteps":
        """From the application's."""
        found = [RunStep(number=step.number, name=step.name, error_code=step.error_code) for step in steps]
        return cls(steps=found)
