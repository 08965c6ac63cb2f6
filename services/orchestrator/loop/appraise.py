"""Stage verdict: the evidence with its embeddings, stored; the analysis of it, and what the gate decides."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.orchestrator.analysis.derived import required_texts
from services.orchestrator.analysis.evidence import Evidence, Vectors
from services.orchestrator.analysis.files import pack_evidence
from services.orchestrator.analysis.results import Analysis, Verdict
from services.orchestrator.analysis.values.results import ValueSpace
from services.orchestrator.analysis.values.space import value_space
from services.orchestrator.loop import metrics
from services.orchestrator.loop.analyst import analyst
from services.orchestrator.loop.collect import Facts, collect
from services.orchestrator.loop.context import RunContext
from services.orchestrator.loop.shown import shown_model
from services.orchestrator.loop.value_space import recorded_weighings
from services.orchestrator.ports import Embedder

SECOND_ENCODER = "second_encoder"
NO_SECOND = "no second embedder is configured (VALIGN_ORCHESTRATOR_SECOND_EMBEDDER_TARGET)"
SAME_ENCODER = "the second embedder serves the same encoder as the first: it is no second instrument"
TOO_FEW = "fewer than two inputs have both texts of their pair: there is nothing to analyse"


async def appraise(
    ctx: RunContext, facts: Facts, probes: Mapping[str, Any], not_run: Mapping[str, str]
) -> dict[str, Any]:
    """Gather, store and analyse; ``not_run`` tells why probes are missing.

    The result says where evidence.zip and analysis.json lie, and what was decided; without an analysis it
    says why there is none.
    """
    async with analyst() as analyse:
        bare = await collect(ctx, facts)
        if len(bare.keys("test")) < 2:
            nothing: dict[str, Any] = {"evidence": None, "analysis": None, "values": None, "decision": None}
            return {**nothing, "why_not": TOO_FEW, "reasons": []}
        vectors, missing = await _embedded(ctx, bare)
        told: dict[str, Any] = {**bare.facts, "not_run": {**bare.facts["not_run"], **not_run, **missing}}
        if ctx.study.values.weight and "values" not in probes:
            # The weights follow from these distances, also where the probe could not be had in the end.
            told["weighings"] = await recorded_weighings(ctx)
        evidence = replace(bare, vectors=vectors, probes=dict(probes), facts=told)
        packed = await asyncio.to_thread(pack_evidence, evidence)
        folder = f"runs/{ctx.run_id}"
        kept = await asyncio.to_thread(ctx.artifacts.put_bytes, f"{folder}/evidence.zip", packed)
        found = await analyse(packed)
    space = await asyncio.to_thread(value_space, evidence)
    stored = await asyncio.to_thread(ctx.artifacts.put_bytes, f"{folder}/analysis.json", found)
    values = None
    if space is not None:
        data = space.model_dump_json().encode("utf-8")
        values = await asyncio.to_thread(ctx.artifacts.put_bytes, f"{folder}/values.json", data)
    verdict = Analysis.model_validate_json(found).verdict
    if verdict is not None:
        metrics.VERDICTS.labels(verdict.decision).inc()
        ctx.journal.emit("verdict.reached", decision=verdict.decision, headline=verdict.headline)
    return {
        "evidence": {"uri": kept.uri, "sha256": kept.sha256},
        "analysis": {"uri": stored.uri, "sha256": stored.sha256},
        "values": {"uri": values.uri, "sha256": values.sha256} if values else None,
        "why_not": None,
        "decision": verdict.decision if verdict else None,
        "reasons": _deciding(verdict) if verdict else [],
    }


def _deciding(verdict: Verdict) -> list[dict[str, Any]]:
    """The rules whose word the decision is, as other systems are told of them."""
    return [
        reason.model_dump(mode="json", include={"rule", "text", "value", "threshold"})
        for reason in verdict.reasons
        if reason.outcome == verdict.decision
    ]


async def read_analysis(ctx: RunContext, verdict: Mapping[str, Any]) -> Analysis | None:
    """What ``appraise`` stored. PreconditionError if it has changed since."""
    if verdict["analysis"] is None:
        return None
    place = verdict["analysis"]
    data = await asyncio.to_thread(ctx.artifacts.get_bytes, place["uri"], place["sha256"])
    return Analysis.model_validate_json(data)


async def read_values(ctx: RunContext, verdict: Mapping[str, Any]) -> ValueSpace | None:
    """The value space that ``appraise`` stored. PreconditionError if it has changed since."""
    if verdict["values"] is None:
        return None
    place = verdict["values"]
    data = await asyncio.to_thread(ctx.artifacts.get_bytes, place["uri"], place["sha256"])
    return ValueSpace.model_validate_json(data)


async def _embedded(ctx: RunContext, bare: Evidence) -> tuple[dict[str, Vectors], dict[str, str]]:
    """Vectors of every text that the analysis needs, and why the second encoder's are missing."""
    wanted = await asyncio.to_thread(required_texts, bare)
    first = await ctx.services.embedder.describe()
    rows = await ctx.embed(wanted["primary"])
    vectors = {"primary": Vectors(wanted["primary"], rows, shown_model(first.model), first.fingerprint)}
    second = ctx.services.second_embedder
    if second is None:
        return vectors, {SECOND_ENCODER: NO_SECOND}
    found = await _by_second(ctx, second, wanted["second"])
    if found.fingerprint == first.fingerprint:
        return vectors, {SECOND_ENCODER: SAME_ENCODER}
    return {**vectors, "second": found}, {}


async def _by_second(ctx: RunContext, second: Embedder, texts: list[str]) -> Vectors:
    with ctx.clock.external("embedding"):
        info = await second.describe()
        await ctx.require_unchanged("second_embedder", info.fingerprint)
        with ctx.tally.timed("embedding_s"):
            found = await second.embed(texts)
        ctx.tally.add(embeddings=len(texts) - found.cached, embeddings_cached=found.cached)
    return Vectors(texts, found.rows, shown_model(info.model), info.fingerprint)
