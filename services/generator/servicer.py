"""The gRPC face: convert, call, convert."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from services.common.errors import PreconditionError
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as rpc
from services.generator import convert
from services.generator.service import Generator
from services.generator.serving.traffic import Traffic
from services.generator.types import Asked, GenerateItem, ScoreItem

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["GeneratorService"].full_name


class GeneratorServicer(rpc.GeneratorServiceServicer):
    """See the contract, ``proto/valign/generator/v1/generator.proto``."""

    def __init__(self, generator: Generator, traffic: Traffic | None = None) -> None:
        """``traffic``: what may be sampled; None if the settings allow it not."""
        self._generator = generator
        self._traffic = traffic

    async def Describe(self, request: pb.DescribeRequest, context: Any) -> pb.DescribeResponse:
        return convert.describe_response(self._generator.engine.info)

    async def Generate(
        self, request_iterator: AsyncIterator[pb.GenerateRequest], context: Any
    ) -> AsyncIterator[pb.GenerateResponse]:
        first = await anext(request_iterator, None)
        if first is None:
            return

        async def items() -> AsyncIterator[Asked[GenerateItem]]:
            for item in first.items:
                yield convert.generate_item_from(item)
            async for request in request_iterator:
                for item in request.items:
                    yield convert.generate_item_from(item)

        async with aclosing(self._generator.generate(first.adapter, items(), first.route)) as outcomes:
            async for outcome in outcomes:
                yield convert.generate_response(outcome)

    async def Score(
        self, request_iterator: AsyncIterator[pb.ScoreRequest], context: Any
    ) -> AsyncIterator[pb.ScoreResponse]:
        first = await anext(request_iterator, None)
        if first is None:
            return

        async def items() -> AsyncIterator[Asked[ScoreItem]]:
            for item in first.items:
                yield convert.score_item_from(item)
            async for request in request_iterator:
                for item in request.items:
                    yield convert.score_item_from(item)

        async with aclosing(self._generator.score(first.adapter, items())) as outcomes:
            async for outcome in outcomes:
                yield convert.score_response(outcome)

    async def LoadAdapter(self, request: pb.LoadAdapterRequest, context: Any) -> pb.LoadAdapterResponse:
        result = await self._generator.adapters.load(request.name, request.uri, request.sha256)
        return convert.load_response(result)

    async def UnloadAdapter(self, request: pb.UnloadAdapterRequest, context: Any) -> pb.UnloadAdapterResponse:
        return pb.UnloadAdapterResponse(drained=await self._generator.unload(request.name))

    async def ListAdapters(self, request: pb.ListAdaptersRequest, context: Any) -> pb.ListAdaptersResponse:
        adapters = await self._generator.adapters.loaded()
        return pb.ListAdaptersResponse(adapters=[convert.adapter_message(a) for a in adapters])

    async def SetRoute(self, request: pb.SetRouteRequest, context: Any) -> pb.SetRouteResponse:
        route = self._generator.routes.set(convert.route_from(request.route))
        return pb.SetRouteResponse(route=convert.route_message(route))

    async def GetRoute(self, request: pb.GetRouteRequest, context: Any) -> pb.GetRouteResponse:
        return pb.GetRouteResponse(route=convert.route_message(self._generator.routes.get(request.name)))

    async def SampleTraffic(
        self, request: pb.SampleTrafficRequest, context: Any
    ) -> AsyncIterator[pb.SampleTrafficResponse]:
        if self._traffic is None:
            raise PreconditionError(
                "the traffic of this generator is not sampled: whoever runs it sets"
                " VALIGN_GENERATOR_ALLOW_TRAFFIC_SAMPLING=true, and VALIGN_GENERATOR_HTTP_PORT"
            )
        with self._traffic.watch(request.route, request.rate) as watch:
            async with aclosing(watch.exchanges()) as exchanges:
                async for observed in exchanges:
                    yield convert.sample_response(observed)
