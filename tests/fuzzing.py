"""How much is fuzzed: a share of hypothesis' examples (``--hypothesis-profile=long`` for more)."""

from hypothesis import settings


def examples(share: float) -> int:
    """That share of the profile's examples, at least one."""
    return max(1, round(settings().max_examples * share))
