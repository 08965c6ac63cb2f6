"""A study of an endpoint: what is asked of it before the run, and what could not be controlled in it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from services.orchestrator.domain.prompts import STAGES
from services.orchestrator.domain.seeds import sample_seed
from services.orchestrator.loop.context import RunContext
from services.orchestrator.ports import GenerationItem, Sampling
from services.orchestrator.study import ResolvedStudy
from services.orchestrator.study_sections import EndpointSettings

CHECKED, OBSERVED = "endpoint_checked", "endpoint_observed"
_CHECK_TOKENS = 32
_CHECK_DRAW = 2**20  # beyond every draw that is measured
_RENAMED = "max_tokens"


async def check_endpoint(ctx: RunContext) -> None:
    """Ask the first prompt thrice, before anything is drawn: does it answer, and does it keep to seeds?

    Raises what the endpoint's client raises: a wrong key or model ends the run here. Nothing without an
    endpoint.
    """
    endpoint = ctx.services.endpoint
    if endpoint is None:
        return
    topic, resolved = ctx.resolved.topics[0], ctx.resolved
    prompt = resolved.prompt_set.render_original(topic, resolved.reference_set.id, 0)
    generation = ctx.study.generation
    item = GenerationItem(
        key="check",
        prompt=replace(prompt, prefill=""),
        sampling=Sampling(
            temperature=max(generation.temperature, 0.7),
            top_p=generation.top_p,
            max_tokens=min(generation.max_new_tokens, _CHECK_TOKENS),
            seed=sample_seed(ctx.study.seed, "original", topic.id, 0, _CHECK_DRAW),
        ),
    )
    with ctx.clock.external("generation"):
        honoured = await endpoint.honours_seed(item)
    await ctx.put_value(CHECKED, {"seed_honoured": honoured})
    await keep_observations(ctx)


async def keep_observations(ctx: RunContext) -> None:
    """Store what was seen so far, beside what an earlier process of the run saw."""
    if ctx.services.endpoint is not None:
        seen = merged(await ctx.get_value(OBSERVED) or {}, ctx.services.endpoint.observations())
        await ctx.put_value(OBSERVED, seen)


def merged(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Both together. Requests are counted by process: the larger count stands, which is a lower bound."""
    return {
        **{name: max(earlier.get(name, 0), now[name]) for name in ("requests", "retries")},
        **{name: sorted({*earlier.get(name, ()), *now[name]}) for name in ("system_fingerprints", "models")},
        "left_out": {**earlier.get("left_out", {}), **now["left_out"]},
    }


async def uncontrolled(ctx: RunContext) -> list[str]:
    """What the run could not control, as sentences for the report; empty without an endpoint."""
    if ctx.study.endpoint is None:
        return []
    await keep_observations(ctx)
    checked = await ctx.get_value(CHECKED) or {}
    return sentences(
        ctx.study.endpoint, ctx.resolved, checked.get("seed_honoured"), await ctx.get_value(OBSERVED) or {}
    )


def sentences(
    endpoint: EndpointSettings,
    resolved: ResolvedStudy,
    seed_honoured: bool | None,
    observed: Mapping[str, Any],
) -> list[str]:
    """The same from its parts. ``seed_honoured`` is None where it could not be told."""
    parts = urlsplit(endpoint.url)
    host = parts.netloc
    said = [
        f"The model was known by its name alone ({endpoint.model} at {host}): its weights, its quantisation"
        " and whatever the host adds to a prompt were out of sight, and may change under the name.",
        _about_seeds(endpoint, seed_honoured),
        "Log-probabilities were not to be had: what needs them (utility drift, the polarity judge, task"
        " files) was not measured.",
    ]
    if parts.scheme == "http" and not _on_this_machine(parts.hostname or ""):
        said.append(f"{host} was spoken to over http: whoever is on the way could read and change it.")
    said += _about_prefills(resolved)
    left_out = observed.get("left_out", {})
    for name in sorted(left_out):
        if name == _RENAMED and "max_completion_tokens" not in left_out:
            said.append(
                "max_tokens was refused and sent as max_completion_tokens, which may count hidden reasoning."
            )
        else:
            said.append(
                f"The endpoint does not take {name}: its own default stood in its place ({left_out[name]})."
            )
    said += _about_changes(observed)
    return said


def _about_seeds(endpoint: EndpointSettings, honoured: bool | None) -> str:
    if not endpoint.send_seed:
        return "No seed was sent (endpoint.send_seed is false): a repeat draws other texts."
    if honoured is None:
        return (
            "Whether seeds are kept to could not be told: one prompt got the same answer under two seeds."
            " A repeat may draw other texts."
        )
    if honoured:
        return (
            "One prompt got the same answer twice under one seed and another under another; that all"
            " draws would come again is not shown by it."
        )
    return "Seeds were not kept to: one prompt got two answers under one seed. A repeat draws other texts."


def _about_prefills(resolved: ResolvedStudy) -> list[str]:
    stages = [
        stage for stage in STAGES if resolved.prompt_set.stage(stage, resolved.reference_set.id).prefill
    ]
    if not stages:
        return []
    return [
        f"Prompt set {resolved.prompt_set.id} begins the answer of the {' and '.join(stages)} stage; that"
        " was not sent, because an endpoint may take it for a finished turn. The prompts therefore differ"
        " from those that valign's own generator is given."
    ]


def _about_changes(observed: Mapping[str, Any]) -> list[str]:
    said = []
    fingerprints, models = observed.get("system_fingerprints", []), observed.get("models", [])
    if len(fingerprints) > 1:
        said.append(
            f"The host's system_fingerprint changed during the run ({', '.join(fingerprints)}): not all"
            " texts are from the same configuration."
        )
    elif fingerprints:
        said.append(f"The host gave its system_fingerprint as {fingerprints[0]}, for the whole run.")
    else:
        said.append("The host gave no system_fingerprint: a change of model during the run would not show.")
    if len(models) > 1:
        said.append(f"Answers named more than one model: {', '.join(models)}.")
    elif models:
        said.append(f"Answers named their model as {models[0]}.")
    return said


def _on_this_machine(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
