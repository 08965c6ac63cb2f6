"""Learning rate schedules, as in transformers' ``get_<name>_schedule_with_warmup``."""

import math


def learning_rate(name: str, step: int, *, peak: float, total_steps: int, warmup_steps: int) -> float:
    """Learning rate of one optimizer step.

    Args:
        name: "cosine" (half a period, from the peak to 0), "linear" or "constant".
        step: steps done before this one, in 0..total_steps-1.
        peak: highest rate.
        total_steps: steps of the whole job, over all its epochs.
        warmup_steps: steps of linear rise from 0.
    """
    if step < warmup_steps:
        return peak * step / warmup_steps
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    match name:
        case "cosine":
            return peak * 0.5 * (1.0 + math.cos(math.pi * done))
        case "linear":
            return peak * (1.0 - done)
        case "constant":
            return peak
        case _:
            raise ValueError(f"no such schedule: {name!r}")
