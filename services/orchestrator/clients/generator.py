"""The generator port over gRPC."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import grpc

from services.common.errors import ErrorCode, NotReadyError, ValignError
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as pb_grpc
from services.common.rpc.client import as_stream_error
from services.common.rpc.fence import epoch_metadata
from services.orchestrator.clients import generator_wire as wire
from services.orchestrator.clients.patience import OnWaiting, Patience, Waiter, no_one_told, patiently
from services.orchestrator.ports import (
    AdapterRef,
    Completion,
    GenerationItem,
    GeneratorInfo,
    Score,
    ScoreItem,
    SwapProof,
)

Item = TypeVar("Item", GenerationItem, ScoreItem)

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
        return wire.generator_info(reply)

    async def generate(
        self, items: Sequence[GenerationItem], adapter: str = ""
    ) -> AsyncGenerator[Completion, None]:
        """Completions in the order in which they end, each key once.

        NotFoundError if the adapter is not loaded. An item that fails for good comes back with
        ``error_code``; one that failed because the engine died or was full is asked for again.
        """
        write = wire.generate_writer(adapter)
        async with aclosing(self._each(items, self._stub.Generate, write)) as replies:
            async for reply in replies:
                yield wire.completion(reply)

    async def generate_routed(
        self, items: Sequence[GenerationItem], route: str
    ) -> AsyncGenerator[Completion, None]:
        """As ``generate``, by whatever adapter a public name serves; each completion tells which it was."""
        write = wire.routed_writer(route)
        async with aclosing(self._each(items, self._stub.Generate, write)) as replies:
            async for reply in replies:
                yield wire.completion(reply)

    async def score(self, items: Sequence[ScoreItem], adapter: str = "") -> AsyncGenerator[Score, None]:
        """Log-probabilities in the order in which they are known, each key once; else as ``generate``."""
        write = wire.score_writer(adapter)
        async with aclosing(self._each(items, self._stub.Score, write)) as replies:
            async for reply in replies:
                yield wire.score(reply)

    async def _each(
        self,
        items: Sequence[Item],
        rpc: Callable[..., Any],
        write: Callable[[Sequence[Item]], Iterator[Any]],
    ) -> AsyncGenerator[Any, None]:
        """One reply for each item, from as many streams as it takes."""
        missing = {item.key: item for item in items}
        waiter = Waiter(SERVICE, self._patience, self._on_waiting)
        while missing:
            postponed: ValignError | None = None
            call = rpc(write(list(missing.values())), timeout=_MAX_STREAM_S, metadata=epoch_metadata())
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
                await waiter.pause(as_stream_error(error))
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
