"""One generator replica over gRPC. Calls are made once: whoever asks looks again in a few seconds."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import grpc

from services.common.errors import ErrorCode, ValignError
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as pb_grpc
from services.common.rpc.client import call
from services.orchestrator.ports import AdapterRef, SwapProof
from services.orchestrator.registry.ports import ReplicaFacts
from services.orchestrator.registry.records import Route

# Of an adapter some gigabytes are fetched and read.
LOAD_S = 300.0
# Waits for the requests in flight to end.
UNLOAD_S = 60.0

Metadata = Callable[[], Sequence[tuple[str, str]]]


def _no_metadata() -> Sequence[tuple[str, str]]:
    return ()


class GrpcReplica:
    """The ``Replica`` port.

    Args:
        target: host:port, for people.
        channel: a channel to it, closed by ``aclose``.
        call_s: deadline of a short call in seconds.
        metadata: gives what each call that changes something carries, when it is made.
    """

    def __init__(
        self, target: str, channel: grpc.aio.Channel, call_s: float = 5.0, metadata: Metadata = _no_metadata
    ) -> None:
        self.target = target
        self._channel = channel
        self._stub = pb_grpc.GeneratorServiceStub(channel)
        self._call_s = call_s
        self._metadata = metadata

    async def look(self) -> ReplicaFacts:
        """Its base model, and what its engine holds."""
        described = await self._ask(self._stub.Describe, pb.DescribeRequest())
        listed = await self._ask(self._stub.ListAdapters, pb.ListAdaptersRequest())
        return ReplicaFacts(described.fingerprint, {one.name: one.sha256 for one in listed.adapters})

    async def load(self, adapter: AdapterRef) -> SwapProof:
        """Load and prove."""
        request = pb.LoadAdapterRequest(name=adapter.name, uri=adapter.uri, sha256=adapter.sha256)
        reply = await self._order(self._stub.LoadAdapter, request, LOAD_S)
        return SwapProof(
            canaries=reply.proof.canaries,
            max_relative_error=reply.proof.max_relative_error,
            tolerance=reply.proof.tolerance,
            mean_shift_nats=reply.proof.mean_shift_nats,
            duration_s=reply.duration_s,
            already_loaded=reply.already_loaded,
        )

    async def unload(self, name: str) -> None:
        """Remove; one that is not there is no error."""
        try:
            await self._order(self._stub.UnloadAdapter, pb.UnloadAdapterRequest(name=name), UNLOAD_S)
        except ValignError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise

    async def route(self, name: str) -> Route | None:
        """None if it was never set there."""
        try:
            reply = await self._ask(self._stub.GetRoute, pb.GetRouteRequest(name=name))
        except ValignError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return None
            raise
        found = reply.route
        return Route(found.name, found.adapter, found.canary_adapter, found.canary_share, found.version)

    async def set_route(self, route: Route) -> None:
        """Make a public name serve this."""
        message = pb.Route(
            name=route.name,
            adapter=route.adapter,
            canary_adapter=route.canary_adapter,
            canary_share=route.canary_share,
            version=route.version,
        )
        await self._order(self._stub.SetRoute, pb.SetRouteRequest(route=message), self._call_s)

    async def aclose(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def _order(self, rpc: Any, request: Any, timeout_s: float) -> Any:
        return await call(partial(rpc, metadata=tuple(self._metadata())), request, timeout_s=timeout_s)

    async def _ask(self, rpc: Any, request: Any) -> Any:
        return await call(rpc, request, timeout_s=self._call_s)
