"""Topic loss weights from topic means (paper section 3.3: "normalised to [0, 1]")."""

from collections.abc import Mapping
from typing import Literal

Normalization = Literal["max", "min-max"]


def topic_weights(
    means: Mapping[str, float], normalization: Normalization = "max", floor: float = 0.1
) -> dict[str, float]:
    """Weights in [0, 1] by topic, in the order of ``means`` (mean value differences, each >= 0).

    ``max``: mean / largest mean, so that the largest weighs 1 and ratios are kept.
    ``min-max``: from ``floor`` (smallest mean) to 1 (largest); the floor keeps every topic trained.
    Means that are all equal (all zero included) weigh 1 each. ValueError without topics or for a
    negative mean.
    """
    if not means:
        raise ValueError("no topic means to weigh")
    if min(means.values()) < 0:
        raise ValueError("a value difference cannot be negative")
    smallest, largest = min(means.values()), max(means.values())
    if smallest == largest:
        return dict.fromkeys(means, 1.0)
    if normalization == "max":
        return {topic: mean / largest for topic, mean in means.items()}
    span = largest - smallest
    return {topic: floor + (1 - floor) * ((mean - smallest) / span) for topic, mean in means.items()}
