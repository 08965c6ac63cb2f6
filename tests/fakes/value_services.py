"""Ports of embedder and generator for the value space: in this process, without models.

The judge looks for words: a reply that has a value's name finds it important, "no <name>" opposed.
"""

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.common.errors import PreconditionError
from services.orchestrator.ports import Embeddings, EncoderInfo, GeneratorInfo, Score, ScoreItem
from tests.fakes.fake_embedder import DIMENSION, embed

_VALUE = re.compile(r'The value "([^"]+)"')
_REPLY = re.compile(r"Bob: (.*?)\n\nHow does", re.DOTALL)


@dataclass
class WordEmbedder:
    """Hashed bags of words."""

    fingerprint: str = "e" * 64
    model: str = "fake/encoder"
    seen: list[str] = field(default_factory=list)

    async def describe(self) -> EncoderInfo:
        return EncoderInfo(self.model, DIMENSION, self.fingerprint, 256)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        self.seen += texts
        return Embeddings(np.stack([embed(text) for text in texts]).astype(np.float32))


@dataclass
class WordJudge:
    """A generator that only scores; ``bias`` is added to every "important"."""

    fingerprint: str = "f" * 64
    model: str = "fake/model"
    bias: float = 0.0
    can_score: bool = True
    fails: str = ""
    """Replies with this word cannot be scored."""
    asked: list[ScoreItem] = field(default_factory=list)

    async def describe(self) -> GeneratorInfo:
        return GeneratorInfo(self.model, "", self.fingerprint, 2048, 64, "fake", "cpu")

    async def score(self, items: Sequence[ScoreItem], adapter: str = "") -> AsyncGenerator[Score, None]:
        if not self.can_score:
            raise PreconditionError("this generator cannot score")
        for item in items:
            self.asked.append(item)
            text = item.prompt.messages[0].content
            if self.fails and self.fails in _reply(text):
                yield Score(item.key, 0.0, 0, "INVALID_INPUT", "too long")
                continue
            yield Score(item.key, self._logprob(text, item.continuation), 2)

    def _logprob(self, text: str, answer: str) -> float:
        found = _VALUE.search(text)
        assert found is not None
        name, reply = found[1].lower(), _reply(text).lower()
        meant = "opposed" if f"no {name}" in reply else "important" if name in reply else "no connection"
        return (-0.2 if answer == meant else -3.0) + (self.bias if answer == "important" else 0.0)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the value space must not call {name} of the generator")


def _reply(text: str) -> str:
    found = _REPLY.search(text)
    assert found is not None, text
    return found[1]
