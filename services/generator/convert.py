"""Between protobuf messages and the service's types, with the checks that the contract states."""

from services.common.errors import InvalidInputError, ValignError
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.generator.routes import Route
from services.generator.service import Outcome
from services.generator.serving.traffic import Observed
from services.generator.types import (
    AdapterStatus,
    Asked,
    Completion,
    EngineInfo,
    GenerateItem,
    LoadResult,
    Prompt,
    Sampling,
    Score,
    ScoreItem,
)

_ROLES = frozenset({"system", "user", "assistant"})


def prompt_from(message: pb.Prompt) -> Prompt:
    """Raises InvalidInputError for an empty conversation or an unknown role."""
    if not message.messages:
        raise InvalidInputError("the prompt has no messages; at least one is needed")
    for turn in message.messages:
        if turn.role not in _ROLES:
            raise InvalidInputError(f"role {turn.role!r} is unknown; use {', '.join(sorted(_ROLES))}")
    turns = tuple({"role": turn.role, "content": turn.content} for turn in message.messages)
    return Prompt(turns, message.assistant_prefill)


def sampling_from(message: pb.Sampling) -> Sampling:
    """Raises InvalidInputError for numbers outside their ranges."""
    if not 0 <= message.temperature <= 100:
        raise InvalidInputError(f"temperature is {message.temperature:g}, not in [0, 100]")
    if not 0 <= message.top_p <= 1:
        raise InvalidInputError(f"top_p is {message.top_p:g}, not in (0, 1]")
    if message.max_tokens < 1:
        raise InvalidInputError("max_tokens is 0; it must be at least 1")
    if "" in message.stop:
        raise InvalidInputError("a stop text is empty")
    return Sampling(
        temperature=message.temperature,
        top_p=message.top_p or 1.0,
        max_tokens=message.max_tokens,
        seed=message.seed if message.HasField("seed") else None,
        stop=tuple(message.stop),
    )


def generate_item_from(message: pb.GenerateItem) -> Asked[GenerateItem]:
    """The item, or why it is none: an item's error must not end the whole call."""
    try:
        item = GenerateItem(prompt_from(message.prompt), sampling_from(message.sampling))
    except InvalidInputError as error:
        return Asked(message.id, error)
    return Asked(message.id, item)


def score_item_from(message: pb.ScoreItem) -> Asked[ScoreItem]:
    """The item, or why it is none."""
    try:
        if not message.continuation:
            raise InvalidInputError("the continuation is empty; there is nothing to score")
        item = ScoreItem(prompt_from(message.prompt), message.continuation)
    except InvalidInputError as error:
        return Asked(message.id, error)
    return Asked(message.id, item)


def generate_response(outcome: Outcome[Completion]) -> pb.GenerateResponse:
    """One completion or item error."""
    response = pb.GenerateResponse(
        id=outcome.id, adapter=outcome.adapter, adapter_sha256=outcome.adapter_sha256
    )
    result = outcome.result
    if isinstance(result, ValignError):
        response.error.CopyFrom(item_error(result))
    else:
        response.text = result.text
        response.finish_reason = result.finish_reason
        response.prompt_tokens = result.prompt_tokens
        response.completion_tokens = result.completion_tokens
    return response


def score_response(outcome: Outcome[Score]) -> pb.ScoreResponse:
    """One score or item error."""
    response = pb.ScoreResponse(id=outcome.id, adapter=outcome.adapter)
    if isinstance(outcome.result, ValignError):
        response.error.CopyFrom(item_error(outcome.result))
    else:
        response.logprob = outcome.result.logprob
        response.tokens = outcome.result.tokens
    return response


def item_error(error: ValignError) -> pb.ItemError:
    """An error that concerns one item."""
    return pb.ItemError(code=error.code.value, message=error.message)


def describe_response(info: EngineInfo) -> pb.DescribeResponse:
    """Identity and limits."""
    return pb.DescribeResponse(
        model=info.model,
        revision=info.revision,
        fingerprint=info.fingerprint,
        max_model_len=info.max_model_len,
        max_lora_rank=info.max_lora_rank,
        max_loras=info.max_loras,
        has_chat_template=info.has_chat_template,
        engine_version=info.engine_version,
        device=info.device,
        device_name=info.device_name,
        gpus=info.gpus,
    )


def adapter_message(status: AdapterStatus) -> pb.Adapter:
    """One adapter."""
    return pb.Adapter(name=status.name, sha256=status.sha256, rank=status.rank, in_flight=status.in_flight)


def load_response(result: LoadResult) -> pb.LoadAdapterResponse:
    """The adapter and its proof."""
    return pb.LoadAdapterResponse(
        adapter=adapter_message(result.adapter),
        proof=pb.CanaryProof(
            canaries=result.proof.canaries,
            max_relative_error=result.proof.max_relative_error,
            tolerance=result.proof.tolerance,
            mean_shift_nats=result.proof.mean_shift_nats,
        ),
        already_loaded=result.already_loaded,
        duration_s=result.duration_s,
    )


def route_from(message: pb.Route) -> Route:
    """A route as it is wanted; ``Routes.set`` checks it."""
    return Route(message.name, message.adapter, message.canary_adapter, message.canary_share, message.version)


def route_message(route: Route) -> pb.Route:
    """A route as it is."""
    return pb.Route(
        name=route.name,
        adapter=route.adapter,
        canary_adapter=route.canary_adapter,
        canary_share=route.canary_share,
        version=route.version,
    )


def sample_response(observed: Observed) -> pb.SampleTrafficResponse:
    """One exchange of the HTTP face."""
    return pb.SampleTrafficResponse(
        id=observed.id,
        messages=[pb.Message(role=role, content=content) for role, content in observed.messages],
        text=observed.text,
        finish_reason=observed.finish_reason,
        adapter=observed.adapter,
        end_time_ms=observed.end_time_ms,
        served=observed.served,
        dropped=observed.dropped,
    )
