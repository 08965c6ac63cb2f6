"""An ``Engine`` without a model: it answers from arithmetic, and can be told to fail."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace

from services.common.errors import InvalidInputError, NotReadyError, PreconditionError
from services.generator.types import Completion, EngineInfo, LoraHandle, Prompt, Sampling, Score

FINGERPRINT = "f" * 64

INFO = EngineInfo(
    model="fake-model",
    revision="",
    fingerprint=FINGERPRINT,
    max_model_len=64,
    max_lora_rank=16,
    max_loras=2,
    max_cpu_loras=2,
    copies=1,
    lora_target_modules=("q_proj", "v_proj"),
    has_chat_template=True,
    engine_version="0.0-fake",
    device="cpu",
    weight_shapes={
        "model.layers.0.self_attn.q_proj.weight": (8, 12),
        "model.layers.0.self_attn.v_proj.weight": (4, 12),
    },
)


class FakeEngine:
    """Tokens are words. A text depends on the prompt, the seed and the adapter's name.

    Attributes:
        gate: while cleared, no request ends.
        shift_nats: what an adapter adds to a score (0: an adapter without effect).
        refuse_lora: message with which ``add_lora`` fails, or None.
        start_failures, stop_failures: how many of the next starts and stops fail.
        too_long: continuations that ``score`` refuses at once.
        blind_copies: copies of the model in which an adapter has no effect.
        forgetful_copies: copies that hold no adapter.
        running, most_running: requests now and at most.
        aborted: requests that were cancelled.
    """

    def __init__(self, **limits: object) -> None:
        self._info = replace(INFO, **limits)  # type: ignore[arg-type]
        self._dead: asyncio.Event | None = None
        self.incarnation = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.shift_nats = 5.0
        self.refuse_lora: str | None = None
        self.start_failures = 0
        self.stop_failures = 0
        self.too_long: set[str] = set()
        self.blind_copies: set[int] = set()
        self.forgetful_copies: set[int] = set()
        self.loras: dict[int, LoraHandle] = {}
        self.ids_ever: list[int] = []
        self.running = 0
        self.most_running = 0
        self.aborted = 0
        self.stops = 0

    @property
    def info(self) -> EngineInfo:
        self._check()
        return self._info

    async def start(self) -> None:
        if self.start_failures:
            self.start_failures -= 1
            raise PreconditionError("the fake engine was told not to start")
        self._dead = asyncio.Event()
        self.incarnation += 1
        self.loras.clear()

    async def stop(self) -> None:
        self.stops += 1
        if self.stop_failures:
            self.stop_failures -= 1
            raise RuntimeError("the fake engine was told not to stop")
        if self._dead is not None:
            self._dead.set()
        self._dead = None

    async def wait_dead(self) -> str:
        assert self._dead is not None
        await self._dead.wait()
        return "killed by the test"

    def die(self) -> None:
        assert self._dead is not None
        self._dead.set()

    async def generate(self, prompt: Prompt, sampling: Sampling, lora: LoraHandle | None) -> Completion:
        words = len(_words(prompt))
        if words + sampling.max_tokens > self._info.max_model_len:
            raise InvalidInputError(
                f"prompt of {words} tokens plus {sampling.max_tokens} is more than {self._info.max_model_len}"
            )
        await self._work()
        key = f"{prompt.messages}|{prompt.prefill}|{sampling.seed}|{lora.name if lora else ''}"
        text = hashlib.sha256(key.encode()).hexdigest()[:16]
        return Completion(text, "stop", words, 1)

    async def score(
        self, prompt: Prompt, continuation: str, lora: LoraHandle | None, copy: int | None = None
    ) -> Score:
        if continuation in self.too_long:
            raise InvalidInputError("the continuation is too long")
        await self._work()
        moved = lora is not None and copy not in self.blind_copies
        return Score(
            base_logprob(continuation) + (self.shift_nats if moved else 0.0), len(continuation.split())
        )

    async def add_lora(self, lora: LoraHandle) -> None:
        self._check()
        if self.refuse_lora is not None:
            raise PreconditionError(self.refuse_lora)
        assert lora.lora_id not in self.ids_ever, "an adapter id was used twice"
        assert (lora.folder / "adapter_model.safetensors").is_file()
        self.ids_ever.append(lora.lora_id)
        self.loras[lora.lora_id] = lora

    async def remove_lora(self, lora: LoraHandle) -> None:
        self._check()
        self.loras.pop(lora.lora_id, None)

    async def list_loras(self) -> tuple[frozenset[int], ...]:
        self._check()
        held = frozenset(self.loras)
        return tuple(
            frozenset() if copy in self.forgetful_copies else held for copy in range(self._info.copies)
        )

    def _check(self) -> None:
        if self._dead is None or self._dead.is_set():
            raise NotReadyError("the fake engine is not running")

    async def _work(self) -> None:
        self._check()
        assert self._dead is not None
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        gate = asyncio.ensure_future(self.gate.wait())
        dead = asyncio.ensure_future(self._dead.wait())
        try:
            if not self.gate.is_set():
                await asyncio.wait({gate, dead}, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)
            self._check()
        except asyncio.CancelledError:
            self.aborted += 1
            raise
        finally:
            gate.cancel()
            dead.cancel()
            self.running -= 1


def base_logprob(continuation: str) -> float:
    """The fake base model's log-probability: -10 nats a word."""
    return -10.0 * len(continuation.split())


def _words(prompt: Prompt) -> list[str]:
    turns: tuple[Mapping[str, str], ...] = prompt.messages
    return " ".join([*(turn["content"] for turn in turns), prompt.prefill]).split()
