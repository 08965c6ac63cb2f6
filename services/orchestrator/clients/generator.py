"""The generator port over gRPC."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import grpc

from services.common.errors import ErrorCode, NotReadyError, ValignError
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as pb_grpc
from services.common.rpc.client import as_valign_error
from services.common.rpc.fence import epoch_metadata
from services.orchestrator.clients.parts import in_parts
from services.orchestrator.clients.patience import OnWaiting, Patience, Waiter, no_one_told, patiently
from services.orchestrator.domain.prompts import Prompt
from services.orchestrator.ports import (
    AdapterRef,
    Completion,
    GenerationItem,
    GeneratorInfo,
    Score,
    ScoreItem,
    SwapProof,
)

Item = TypeVar("Item")

SERVICE = "generator"
_MAX_STREAM_S = 6 * 3600.0
_SWAP_S = 600.0


class GrpcGenerator:
    """Calls wait for a generator that is away; see ``Patience``.

    A stream that breaks goes on with the items that have no completion yet: an item's seed makes
    asking again harmless.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        patience: Patience | None = None,
        on_waiting: OnWaiting = no_one_told,
    ) -> None:
        self._stub = pb_grpc.GeneratorServiceStub(channel)
        self._patience = patience or Patience()
        self._on_waiting = on_waiting

    async def describe(self) -> GeneratorInfo:
        """Identity of the served model."""
        reply = await patiently(
            SERVICE,
            self._patience,
            self._on_waiting,
            lambda: self._stub.Describe(pb.DescribeRequest(), timeout=self._patience.call_s),
        )
        return GeneratorInfo(
            model=reply.model,
            revision=reply.revision,
            fingerprint=reply.fingerprint,
            max_model_len=reply.max_model_len,
            max_lora_rank=reply.max_lora_rank,
            engine_version=reply.engine_version,
            device=reply.device,
        )

    async def generate(
        self, items: Sequence[GenerationItem], adapter: str = ""
    ) -> AsyncGenerator[Completion, None]:
        """Completions in the order in which they end, each key once.

        NotFoundError if the adapter is not loaded. An item that fails for good comes back with
        ``error_code``; one that failed because the engine died or was full is asked for again.
        """
        asked = {item.key: item for item in items}
        async with aclosing(self._each(asked, adapter, self._stub.Generate, _generate_requests)) as replies:
            async for reply in replies:
                yield _completion(reply)

    async def generate_routed(
        self, items: Sequence[GenerationItem], route: str
    ) -> AsyncGenerator[Completion, None]:
        """As ``generate``, by whatever adapter a public name serves; each completion tells which it was."""
        asked = {item.key: item for item in items}
        async with aclosing(self._each(asked, route, self._stub.Generate, _routed_requests)) as replies:
            async for reply in replies:
                yield _completion(reply)

    async def score(self, items: Sequence[ScoreItem], adapter: str = "") -> AsyncGenerator[Score, None]:
        """Log-probabilities in the order in which they are known, each key once; else as ``generate``."""
        asked = {item.key: item for item in items}
        async with aclosing(self._each(asked, adapter, self._stub.Score, _score_requests)) as replies:
            async for reply in replies:
                yield Score(
                    key=reply.id,
                    logprob=reply.logprob,
                    tokens=reply.tokens,
                    error_code=reply.error.code,
                    error_message=reply.error.message,
                )

    async def _each(
        self,
        asked: Mapping[str, Item],
        adapter: str,
        rpc: Callable[..., Any],
        requests: Callable[[Sequence[Item], str], AsyncIterator[Any]],
    ) -> AsyncGenerator[Any, None]:
        """One reply for each item, from as many streams as it takes."""
        missing = dict(asked)
        waiter = Waiter(SERVICE, self._patience, self._on_waiting)
        while missing:
            postponed: ValignError | None = None
            call = rpc(
                requests(list(missing.values()), adapter), timeout=_MAX_STREAM_S, metadata=epoch_metadata()
            )
            try:
                async for reply in call:
                    if reply.id not in missing:
                        continue
                    if reply.HasField("error") and reply.error.code in _COMES_BACK:
                        postponed = _COMES_BACK[reply.error.code](reply.error.message)
                        continue
                    del missing[reply.id]
                    waiter.progress()
                    yield reply
            except grpc.aio.AioRpcError as error:
                await waiter.pause(as_valign_error(error))
                continue
            finally:
                call.cancel()
            if missing:
                await waiter.pause(
                    postponed
                    or NotReadyError(f"the generator ended the stream with {len(missing)} items missing")
                )

    async def load_adapter(self, adapter: AdapterRef) -> SwapProof:
        """Load and prove; answers at once if it is loaded. OverloadedError if no slot is free."""
        request = pb.LoadAdapterRequest(name=adapter.name, uri=adapter.uri, sha256=adapter.sha256)
        reply = await patiently(
            SERVICE,
            self._patience,
            self._on_waiting,
            lambda: self._stub.LoadAdapter(request, timeout=_SWAP_S, metadata=epoch_metadata()),
            overload_passes=False,
        )
        return SwapProof(
            canaries=reply.proof.canaries,
            max_relative_error=reply.proof.max_relative_error,
            tolerance=reply.proof.tolerance,
            mean_shift_nats=reply.proof.mean_shift_nats,
            duration_s=reply.duration_s,
            already_loaded=reply.already_loaded,
        )

    async def unload_adapter(self, name: str) -> None:
        """Remove an adapter; one that is not there is no error."""
        try:
            await patiently(
                SERVICE,
                self._patience,
                self._on_waiting,
                lambda: self._stub.UnloadAdapter(
                    pb.UnloadAdapterRequest(name=name), timeout=_SWAP_S, metadata=epoch_metadata()
                ),
            )
        except ValignError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise

    async def list_adapters(self) -> list[tuple[str, str]]:
        """Names and sha256 of what the engine holds."""
        reply = await patiently(
            SERVICE,
            self._patience,
            self._on_waiting,
            lambda: self._stub.ListAdapters(pb.ListAdaptersRequest(), timeout=self._patience.call_s),
        )
        return [(adapter.name, adapter.sha256) for adapter in reply.adapters]


def _not_ready(message: str) -> ValignError:
    return NotReadyError(message)


_COMES_BACK = {ErrorCode.NOT_READY.value: _not_ready, ErrorCode.OVERLOADED.value: _not_ready}


async def _generate_requests(
    items: Sequence[GenerationItem], adapter: str
) -> AsyncIterator[pb.GenerateRequest]:
    for part in in_parts(items, lambda item: _size_bytes(item.prompt)):
        yield pb.GenerateRequest(adapter=adapter, items=[_generate_item(item) for item in part])


async def _routed_requests(items: Sequence[GenerationItem], route: str) -> AsyncIterator[pb.GenerateRequest]:
    for part in in_parts(items, lambda item: _size_bytes(item.prompt)):
        yield pb.GenerateRequest(route=route, items=[_generate_item(item) for item in part])


async def _score_requests(items: Sequence[ScoreItem], adapter: str) -> AsyncIterator[pb.ScoreRequest]:
    for part in in_parts(items, lambda item: _size_bytes(item.prompt) + 4 * len(item.continuation)):
        yield pb.ScoreRequest(
            adapter=adapter,
            items=[
                pb.ScoreItem(id=item.key, prompt=_prompt(item.prompt), continuation=item.continuation)
                for item in part
            ],
        )


def _size_bytes(prompt: Prompt) -> int:
    # Four bytes a character at most, in UTF-8.
    return 64 + 4 * (len(prompt.prefill) + sum(len(turn.content) for turn in prompt.messages))


def _prompt(prompt: Prompt) -> pb.Prompt:
    return pb.Prompt(
        messages=[pb.Message(role=turn.role, content=turn.content) for turn in prompt.messages],
        assistant_prefill=prompt.prefill,
    )


def _generate_item(item: GenerationItem) -> pb.GenerateItem:
    sampling = pb.Sampling(
        temperature=item.sampling.temperature,
        top_p=item.sampling.top_p,
        max_tokens=item.sampling.max_tokens,
        seed=item.sampling.seed,
    )
    return pb.GenerateItem(id=item.key, prompt=_prompt(item.prompt), sampling=sampling)


def _completion(reply: pb.GenerateResponse) -> Completion:
    return Completion(
        key=reply.id,
        text=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        adapter=reply.adapter,
        adapter_sha256=reply.adapter_sha256,
        error_code=reply.error.code,
        error_message=reply.error.message,
    )
