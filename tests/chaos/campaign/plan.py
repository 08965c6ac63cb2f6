"""Which victim is killed in which stage: every pair equally often, in an order that a seed fixes."""

import random
from collections import Counter
from collections.abc import Sequence


class Plan:
    """Hands out kills until every (victim, stage) has had ``repeats`` of them."""

    def __init__(self, victims: Sequence[str], stages: Sequence[str], repeats: int, seed: int) -> None:
        self.victims = tuple(victims)
        self.stages = tuple(stages)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.missed = 0
        self._repeats = repeats
        self._random = random.Random(seed)

    @property
    def done(self) -> bool:
        """True once nothing is left to kill."""
        return self.left == 0

    @property
    def left(self) -> int:
        """Kills that are still to come."""
        pairs = ((victim, stage) for victim in self.victims for stage in self.stages)
        return sum(max(0, self._repeats - self.counts[pair]) for pair in pairs)

    def victim(self, stage: str) -> str | None:
        """Who is to be killed in this stage, or None if it has had its share."""
        if stage not in self.stages:
            return None
        open_ = [victim for victim in self.victims if self.counts[victim, stage] < self._repeats]
        if not open_:
            return None
        fewest = min(self.counts[victim, stage] for victim in open_)
        return self._random.choice([victim for victim in open_ if self.counts[victim, stage] == fewest])

    def hit(self, victim: str, stage: str) -> None:
        """The kill found its stage."""
        self.counts[victim, stage] += 1

    def miss(self) -> None:
        """The stage was over when the kill came: it is planned again."""
        self.missed += 1

    def uniform(self, least: float, most: float) -> float:
        """A number between the two, from the plan's own randomness."""
        return self._random.uniform(least, most)
