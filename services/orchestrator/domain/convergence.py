"""When the loop ends and which checkpoint it keeps (paper section 3.4)."""

from collections.abc import Sequence
from typing import Literal

StopReason = Literal["max_iterations", "converged"]


def relative_improvement(previous: float, current: float) -> float:
    """(previous - current) / previous; 0 if there was no difference left to improve on."""
    return (previous - current) / previous if previous > 0 else 0.0


def stop_reason(
    validation_means: Sequence[float], max_iterations: int = 5, min_relative_improvement: float = 0.01
) -> StopReason | None:
    """Why the loop ends now, or None if it goes on.

    ``validation_means[i]`` is the mean validation difference after iteration i; entry 0 is the
    difference before any training. The improvement is that of the last iteration on the one before;
    the limit on iterations is named first when both hold.
    """
    iterations = len(validation_means) - 1
    if iterations >= max_iterations:
        return "max_iterations"
    if iterations >= 1:
        improvement = relative_improvement(validation_means[-2], validation_means[-1])
        if improvement < min_relative_improvement:
            return "converged"
    return None


def best_iteration(validation_means: Sequence[float]) -> int:
    """The iteration (from 1) with the lowest mean validation difference; the earliest of equals.

    Entry 0, the untuned model, is never chosen. ValueError if nothing was trained.
    """
    if len(validation_means) < 2:
        raise ValueError("no iteration has ended yet")
    return min(range(1, len(validation_means)), key=lambda iteration: validation_means[iteration])
