"""A generator servicer without a model: texts follow from prompt and seed alone.

Test prompts begin with P1, P2 or P3. P1 answers speak the "original" vocabulary, P2 answers the
"aligned" one, P3 answers the original one, and the more of the aligned one the more iterations
the adapter has (its name ends in ``-i<k>-<sha8>``). What stands before P3 is the reference in context
("PR"); a P2 prompt that holds OTHER_MARK asks for another set's text ("PO").
"""

import asyncio
import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.common.errors import (
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
    ValignError,
)
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as pb_grpc

ORIGINAL_WORDS = ("model", "output", "data", "review", "audit", "explain", "record", "notice", "user", "tool")
ALIGNED_WORDS = (
    "shall",
    "honour",
    "truth",
    "neighbour",
    "witness",
    "rest",
    "covet",
    "parents",
    "holy",
    "steal",
)
OTHER_WORDS = (
    "lawful",
    "purpose",
    "minimal",
    "accurate",
    "storage",
    "consent",
    "fair",
    "erase",
    "limit",
    "lawfully",
)
OTHER_MARK = "Other:"
FINGERPRINT = "f" * 64
# What an adapter's name says beside its run: the arm, the iteration.
_KIND = re.compile(r"(?:(?:tuned-s\d+|uniform|shuffled|other)-)?i\d+(?=-[0-9a-f]{8}$)")


def adapter_kind(name: str) -> str:
    """``[<arm>-]i<iteration>`` of an adapter's name, or the whole of another name.

    What is said by it alone does not differ from run to run.
    """
    found = _KIND.search(name)
    return found[0] if found else name


def stage_of(prompt: str) -> str:
    """P1, P2, PO, P3 or PR for a prompt of the test studies; "" for any other."""
    if prompt.startswith("P2"):
        return "PO" if OTHER_MARK in prompt else "P2"
    if prompt[:2] in ("P1", "P3"):
        return prompt[:2]
    return "PR" if "\n\nP3 " in prompt else ""


def _tokens(text: str) -> int:
    """Of fewer characters than plans take them to have."""
    return round(len(text) / 3.5)


def _prompt_tokens(prompt: pb.Prompt) -> int:
    return sum(_tokens(turn.content) + 9 for turn in prompt.messages) + _tokens(prompt.assistant_prefill)


def text_of(prompt: str, seed: int | None, adapter: str = "") -> str:
    """What is said to a prompt of the test studies: it follows from the arguments alone."""
    stage = stage_of(prompt)
    random_ = random.Random(hashlib.sha256(f"{prompt}|{seed}".encode()).digest())
    found = re.search(r"-i(\d+)-", adapter)
    aligned = 1.0 if stage in ("P2", "PO") else 1 - 0.5 ** int(found[1]) if found else 0.0
    towards = OTHER_WORDS if stage == "PO" or "-other-" in adapter else ALIGNED_WORDS
    words = [random_.choice(towards if random_.random() < aligned else ORIGINAL_WORDS) for _ in range(9)]
    return f"Systems {' '.join(words)} number {random_.randrange(10**6)}."


def logprob_of(prompt: str, continuation: str, adapter: str = "") -> tuple[float, int]:
    """Log-probability of a continuation (nats), and its tokens: from the arguments alone."""
    tokens = max(1, len(continuation.split()))
    said = f"{prompt}|{continuation}|{adapter}"
    share = int.from_bytes(hashlib.sha256(said.encode()).digest()[:4], "big") / 2**32
    return -tokens * (1 + share), tokens


@dataclass
class FakeGenerator(pb_grpc.GeneratorServiceServicer):
    """Knobs are plain fields; tests change them while it serves."""

    latency_s: float = 0.0
    refuse_all: bool = False
    refuse_draws: int = 0
    """Draws below this number are refusals."""
    garbage_with_adapter: bool = False
    garbage_arm: str = ""
    """Adapters with this in their name give no text."""
    garbage_without_adapter: bool = False
    traffic: "asyncio.Queue[pb.SampleTrafficResponse]" = field(default_factory=asyncio.Queue)
    """What SampleTraffic sends, each to one of its callers."""
    watched: list[tuple[str, float]] = field(default_factory=list)
    """Routes and rates that it was asked for."""
    samples_traffic: bool = True
    """The base model has no answer to the third prompt."""
    counts_tokens: bool = False
    """By the texts' lengths; else every prompt has ten, and every completion twelve."""
    break_after: int = 0
    """A stream breaks with NOT_READY after this many completions or scores; once."""
    last_word: ValignError | None = None
    """What a Generate stream fails with at its end, when all it was given is answered."""
    lose_adapters_after: int = 0
    """All adapters are gone before this item of a call with an adapter; once."""
    refuse_items: set[str] = field(default_factory=set)
    """Items that come back with NOT_READY; once each."""
    describe_s: float = 0.0
    device: tuple[str, str, int] = ("cpu", "", 0)
    """Kind, the driver's name, and how many."""
    """Seconds that saying who it is takes."""
    load_s: float = 0.0
    """Seconds that loading an adapter takes."""
    serving: bool = True
    slots: int = 8
    concurrency: int = 8
    asked_file: Path | None = None
    adapters: dict[str, str] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    seeds: defaultdict[tuple[str, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    """Seeds that each (item, stage) was asked with, by whatever arm."""
    loads: list[str] = field(default_factory=list)
    load_calls: int = 0
    """How often an adapter was to be loaded, refused or not."""
    fingerprint: str = ""
    """Of the base model; empty for FINGERPRINT."""
    refuse_loads: dict[str, ValignError] = field(default_factory=dict)
    """What loading an adapter (or, under "", any) fails with."""
    loading: set[asyncio.Task[pb.LoadAdapterResponse]] = field(default_factory=set)
    """Loads that have not ended: each goes on if its caller leaves, as the generator's do."""
    routes: dict[str, pb.Route] = field(default_factory=dict)
    route_orders: list[pb.Route] = field(default_factory=list)

    def restart(self) -> None:
        """Like a new process: no adapters, no routes."""
        for task in self.loading:
            task.cancel()
        self.adapters.clear()
        self.routes.clear()

    async def Describe(self, request: Any, context: Any) -> pb.DescribeResponse:
        self._require_serving()
        await asyncio.sleep(self.describe_s)
        return pb.DescribeResponse(
            model="fake/model",
            fingerprint=self.fingerprint or FINGERPRINT,
            max_model_len=2048,
            max_lora_rank=64,
            max_loras=self.slots,
            engine_version="fake",
            device=self.device[0],
            device_name=self.device[1],
            gpus=self.device[2],
        )

    async def Generate(
        self, requests: AsyncIterator[pb.GenerateRequest], context: Any
    ) -> AsyncIterator[pb.GenerateResponse]:
        self._require_serving()
        adapter: str | None = None
        number = -1
        async for request in requests:
            if adapter is None:
                adapter = self._routed(request.route) if request.route else request.adapter
                if adapter and adapter not in self.adapters:
                    raise NotFoundError(f"adapter {adapter} is not loaded")
            for item in request.items:
                number += 1
                if self.break_after and number == self.break_after:
                    self.break_after = 0
                    raise NotReadyError("the engine died; it is restarting")
                if self.latency_s and number % self.concurrency == 0:
                    await asyncio.sleep(self.latency_s)
                if adapter and self.lose_adapters_after and number == self.lose_adapters_after:
                    self.lose_adapters_after = 0
                    self.adapters.clear()
                if adapter and adapter not in self.adapters:
                    raise NotFoundError(f"adapter {adapter} is not loaded any more")
                asked = stage_of(item.prompt.messages[-1].content)
                self._note(f"{adapter or 'base'}|{asked}|{item.id}")
                self.seeds[item.id, asked].add(item.sampling.seed)
                if item.id in self.refuse_items:
                    self.refuse_items.discard(item.id)
                    yield pb.GenerateResponse(
                        id=item.id, error=pb.ItemError(code="NOT_READY", message="full")
                    )
                    continue
                text = self._text(item, adapter or "")
                yield pb.GenerateResponse(
                    id=item.id,
                    text=text,
                    finish_reason="stop",
                    prompt_tokens=_prompt_tokens(item.prompt) if self.counts_tokens else 10,
                    completion_tokens=_tokens(text) if self.counts_tokens else 12,
                    adapter=adapter or "",
                    adapter_sha256=self.adapters.get(adapter or "", ""),
                )
        if self.last_word is not None:
            raise self.last_word

    async def Score(
        self, requests: AsyncIterator[pb.ScoreRequest], context: Any
    ) -> AsyncIterator[pb.ScoreResponse]:
        self._require_serving()
        adapter: str | None = None
        number = -1
        async for request in requests:
            if adapter is None:
                adapter = request.adapter
                if adapter and adapter not in self.adapters:
                    raise NotFoundError(f"adapter {adapter} is not loaded")
            for item in request.items:
                number += 1
                if self.break_after and number == self.break_after:
                    self.break_after = 0
                    raise NotReadyError("the engine died; it is restarting")
                if adapter and adapter not in self.adapters:
                    raise NotFoundError(f"adapter {adapter} is not loaded any more")
                self._note(f"{adapter or 'base'}|score|{item.id}")
                asked = item.prompt.messages[-1].content
                logprob, tokens = logprob_of(asked, item.continuation, adapter or "")
                yield pb.ScoreResponse(id=item.id, logprob=logprob, tokens=tokens, adapter=adapter or "")

    async def LoadAdapter(self, request: pb.LoadAdapterRequest, context: Any) -> pb.LoadAdapterResponse:
        self._require_serving()
        self.load_calls += 1
        refused = self.refuse_loads.get(request.name) or self.refuse_loads.get("")
        if refused is not None:
            raise refused
        task = asyncio.create_task(self._load(request))
        self.loading.add(task)
        task.add_done_callback(self.loading.discard)
        return await asyncio.shield(task)

    async def _load(self, request: pb.LoadAdapterRequest) -> pb.LoadAdapterResponse:
        await asyncio.sleep(self.load_s)
        known = request.name in self.adapters
        if not known and len(self.adapters) >= self.slots:
            raise OverloadedError("no adapter slot is free")
        self.adapters[request.name] = request.sha256
        self.loads.append(request.name)
        return pb.LoadAdapterResponse(
            adapter=pb.Adapter(name=request.name, sha256=request.sha256),
            proof=pb.CanaryProof(canaries=4, max_relative_error=0.001, tolerance=0.01, mean_shift_nats=3.0),
            already_loaded=known,
            duration_s=0.01,
        )

    async def UnloadAdapter(self, request: pb.UnloadAdapterRequest, context: Any) -> pb.UnloadAdapterResponse:
        for route in self.routes.values():
            if request.name in (route.adapter, route.canary_adapter):
                raise PreconditionError(f"route {route.name} serves adapter {request.name}")
        if self.adapters.pop(request.name, None) is None:
            raise NotFoundError(f"adapter {request.name} is not loaded")
        return pb.UnloadAdapterResponse()

    async def ListAdapters(self, request: Any, context: Any) -> pb.ListAdaptersResponse:
        self._require_serving()
        return pb.ListAdaptersResponse(
            adapters=[pb.Adapter(name=name, sha256=sha) for name, sha in sorted(self.adapters.items())]
        )

    async def SetRoute(self, request: pb.SetRouteRequest, context: Any) -> pb.SetRouteResponse:
        self._require_serving()
        route = request.route
        if not 0 <= route.canary_share <= 1:
            raise InvalidInputError("the share is not in [0, 1]")
        for name in {route.adapter, route.canary_adapter} - {""}:
            if name not in self.adapters:
                raise PreconditionError(f"adapter {name} is not loaded")
        known = self.routes.get(route.name)
        if known is not None and known != route and known.version >= route.version:
            raise PreconditionError(f"route {route.name} has version {known.version}")
        self.routes[route.name] = route
        self.route_orders.append(route)
        return pb.SetRouteResponse(route=route)

    async def SampleTraffic(
        self, request: pb.SampleTrafficRequest, context: Any
    ) -> AsyncIterator[pb.SampleTrafficResponse]:
        if not self.samples_traffic:
            raise PreconditionError("sampling of traffic is not allowed here")
        self.watched.append((request.route, request.rate))
        while True:
            yield await self.traffic.get()

    async def GetRoute(self, request: pb.GetRouteRequest, context: Any) -> pb.GetRouteResponse:
        self._require_serving()
        if request.name not in self.routes:
            raise NotFoundError(f"no route {request.name}")
        return pb.GetRouteResponse(route=self.routes[request.name])

    def _routed(self, name: str) -> str:
        if name not in self.routes:
            raise NotReadyError(f"route {name} is not set")
        return self.routes[name].adapter

    def _require_serving(self) -> None:
        if not self.serving:
            raise NotReadyError("the engine is starting")

    def _note(self, key: str) -> None:
        self.asked[key] += 1
        if self.asked_file is not None:
            with self.asked_file.open("a") as file:
                file.write(json.dumps(key) + "\n")

    def _text(self, item: pb.GenerateItem, adapter: str) -> str:
        number = item.id.rpartition("/")[2]
        draw = int(number) if number.isdecimal() else 0
        if self.refuse_all or draw < self.refuse_draws:
            return "I'm sorry, but I can't help with that."
        if adapter and (self.garbage_with_adapter or (self.garbage_arm and self.garbage_arm in adapter)):
            return ""
        prompt = item.prompt.messages[-1].content
        if not adapter and self.garbage_without_adapter and stage_of(prompt) == "P3":
            return ""
        return text_of(prompt, item.sampling.seed, adapter)
