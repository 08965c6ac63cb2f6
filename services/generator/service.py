"""What the generator does with batches: leases, slots, metrics, item errors."""

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

from prometheus_client import Gauge

from services.common import usage
from services.common.errors import ErrorCode, InvalidInputError, NotReadyError, OverloadedError, ValignError
from services.common.process import ProcessTree
from services.generator.adapters import Adapters, Lease
from services.generator.batch import run_batch
from services.generator.metrics import (
    CALLS,
    CALLS_REFUSED,
    CPU_SECONDS,
    GPU_SECONDS,
    IN_FLIGHT,
    REQUEST_SECONDS,
    TOKENS,
)
from services.generator.routes import Routes
from services.generator.spans import RequestSpans
from services.generator.types import Asked, Completion, Engine, GenerateItem, ItemT, Score, ScoreItem

ResultT = TypeVar("ResultT", Completion, Score)
LeaseOf = Callable[[str], AbstractContextManager[Lease]]
"""Holds the adapter that an item, by its id, is answered by."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[ResultT]):
    """The result of one item, or why it has none; and the adapter that was asked."""

    id: str
    result: ResultT | ValignError
    adapter: str
    adapter_sha256: str


class Hold:
    """An adapter and a place in the engine, kept until the last who works with them has let go.

    The request's handler is the first holder. vLLM may go on with a request a moment after its handler has
    ended (it aborts in a task of its own), and must not find the adapter gone.
    """

    def __init__(self, lease: Lease, end: Callable[[], None]) -> None:
        """``end`` is called once, by the last."""
        self.lease = lease
        self._end = end
        self._holders = 1

    def retain(self) -> None:
        """One more holder; NotReadyError if all have let go."""
        if not self._holders:
            raise NotReadyError("the request has ended; what it asked for is not begun any more")
        self._holders += 1

    def release(self) -> None:
        """One holder less."""
        self._holders -= 1
        if not self._holders:
            self._end()


class Generator:
    """Generates and scores in batches on one engine.

    Args:
        engine: the engine.
        adapters: its adapters.
        max_in_flight: requests in the engine at once, over all calls.
        max_calls: calls open at once.
        gpus: GPUs that the engine holds where it runs on GPUs.
        tracing_content: put prompts and completions into spans.
    """

    def __init__(
        self,
        engine: Engine,
        adapters: Adapters,
        *,
        max_in_flight: int,
        max_calls: int,
        gpus: int = 1,
        tracing_content: bool = False,
    ) -> None:
        self.engine = engine
        self.adapters = adapters
        self.routes = Routes(engine, adapters)
        self._slots = asyncio.Semaphore(max_in_flight)
        self._max_unread = 2 * max_in_flight
        self._max_calls = max_calls
        self._calls = 0
        self._gpus = gpus
        self._spans = RequestSpans(engine, content=tracing_content)
        # What the public's requests cost is nobody's call; it takes its share all the same.
        self._public = usage.Usage()
        self.meter = usage.Meter(ProcessTree().cpu_s, self._gpus_held, _spent)

    async def generate(
        self, adapter: str, items: AsyncIterator[Asked[GenerateItem]], route: str = ""
    ) -> AsyncGenerator[Outcome[Completion], None]:
        """Complete items as they arrive; outcomes come in the order in which they end.

        With a route, each item goes where the route leads when its work begins, and ends there.

        Raises:
            NotFoundError: no such adapter.
            OverloadedError: too many calls.
            NotReadyError: no engine, it died under the call, or the route is not set.
            InvalidInputError: an id came twice, or both an adapter and a route are named.
        """

        async def work(item: GenerateItem, lease: Lease) -> Completion:
            with self._spans.chat(item, lease) as told:
                result = await self.engine.generate(item.prompt, item.sampling, lease.lora)
                told(result)
            TOKENS.labels("prompt").inc(result.prompt_tokens)
            TOKENS.labels("generated").inc(result.completion_tokens)
            return result

        async with aclosing(self._run("generate", adapter, items, work, route)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def score(
        self, adapter: str, items: AsyncIterator[Asked[ScoreItem]]
    ) -> AsyncGenerator[Outcome[Score], None]:
        """Score continuations as they arrive. Raises as ``generate`` does."""

        async def work(item: ScoreItem, lease: Lease) -> Score:
            with self._spans.score(item, lease) as told:
                result = await self.engine.score(item.prompt, item.continuation, lease.lora)
                told(result)
            TOKENS.labels("scored").inc(result.tokens)
            return result

        async with aclosing(self._run("score", adapter, items, work)) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def hold(self, kind: str, choose: Callable[[], str]) -> Hold:
        """A place in the engine for one request, and the adapter that ``choose`` names once there is one.

        Nothing comes between the choice and the lease, so that a name never leads to an adapter that has
        just been unloaded. ``kind`` is the metric's label.

        Raises:
            NotReadyError: no engine.
            NotFoundError: the adapter is not loaded; and what ``choose`` raises.
        """
        await self._slots.acquire()
        try:
            _ = self.engine.info
            lease = self.adapters.take(choose())
        except BaseException:
            self._slots.release()
            raise
        gauge = _gauge(kind)
        lease.in_flight += 1
        gauge.inc()
        working = self.meter.working_for(self._public)
        working.__enter__()

        def end() -> None:
            working.__exit__(None, None, None)
            gauge.dec()
            lease.in_flight -= 1
            self.adapters.give_back(lease)
            self._slots.release()

        return Hold(lease, end)

    async def unload(self, name: str) -> int:
        """Remove an adapter once its requests have ended; returns how many there were.

        Raises:
            PreconditionError: a route names it.
            NotFoundError: no such adapter.
        """
        self.routes.check_unnamed(name)
        return await self.adapters.unload(name)

    @contextmanager
    def _leases(self, adapter: str, route: str) -> Iterator[LeaseOf]:
        """Of an adapter one lease for the whole call; of a route one for each item."""
        if route and adapter:
            raise InvalidInputError(f"the call names adapter {adapter} and route {route}; name one of them")
        if route:
            # NotReadyError now, before the caller sends a whole batch.
            self.routes.resolve(route, "")
            yield lambda item_id: self.adapters.lease(self.routes.resolve(route, item_id))
            return
        with self.adapters.lease(adapter) as lease:
            yield lambda item_id: nullcontext(lease)

    async def _run(
        self,
        kind: str,
        adapter: str,
        items: AsyncIterator[Asked[ItemT]],
        work: Callable[[ItemT, Lease], Awaitable[ResultT]],
        route: str = "",
    ) -> AsyncGenerator[Outcome[ResultT], None]:
        gauge, seconds, account = _gauge(kind), REQUEST_SECONDS.labels(kind), usage.account()
        # NotReadyError now, before the caller sends a whole batch to no engine.
        _ = self.engine.info
        with self._one_call(), self._leases(adapter, route) as lease_of:

            async def one(asked: Asked[ItemT]) -> Outcome[ResultT]:
                with lease_of(asked.id) as lease:
                    return Outcome(asked.id, await answer(asked.item, lease), lease.name, lease.sha256)

            async def answer(item: ItemT | InvalidInputError, lease: Lease) -> ResultT | ValignError:
                if isinstance(item, InvalidInputError):
                    return item
                lease.in_flight += 1
                gauge.inc()
                try:
                    with seconds.time(), self.meter.working_for(account):
                        return await work(item, lease)
                except ValignError as error:
                    if error.code is not ErrorCode.INVALID_INPUT:
                        raise
                    return error
                finally:
                    lease.in_flight -= 1
                    gauge.dec()

            batch = run_batch(_unique(items), one, self._slots, max_unread=self._max_unread)
            # Closed here and not by the garbage collector: the lease must outlive the work.
            async with aclosing(batch):
                async for outcome in batch:
                    yield outcome

    @contextmanager
    def _one_call(self) -> Iterator[None]:
        if self._calls >= self._max_calls:
            CALLS_REFUSED.inc()
            raise OverloadedError(
                f"{self._calls} calls are open, the most that are taken; try again later, put more prompts"
                " into one call, or raise VALIGN_GENERATOR_MAX_CALLS"
            )
        self._calls += 1
        CALLS.set(self._calls)
        try:
            yield
        finally:
            self._calls -= 1
            CALLS.set(self._calls)

    def _gpus_held(self) -> int:
        try:
            return 0 if self.engine.info.device == "cpu" else self._gpus
        except NotReadyError:
            # It has just died, with the requests that are being counted.
            return 0


def _spent(cpu_s: float, gpu_s: float) -> None:
    CPU_SECONDS.inc(cpu_s)
    GPU_SECONDS.inc(gpu_s)


@functools.cache
def _gauge(kind: str) -> Gauge:
    return IN_FLIGHT.labels(kind)


async def _unique(items: AsyncIterator[Asked[ItemT]]) -> AsyncIterator[Asked[ItemT]]:
    seen: set[str] = set()
    async for item in items:
        if item.id in seen:
            raise InvalidInputError(f"item id {item.id!r} comes twice in this call; ids must be unique")
        seen.add(item.id)
        yield item
