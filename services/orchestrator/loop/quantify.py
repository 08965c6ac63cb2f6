"""Stages quantify and analyse: value differences of the pairs, ranks, weights and the split."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.errors import PreconditionError
from services.orchestrator.domain.difference import overall_mean, rank_topics, topic_means, value_differences
from services.orchestrator.domain.split import MIN_PAIRS, all_test, split_pairs
from services.orchestrator.domain.weights import topic_weights
from services.orchestrator.loop import metrics
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.draws import Key
from services.orchestrator.loop.pairs import Pair, load_pairs
from services.orchestrator.loop.rulers import measure_own
from services.orchestrator.loop.value_space import note_weighing, value_distances


def differences(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """Value differences of rows; PreconditionError if the encoder gave a row without direction."""
    try:
        return value_differences(left, right)
    except ValueError as error:
        raise PreconditionError(f"the encoder's rows cannot be compared: {error}") from error


async def quantify(ctx: RunContext) -> dict[str, Any]:
    """Embed all pairs; rows go to the artifact store, topic means into the result."""
    pairs = await load_pairs(ctx)
    rows = await ctx.embed([pair.original for pair in pairs] + [pair.aligned for pair in pairs])
    original, aligned = rows[: len(pairs)], rows[len(pairs) :]
    found = differences(original, aligned)
    means = topic_means(found, [pair.topic_id for pair in pairs])
    reference = await ctx.put_arrays(
        "pairs", {"original": original, "aligned": aligned, "differences": found}
    )
    metrics.forget_differences(ctx.study.name)
    metrics.show_differences(ctx.study.name, "original", means)
    ctx.journal.emit("topic.means", arm="original", split="all", means=means, mean=overall_mean(means))
    return {"arrays": reference, "means": means, "ruler": await measure_own(ctx)}


async def analyse(
    ctx: RunContext, means: Mapping[str, float], *, only_measure: bool = False
) -> dict[str, Any]:
    """Rank the topics, weigh them, split the pairs. A study of fewer than 3 principles is only measured, and
    so is one whose budget has no training in it (``only_measure``)."""
    study = ctx.study
    pairs = await load_pairs(ctx)
    indices: dict[str, list[int]] = {topic.id: [] for topic in ctx.resolved.topics}
    for pair in pairs:
        indices[pair.topic_id].append(pair.index)
    fractions = (study.split.train, study.split.validation, study.split.test)
    measured_only = (
        study.measure_only or only_measure or any(len(members) < MIN_PAIRS for members in indices.values())
    )
    split = all_test(indices) if measured_only else split_pairs(indices, fractions, study.seed)
    distances = await value_distances(ctx, {pair.key: pair.original for pair in pairs}, "analyse")
    weights = weigh(ctx, means, distances)
    await note_weighing(ctx, 0, means, distances, weights)
    ranked = rank_topics(means)
    ctx.journal.emit(
        "topics.ranked", ranks={topic: place for place, topic in enumerate(ranked, 1)}, weights=weights
    )
    return {
        "ranks": {topic: place for place, topic in enumerate(ranked, 1)},
        "weights": weights,
        "measured_only": measured_only,
        "split": {
            part: {topic: list(members) for topic, members in getattr(split, part).items()}
            for part in ("train", "validation", "test")
        },
    }


def weigh(
    ctx: RunContext, means: Mapping[str, float], value_means: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Loss weights from topic means, as the study normalises them.

    With ``value_means`` (distances in value space by topic) the study's share of each weight comes from
    those, normalised in the same way.
    """
    settings = ctx.study.weights
    weights = topic_weights(means, settings.normalization, settings.floor)
    if value_means is None:
        return weights
    share = ctx.study.values.weight
    by_value = topic_weights(
        {topic: value_means[topic] for topic in means}, settings.normalization, settings.floor
    )
    return {topic: (1 - share) * weight + share * by_value[topic] for topic, weight in weights.items()}


class PairTable:
    """The pairs with their rows and differences, and the split: what the later stages look things up in."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        arrays: Mapping[str, NDArray[Any]],
        split: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.pairs = pairs
        self.original: NDArray[np.float32] = arrays["original"]
        self.aligned: NDArray[np.float32] = arrays["aligned"]
        self.differences: NDArray[np.float64] = arrays["differences"]
        self._place: dict[Key, int] = {pair.key: place for place, pair in enumerate(pairs)}
        self._split = split

    def places(self, *parts: str) -> list[int]:
        """Places of the pairs in these parts of the split ("train", "validation", "test"), ascending."""
        return sorted(
            self._place[topic, index]
            for part in parts
            for topic, members in self._split[part].items()
            for index in members
        )

    def means(self, places: Sequence[int]) -> dict[str, float]:
        """Topic means of original against aligned over these pairs."""
        return topic_means(self.differences[list(places)], [self.pairs[place].topic_id for place in places])

    def size(self, part: str, topic_id: str) -> int:
        """Pairs of a topic in a part."""
        return len(self._split[part][topic_id])


async def pair_table(
    ctx: RunContext, quantified: Mapping[str, Any], analysed: Mapping[str, Any]
) -> PairTable:
    """The table, from what the earlier steps recorded."""
    arrays = await ctx.get_arrays(quantified["arrays"])
    return PairTable(await load_pairs(ctx), arrays, analysed["split"])


class Tables:
    """The pair table, read once in a process and only by steps that need it."""

    def __init__(self, ctx: RunContext, facts: Mapping[str, Any]) -> None:
        self._ctx = ctx
        self._facts = facts
        self._table: PairTable | None = None

    async def get(self) -> PairTable:
        """The table, from what quantify and analyse recorded."""
        if self._table is None:
            self._table = await pair_table(self._ctx, self._facts["quantified"], self._facts["analysed"])
        return self._table
