"""vLLM's AsyncLLM behind the ``Engine`` port. This and ``openai_app.py`` alone import model libraries.

The same code runs on vLLM's GPU and CPU builds. Names checked against vLLM 0.32.
"""

import asyncio
import gc
import multiprocessing
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from services.common.base_model import fingerprint_base_model, resolve_base_model
from services.common.errors import InternalError, InvalidInputError, NotReadyError, PreconditionError
from services.common.prompting import end_of_turn_ids, render_continuation, render_prompt
from services.generator.adapter_files import read_header
from services.generator.engine_stats import drop_unbounded
from services.generator.settings import GeneratorSettings, apply_cpu_environment
from services.generator.types import Completion, EngineInfo, LoraHandle, Prompt, Sampling, Score

log = structlog.get_logger(__name__)

_POLL_S = 0.25
# A base model without a chat template would go on to write the user's next turn itself.
_PLAIN_TEXT_STOP = ("\nUser:",)
# vLLM keeps seeds in signed 64-bit numbers.
_SEED_MASK = 2**63 - 1
# Types whose stored shape is the weight's own; packed integers are not.
_FLOAT_DTYPES = frozenset({"F32", "F16", "BF16", "F64", "F8_E4M3", "F8_E5M2"})


@dataclass(frozen=True, slots=True)
class _Running:
    """One incarnation of the engine."""

    llm: Any
    tokenizer: Any
    stop_token_ids: tuple[int, ...]
    info: EngineInfo


class VllmEngine:
    """One AsyncLLM, which can be started again after it died. Lives in one event loop."""

    def __init__(self, settings: GeneratorSettings) -> None:
        self._settings = settings
        self._engine: _Running | None = None
        self._incarnation = 0
        self._starting: asyncio.Future[_Running] | None = None

    @property
    def info(self) -> EngineInfo:
        """Identity and limits; NotReadyError while the engine does not run."""
        return self._running().info

    @property
    def incarnation(self) -> int:
        """Number of starts so far."""
        return self._incarnation

    @property
    def llm(self) -> Any:
        """vLLM's AsyncLLM itself, for vLLM's own server; NotReadyError while the engine does not run."""
        return self._running().llm

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer beside those that the model's own settings name."""
        return self._running().stop_token_ids

    async def start(self) -> None:
        """Load the model (in a thread: it takes up to minutes) and let it answer once."""
        self._starting = asyncio.ensure_future(asyncio.to_thread(self._build))
        engine = await asyncio.shield(self._starting)
        self._starting = None
        self._incarnation += 1
        self._engine = engine
        probe = Prompt(({"role": "user", "content": "Hello"},))
        await self.generate(probe, Sampling(0.0, 1.0, 1), None)
        log.info(
            "engine.started",
            model=engine.info.model,
            device=engine.info.device,
            fingerprint=engine.info.fingerprint[:12],
            max_model_len=engine.info.max_model_len,
        )

    async def stop(self) -> None:
        """Shut the engine's processes down, also while it is still starting."""
        engine, self._engine = self._engine, None
        if self._starting is not None:
            # A thread cannot be cancelled; without its child process the construction fails at once.
            while not self._starting.done():
                for child in multiprocessing.active_children():
                    child.terminate()
                await asyncio.wait({self._starting}, timeout=_POLL_S)
            if self._starting.exception() is None:
                engine = self._starting.result()
            self._starting = None
        if engine is not None:
            await asyncio.to_thread(engine.llm.shutdown)
            # Its __del__ shuts it down once more, and fails if the interpreter is half gone by then.
            engine.llm.shutdown = _nothing
        del engine
        # AsyncLLM is held by cycles.
        gc.collect()

    async def wait_dead(self) -> str:
        """vLLM's own monitor sees the death of its processes; this asks it four times a second."""
        while self._engine is not None and not self._engine.llm.errored:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(_POLL_S)
        return "the engine's process ended"

    async def generate(self, prompt: Prompt, sampling: Sampling, lora: LoraHandle | None) -> Completion:
        """See ``Engine``. The limit on length is checked here, so that nothing is cut silently."""
        engine = self._running()
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        ids = _prompt_ids(engine.tokenizer, prompt)
        _check_length(engine.info, len(ids), sampling.max_tokens)
        stop = sampling.stop if engine.info.has_chat_template else (*sampling.stop, *_PLAIN_TEXT_STOP)
        params = SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=None if sampling.seed is None else sampling.seed & _SEED_MASK,
            stop=list(stop),
            stop_token_ids=list(engine.stop_token_ids),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        output = await self._one(engine, ids, params, lora)
        answer = output.outputs[0]
        if answer.finish_reason not in ("stop", "length"):
            raise NotReadyError(f"the engine ended a request with {answer.finish_reason!r}; try again")
        return Completion(answer.text, answer.finish_reason, len(ids), len(answer.token_ids))

    async def score(
        self, prompt: Prompt, continuation: str, lora: LoraHandle | None, copy: int | None = None
    ) -> Score:
        """See ``Engine``."""
        engine = self._running()
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        start = _prompt_ids(engine.tokenizer, prompt)
        scored = render_continuation(engine.tokenizer, continuation, after_prefill=bool(prompt.prefill))
        if not scored:
            raise InvalidInputError("the continuation has no tokens; there is nothing to score")
        # vLLM generates one token at least.
        _check_length(engine.info, len(start) + len(scored), 1)
        params = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            prompt_logprobs=0,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        output = await self._one(engine, start + scored, params, lora, copy)
        rows = output.prompt_logprobs[len(start) :]
        logprob = sum(row[token].logprob for row, token in zip(rows, scored, strict=True))
        return Score(float(logprob), len(scored))

    async def add_lora(self, lora: LoraHandle) -> None:
        """See ``Engine``."""
        llm = self._running().llm
        with self._translated(llm):
            try:
                # vLLM's own call answers with what the first copy says.
                added = await llm.engine_core.call_utility_all_async("add_lora", lora_request(lora))
            except Exception as error:
                if llm.errored:
                    raise
                raise PreconditionError(f"the engine refuses adapter {lora.name}: {error}") from error
        if not all(added):
            raise PreconditionError(
                f"the engine did not take adapter {lora.name} and gave no reason (of {len(added)} copies of"
                f" the model {added.count(True)} took it)"
            )

    async def remove_lora(self, lora: LoraHandle) -> None:
        """See ``Engine``."""
        llm = self._running().llm
        with self._translated(llm):
            await llm.remove_lora(lora.lora_id)

    async def list_loras(self) -> tuple[frozenset[int], ...]:
        """See ``Engine``."""
        llm = self._running().llm
        with self._translated(llm):
            return tuple(map(frozenset, await llm.engine_core.call_utility_all_async("list_loras")))

    def _running(self) -> _Running:
        if self._engine is None or self._engine.llm.errored:
            raise NotReadyError("the engine is not running; it is loading or starting again")
        return self._engine

    async def _one(
        self, engine: _Running, ids: list[int], params: Any, lora: LoraHandle | None, copy: int | None = None
    ) -> Any:
        """Run one request to its end; cancelling it aborts it in the engine."""
        from vllm.inputs import tokens_input

        final = None
        with self._translated(engine.llm):
            outputs: AsyncIterator[Any] = engine.llm.generate(
                tokens_input(ids),
                params,
                request_id=uuid.uuid4().hex,
                lora_request=None if lora is None else lora_request(lora),
                data_parallel_rank=copy,
            )
            async for output in outputs:
                final = output
        if final is None:
            raise NotReadyError("the engine ended a request without a result; try again")
        return final

    @contextmanager
    def _translated(self, llm: Any) -> Iterator[None]:
        """vLLM's errors become ours."""
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        try:
            yield
        except EngineDeadError as error:
            raise NotReadyError("the engine died; it starts again by itself, repeat the call") from error
        except VLLMClientError as error:
            raise InvalidInputError(f"the engine refuses the request: {error}") from error
        except EngineGenerateError as error:
            if llm.errored:
                raise NotReadyError("the engine died; it starts again by itself, repeat the call") from error
            raise InternalError(f"the engine failed: {error.__cause__ or error}") from error

    def _build(self) -> _Running:
        settings = self._settings
        folder = resolve_base_model(settings.model, settings.revision)
        try:
            from transformers import AutoConfig, AutoTokenizer
            from vllm import AsyncEngineArgs
            from vllm.platforms import current_platform
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise PreconditionError(
                f"vLLM cannot be imported ({error}); install the extra valign[cpu] or valign[gpu]"
            ) from error
        try:
            text_config = AutoConfig.from_pretrained(folder).get_text_config()
            tokenizer = AutoTokenizer.from_pretrained(folder)
            max_model_len = min(
                settings.max_model_len,
                getattr(text_config, "max_position_embeddings", None) or settings.max_model_len,
            )
            device = current_platform.device_type
            units = len(os.sched_getaffinity(0)) if device == "cpu" else current_platform.device_count()
            check_workers(settings.workers, units, "cores" if device == "cpu" else "GPUs")
            max_loras, max_cpu_loras = _adapter_slots(device, settings.max_loras, settings.max_cpu_loras)
            arguments = AsyncEngineArgs(
                model=str(folder),
                dtype=settings.dtype,
                max_model_len=max_model_len,
                max_num_seqs=settings.max_num_seqs,
                enable_prefix_caching=settings.enable_prefix_caching,
                enable_lora=True,
                max_lora_rank=settings.max_lora_rank,
                lora_target_modules=list(settings.lora_target_modules),
                max_loras=max_loras,
                max_cpu_loras=max_cpu_loras,
                gpu_memory_utilization=settings.gpu_memory_utilization,
                tensor_parallel_size=settings.tensor_parallel_size,
                pipeline_parallel_size=settings.pipeline_parallel_size,
                data_parallel_size=settings.data_parallel_size,
                disable_log_stats=not settings.engine_metrics,
                **_device_arguments(device, max_model_len, settings.enforce_eager),
            )
            llm = AsyncLLM.from_engine_args(arguments)
            drop_unbounded()
        except PreconditionError:
            raise
        except Exception as error:
            raise PreconditionError(f"model {settings.model} cannot be served: {error}") from error
        # Some models' generation settings lack the token that their chat template ends a turn with.
        stop_ids = tuple(t for t in end_of_turn_ids(tokenizer)[-1:] if t in tokenizer.all_special_ids)
        info = EngineInfo(
            model=settings.model,
            revision=settings.revision or "",
            fingerprint=fingerprint_base_model(folder),
            max_model_len=max_model_len,
            max_lora_rank=settings.max_lora_rank,
            max_loras=min(max_loras, settings.max_cpu_loras),
            max_cpu_loras=settings.max_cpu_loras,
            copies=settings.data_parallel_size,
            lora_target_modules=settings.lora_target_modules,
            has_chat_template=bool(tokenizer.chat_template),
            engine_version=_engine_version(),
            device=device,
            weight_shapes=_weight_shapes(folder),
            device_name="" if device == "cpu" else current_platform.get_device_name(),
            gpus=0 if device == "cpu" else settings.workers,
        )
        return _Running(llm, tokenizer, stop_ids, info)


def _prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    try:
        return render_prompt(tokenizer, prompt.messages, prompt.prefill)
    except Exception as error:
        # Chat templates raise what they like, for example for a system turn they do not know.
        raise InvalidInputError(f"the model's chat template refuses the conversation: {error}") from error


def _check_length(info: EngineInfo, prompt_tokens: int, max_tokens: int) -> None:
    if prompt_tokens + max_tokens > info.max_model_len:
        raise InvalidInputError(
            f"prompt of {prompt_tokens} tokens plus {max_tokens} to generate is more than the limit of"
            f" {info.max_model_len}; shorten it, or raise VALIGN_GENERATOR_MAX_MODEL_LEN"
        )


def _device_arguments(device: str, max_model_len: int, enforce_eager: bool | None) -> dict[str, Any]:
    if device != "cpu":
        return {"enforce_eager": bool(enforce_eager)}
    if enforce_eager is not False:
        apply_cpu_environment()
    # A prefill that is split kills the CPU engine when the request has a seed ("CPU Generator
    # does not use offset"), so every prompt must fit one step.
    return {
        "enforce_eager": enforce_eager is not False,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(2048, max_model_len),
    }


def check_workers(workers: int, units: int, what: str) -> None:
    """PreconditionError unless each worker has one of the machine's ``units`` for itself."""
    if workers > units:
        raise PreconditionError(
            f"the model needs {workers} workers (VALIGN_GENERATOR_TENSOR_PARALLEL_SIZE times"
            f" _PIPELINE_PARALLEL_SIZE times _DATA_PARALLEL_SIZE), but this machine shows {units} {what};"
            " lower them or give the generator more. One generator lives on one machine"
        )


def _adapter_slots(device: str, max_loras: int, max_cpu_loras: int) -> tuple[int, int]:
    """Slots for adapters in a step, and adapters in the process's memory.

    vLLM's CPU kernels take the weights of a base-model token at index -1, that is from the *last* slot, when
    a step mixes base and adapter requests. The last slot must therefore stay empty (all zeros): there is one
    more slot than adapters that can ever be loaded.
    """
    if device != "cpu":
        return max_loras, max_cpu_loras
    return max_cpu_loras + 1, max_cpu_loras + 1


def lora_request(lora: LoraHandle) -> Any:
    """An adapter as vLLM's requests name it."""
    from vllm.lora.request import LoRARequest

    return LoRARequest(lora_name=lora.name, lora_int_id=lora.lora_id, lora_path=str(lora.folder))


def _nothing(*_: Any, **__: Any) -> None:
    """The shutdown of what is shut down."""


def _engine_version() -> str:
    import vllm

    return str(vllm.__version__)


def _weight_shapes(folder: Path) -> Mapping[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        header, _ = read_header(path)
        for name, entry in header.items():
            if len(entry["shape"]) == 2 and entry["dtype"] in _FLOAT_DTYPES:
                shapes[name] = tuple(entry["shape"])
    return shapes
