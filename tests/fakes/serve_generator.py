"""The generator's real service around an engine without a model, as a process of its own.

``python -m tests.fakes.serve_generator --paid FILE …``, with the settings of the generator
(``VALIGN_GENERATOR_*``). Every completion that the engine begins is a line of ``FILE``: begun is paid for.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from services.common.artifacts import ArtifactStore
from services.common.base_model import fingerprint_base_model
from services.common.lifecycle import run_service
from services.common.logs import configure_logging
from services.common.pb.generator.v1 import generator_pb2 as pb
from services.common.pb.generator.v1 import generator_pb2_grpc as rpc
from services.common.rpc.server import Health
from services.common.settings import load_settings
from services.generator.adapters import Adapters
from services.generator.service import Generator
from services.generator.servicer import SERVICE_NAME, GeneratorServicer
from services.generator.serving.build import build_server
from services.generator.serving.traffic import Traffic
from services.generator.settings import GeneratorSettings
from services.generator.supervisor import Supervisor
from services.generator.types import Completion, LoraHandle, Prompt, Sampling, Score
from tests.fakes.fake_engine import FINGERPRINT, INFO, FakeEngine
from tests.fakes.fake_generator import adapter_kind, logprob_of, stage_of, text_of
from tests.fakes.fake_openai_app import FakeOpenAIApp


class PayingEngine(FakeEngine):
    """Texts and scores follow from what was asked; canaries are scored as the adapter's manifest says."""

    def __init__(self, paid: Path, latency_s: float, load_s: float, **limits: object) -> None:
        super().__init__(**limits)
        self._paid = os.open(paid, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._latency_s = latency_s
        self._load_s = load_s
        self._canaries: dict[tuple[int, str, str], Score] = {}

    async def generate(self, prompt: Prompt, sampling: Sampling, lora: LoraHandle | None) -> Completion:
        self._check()
        asked = prompt.messages[-1]["content"]
        kind = adapter_kind(lora.name) if lora else ""
        # A hyphen on both sides: as in a whole name.
        text = text_of(asked, sampling.seed, f"-{kind}-" if kind else "")
        key = f"{lora.name if lora else ''}|{stage_of(asked)}|{sampling.seed}"
        # Computing costs from its first moment: what is cut off on its way is paid for as well.
        os.write(self._paid, (json.dumps({"t": time.time_ns(), "key": key}) + "\n").encode())
        await asyncio.sleep(self._latency_s)
        return Completion(text, "stop", 10, 12)

    async def score(
        self, prompt: Prompt, continuation: str, lora: LoraHandle | None, copy: int | None = None
    ) -> Score:
        self._check()
        asked = prompt.messages[-1]["content"]
        known = self._canaries.get((lora.lora_id if lora else 0, asked, continuation))
        if known is not None:
            return known
        await asyncio.sleep(self._latency_s / 10)
        return Score(*logprob_of(asked, continuation, adapter_kind(lora.name) if lora else ""))

    async def add_lora(self, lora: LoraHandle) -> None:
        await asyncio.sleep(self._load_s)
        manifest = json.loads((lora.folder / "manifest.json").read_text())
        for canary in manifest["meta"]["canaries"]:
            asked, said = canary["messages"][-1]["content"], canary["continuation"]
            for number, side in ((lora.lora_id, "adapter"), (0, "base")):
                self._canaries[number, asked, said] = Score(canary[f"logprob_{side}"], canary["tokens"])
        await super().add_lora(lora)


class SlowGeneratorServicer(GeneratorServicer):
    """Takes a while to say what it serves, so that a run can be met while it asks."""

    def __init__(self, generator: Generator, describe_s: float, traffic: Traffic | None = None) -> None:
        super().__init__(generator, traffic)
        self._describe_s = describe_s

    async def Describe(self, request: pb.DescribeRequest, context: Any) -> pb.DescribeResponse:
        await asyncio.sleep(self._describe_s)
        return await super().Describe(request, context)


async def serve(settings: GeneratorSettings, args: argparse.Namespace) -> None:
    """As ``services.generator.__main__`` does, with another engine."""
    local = Path(settings.model)
    fingerprint = fingerprint_base_model(local) if local.is_dir() else FINGERPRINT
    engine = PayingEngine(
        args.paid,
        args.latency_s,
        args.load_s,
        model=settings.model,
        fingerprint=fingerprint,
        max_model_len=4096,
        max_lora_rank=settings.max_lora_rank,
        max_cpu_loras=settings.max_cpu_loras,
        lora_target_modules=settings.lora_target_modules,
        weight_shapes={} if local.is_dir() else INFO.weight_shapes,
    )
    with tempfile.TemporaryDirectory(
        prefix="adapters-", dir=args.paid.parent, ignore_cleanup_errors=True
    ) as cache:
        store = ArtifactStore(settings.artifacts)
        adapters = Adapters(
            engine,
            store,
            Path(cache),
            max_bytes=settings.max_adapter_bytes,
            tolerance=settings.canary_tolerance,
        )
        generator = Generator(
            engine,
            adapters,
            max_in_flight=settings.max_in_flight,
            max_calls=settings.max_calls,
            tracing_content=settings.tracing_content,
        )
        supervisor = Supervisor(engine, adapters.forget_all, backoff_s=1.0, backoff_max_s=5.0)
        traffic = Traffic()
        app = FakeOpenAIApp(args.latency_s)
        http = build_server(settings, generator, app, traffic, app.check) if settings.http_port else None

        async def start(health: Health) -> None:
            if http is not None:
                await http.start()
            await supervisor.start(health)

        sampled = traffic if settings.allow_traffic_sampling and http is not None else None
        await run_service(
            name="generator",
            settings=settings,
            service_names=[SERVICE_NAME],
            register=lambda server: rpc.add_GeneratorServiceServicer_to_server(
                SlowGeneratorServicer(generator, args.describe_s, sampled), server
            ),
            start=start,
            stop=supervisor.stop,
            drain=http.drain if http else None,
        )


def main() -> None:
    """Read arguments and settings, serve until a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--paid", type=Path, required=True)
    parser.add_argument("--latency-s", type=float, default=0.0)
    parser.add_argument("--load-s", type=float, default=0.0)
    parser.add_argument("--describe-s", type=float, default=0.0)
    args = parser.parse_args()
    settings = load_settings(GeneratorSettings)
    configure_logging("generator", settings.log_level, settings.log_format)
    asyncio.run(serve(settings, args))


if __name__ == "__main__":
    main()
