"""Asking for one measurement's texts: each answer is stored as it comes, and asked for once.

A *slot* is one draw of one prompt. An answer that is no usable principle is followed by the slot's next try,
with a seed of its own. A measurement that was cut goes on with what is missing.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from services.common.errors import NotReadyError, PreconditionError
from services.orchestrator.domain.principles import Outcome, parse_principle
from services.orchestrator.domain.prompts import Prompt
from services.orchestrator.domain.seeds import sample_seed
from services.orchestrator.monitor.document import SampleSettings
from services.orchestrator.monitor.records import Draw, Measurement
from services.orchestrator.monitor.sources import Source
from services.orchestrator.ports import Completion, GenerationItem, Sampling
from services.orchestrator.store.measuring import SqlMeasuring

MAX_TRIES = 3


@dataclass(frozen=True, slots=True)
class Slot:
    """One draw of one prompt; ``shot_answers`` are the prompt's own examples, which do not count."""

    topic_id: str
    index: int
    draw: int
    prompt: Prompt
    shot_answers: tuple[str, ...] = ()


class Asker:
    """Asks for one measurement. ``stored`` is what an earlier process of it has asked for."""

    def __init__(
        self,
        store: SqlMeasuring,
        source: Source,
        measurement: Measurement,
        samples: SampleSettings,
        stored: Sequence[Draw],
    ) -> None:
        self._store = store
        self._source = source
        self._measurement = measurement
        self._samples = samples
        self._stored = {draw.key: draw for draw in stored}

    @property
    def stored(self) -> tuple[Draw, ...]:
        """Every answer so far."""
        return tuple(self._stored.values())

    async def keep(self, draw: Draw) -> None:
        """Store one answer."""
        await asyncio.to_thread(self._store.put, self._measurement, draw)
        self._stored[draw.key] = draw

    async def ask(self, phase: str, slots: Sequence[Slot]) -> list[Draw]:
        """The usable answers of a phase, in the order of the slots.

        PreconditionError if there is none at all, with the reason that most of them gave.
        """
        for number in range(MAX_TRIES):
            missing = {
                f"{slot.topic_id}/{slot.index}/{slot.draw}": slot
                for slot in slots
                if self._usable(phase, slot) is None and self._at(phase, slot, number) is None
            }
            if missing:
                await self._draw(phase, missing, number)
        found = [draw for slot in slots if (draw := self._usable(phase, slot)) is not None]
        if not found:
            reasons = Counter(draw.outcome for draw in self._stored.values() if draw.phase == phase)
            reason = reasons.most_common(1)[0][0] if reasons else "nothing was asked"
            raise PreconditionError(f"no answer of {len(slots)} is a usable principle (mostly: {reason})")
        return found

    def _at(self, phase: str, slot: Slot, number: int) -> Draw | None:
        return self._stored.get((phase, slot.topic_id, slot.index, slot.draw * MAX_TRIES + number))

    def _usable(self, phase: str, slot: Slot) -> Draw | None:
        tries = (self._at(phase, slot, number) for number in range(MAX_TRIES))
        return next((draw for draw in tries if draw is not None and draw.outcome == Outcome.OK), None)

    async def _draw(self, phase: str, slots: dict[str, Slot], number: int) -> None:
        items = [self._item(phase, key, slot, number) for key, slot in slots.items()]
        answered = 0
        async with aclosing(self._source.generate(items)) as stream:
            async for completion in stream:
                slot = slots[completion.key]
                await self.keep(self._parsed(phase, slot, number, completion))
                answered += 1
        if answered < len(items):
            raise NotReadyError(f"{len(items) - answered} of {len(items)} prompts got no answer")

    def _item(self, phase: str, key: str, slot: Slot, number: int) -> GenerationItem:
        samples, measurement = self._samples, self._measurement
        prompt = slot.prompt if self._source.takes_prefill else replace(slot.prompt, prefill="")
        # Seeds of their own for each measurement: the texts of two periods are independent.
        stage = f"{phase}|{measurement.monitor_id}|{measurement.number}"
        draw = slot.draw * MAX_TRIES + number
        seed = sample_seed(samples.seed, stage, slot.topic_id, slot.index, draw)
        sampling = Sampling(samples.temperature, samples.top_p, samples.max_new_tokens, seed)
        return GenerationItem(key=key, prompt=prompt, sampling=sampling)

    def _parsed(self, phase: str, slot: Slot, number: int, completion: Completion) -> Draw:
        principle, outcome = "", completion.error_code.lower()
        if not completion.error_code:
            parsed = parse_principle(
                completion.text,
                finish_reason=completion.finish_reason,
                prefill=slot.prompt.prefill if self._source.takes_prefill else "",
                shot_answers=slot.shot_answers,
            )
            principle, outcome = parsed.principle, parsed.outcome.value
        return Draw(
            phase=phase,
            topic_id=slot.topic_id,
            index=slot.index,
            draw=slot.draw * MAX_TRIES + number,
            principle=principle,
            outcome=outcome[:64],
            adapter=completion.adapter,
            adapter_sha256=completion.adapter_sha256,
        )
