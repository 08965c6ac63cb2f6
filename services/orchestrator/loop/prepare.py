"""Stage prepare: what is served, whether the study fits it, and the run's identity."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from services.common.errors import PreconditionError
from services.orchestrator.governance import review_warnings
from services.orchestrator.loop.context import SERVED, RunContext
from services.orchestrator.loop.endpoint import check_endpoint
from services.orchestrator.loop.planned import keep_plan
from services.orchestrator.loop.rulers import check_ruler
from services.orchestrator.loop.value_space import check_evaluator
from services.orchestrator.planning.hardware import GENERATED_ON
from services.orchestrator.ports import EncoderInfo
from services.orchestrator.study import (
    check_served,
    digest,
    prompt_set_digest,
    reference_set_digest,
    study_digest,
)


async def prepare(ctx: RunContext) -> dict[str, Any]:
    """Describe the services and fix the run's identity. PreconditionError if the study wants others."""
    model = await ctx.services.generator.describe()
    encoder = await ctx.services.embedder.describe()
    study = ctx.study
    if not check_served(study, "model", model.model):
        raise PreconditionError(
            f"the study asks for model {study.model!r}, but the generator serves {model.model!r};"
            " start the generator with that model, or change the study"
        )
    if not check_served(study, "encoder", encoder.model):
        raise PreconditionError(
            f"the study asks for encoder {study.encoder!r}, but the embedder serves {encoder.model!r};"
            " start the embedder with that model, or change the study"
        )
    if not study.measure_only and study.lora.rank > model.max_lora_rank:
        raise PreconditionError(
            f"lora.rank is {study.lora.rank}, but the generator takes at most {model.max_lora_rank};"
            " start it with a larger VALIGN_GENERATOR_MAX_LORA_RANK, or lower the rank"
        )
    for warning in review_warnings(ctx.resolved.reference_set):
        ctx.journal.emit("reference.overdue", message=warning)
    second = await _second_encoder(ctx)
    identity = digest(
        {
            "study": study_digest(ctx.resolved),
            "model": model.fingerprint,
            "revision": model.revision,
            "encoder": encoder.fingerprint,
            **({"second_encoder": second.fingerprint} if second else {}),
        }
    )
    await ctx.stored(ctx.store.update_run, ctx.run_id, identity=identity)
    check_ruler(ctx, encoder)
    await check_endpoint(ctx)
    await check_evaluator(ctx, model, encoder)
    served = {"generator": model.fingerprint, "embedder": encoder.fingerprint}
    if second is not None:
        served["second_embedder"] = second.fingerprint
    await ctx.put_value(SERVED, served)
    await ctx.put_value(GENERATED_ON, {"device": model.device, "name": model.device_name, "gpus": model.gpus})
    await keep_plan(ctx, model.fingerprint)
    return {
        "identity": identity,
        "model": model.model,
        "model_revision": model.revision,
        "model_fingerprint": model.fingerprint,
        "encoder": encoder.model,
        "encoder_fingerprint": encoder.fingerprint,
        "prompt_set_sha256": prompt_set_digest(ctx.resolved.prompt_set),
        "reference_set_sha256": reference_set_digest(ctx.resolved.reference_set),
        "versions": {"valign": _own_version(), "engine": model.engine_version, "device": model.device},
    }


async def _second_encoder(ctx: RunContext) -> EncoderInfo | None:
    """What the second embedder serves, None without one. PreconditionError if the study wants another."""
    asked, second = ctx.study.second_encoder, ctx.services.second_embedder
    if second is None:
        if asked is not None:
            raise PreconditionError(
                f"the study asks for the second encoder {asked!r}, but the orchestrator knows no second"
                " embedder; start one, and name it in VALIGN_ORCHESTRATOR_SECOND_EMBEDDER_TARGET"
            )
        return None
    served = await second.describe()
    if not check_served(ctx.study, "second_encoder", served.model):
        raise PreconditionError(
            f"the study asks for the second encoder {asked!r}, but the second embedder serves"
            f" {served.model!r}; start it with that model, or change the study"
        )
    return served


def _own_version() -> str:
    try:
        return version("valign")
    except PackageNotFoundError:
        return "0+unknown"
