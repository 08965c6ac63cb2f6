"""The three doubles as one process; its generator heeds what it is asked, so that a gate can let it pass.

``python -m tests.fakes.serve_heeding STATE_DIR latency_s step_s artifacts``; it writes its port to
``STATE_DIR/port``.
"""

import asyncio
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from services.common.artifacts import ArtifactStore
from services.common.pb.generator.v1 import generator_pb2 as pb
from tests.fakes.fake_generator import ALIGNED_WORDS, ORIGINAL_WORDS, FakeGenerator, stage_of, text_of
from tests.fakes.fake_services import FakeServices

_SUBJECT_WORDS = 6
_REGISTER_WORDS = 5


@dataclass
class HeedingGenerator(FakeGenerator):
    """What is said to the second and third prompt keeps the words of the principle in it."""

    def _text(self, item: pb.GenerateItem, adapter: str) -> str:
        prompt, seed = item.prompt.messages[-1].content, item.sampling.seed
        stage = stage_of(prompt)
        if stage not in ("P2", "P3"):
            return text_of(prompt, seed, adapter)
        principle = prompt[3:].partition(" / ")[0].removeprefix("Systems ")
        aligned = stage == "P2" or bool(adapter)
        random_ = random.Random(f"{prompt}|{seed}")
        words = random_.choices(ALIGNED_WORDS if aligned else ORIGINAL_WORDS, k=_REGISTER_WORDS)
        return f"Systems {' '.join(words)} {' '.join(principle.split()[:_SUBJECT_WORDS])} {seed}."


async def _main(folder: Path, latency_s: float, step_s: float, artifacts: str) -> None:
    services = FakeServices(generator=HeedingGenerator(latency_s=latency_s, concurrency=2))
    services.trainer.step_s, services.trainer.steps = step_s, 10
    services.trainer.artifacts = ArtifactStore(artifacts)
    await services.start()
    (folder / "port").write_text(services.target.rsplit(":", 1)[1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
