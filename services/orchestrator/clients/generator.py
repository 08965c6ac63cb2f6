"""The generator port over gRPC."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import grpc

from services.common.errors import ErrorCode, NotReadyError, ValignError
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as pb_grpc
from services.common.rpc.client import as_valign_error
from services.orchestrator.clients.parts import in_parts
from services.orchestrator.clients.patience import OnWaiting, Patience, Waiter, no_one_told, patiently
from services.orchestrator.ports import AdapterRef, Completion, GenerationItem, GeneratorInfo, SwapProof

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
        missing = {item.key: item for item in items}
        waiter = Waiter(SERVICE, self._patience, self._on_waiting)
        while missing:
            postponed: ValignError | None = None
            call = self._stub.Generate(_requests(list(missing.values()), adapter), timeout=_MAX_STREAM_S)
            try:
                async for reply in call:
                    if reply.id not in missing:
                        continue
                    if reply.HasField("error") and reply.error.code in _COMES_BACK:
                        postponed = _COMES_BACK[reply.error.code](reply.error.message)
                        continue
                    del missing[reply.id]
                    waiter.progress()
                    yield _completion(reply)
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
            lambda: self._stub.LoadAdapter(request, timeout=_SWAP_S),
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
                lambda: self._stub.UnloadAdapter(pb.UnloadAdapterRequest(name=name), timeout=_SWAP_S),
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


async def _requests(items: Sequence[GenerationItem], adapter: str) -> AsyncIterator[pb.GenerateRequest]:
    for part in in_parts(items, _size_bytes):
        yield pb.GenerateRequest(adapter=adapter, items=[_item(item) for item in part])


def _size_bytes(item: GenerationItem) -> int:
    # Four bytes a character at most, in UTF-8.
    return 64 + 4 * (len(item.prompt.prefill) + sum(len(turn.content) for turn in item.prompt.messages))


def _item(item: GenerationItem) -> pb.GenerateItem:
    sampling = pb.Sampling(
        temperature=item.sampling.temperature,
        top_p=item.sampling.top_p,
        max_tokens=item.sampling.max_tokens,
        seed=item.sampling.seed,
    )
    prompt = pb.Prompt(
        messages=[pb.Message(role=turn.role, content=turn.content) for turn in item.prompt.messages],
        assistant_prefill=item.prompt.prefill,
    )
    return pb.GenerateItem(id=item.key, prompt=prompt, sampling=sampling)


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
