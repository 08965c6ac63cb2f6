"""The generator port over an OpenAI-compatible endpoint: a model that can be asked, and nothing more.

It is bounded in requests at once, waits as it is told to (Retry-After), tries again what may pass and
gives up on what will not. Redirects are not followed and the key is in no message, log line or result.
"""

import asyncio
import hashlib
import ipaddress
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog
from pydantic import SecretStr
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from services.common.errors import (
    DeadlineError,
    NotReadyError,
    PreconditionError,
    ValignError,
)
from services.orchestrator.clients import openai_wire as wire
from services.orchestrator.clients.openai_pace import Pace
from services.orchestrator.clients.patience import OnWaiting, no_one_told
from services.orchestrator.ports import (
    AdapterRef,
    Completion,
    GenerationItem,
    GeneratorInfo,
    Score,
    ScoreItem,
    SwapProof,
)
from services.orchestrator.study_sections import EndpointSettings

log = structlog.get_logger(__name__)

SERVICE = "endpoint"
_FIRST_WAIT_S, _LONGEST_BACKOFF_S = 1.0, 60.0
_MOST_ANSWER_BYTES = 8 * 2**20


class OpenAIGenerator:
    """One model of one endpoint. ``aclose`` when the run is over."""

    def __init__(
        self,
        settings: EndpointSettings,
        key: SecretStr | None = None,
        on_waiting: OnWaiting = no_one_told,
        *,
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        self._settings = settings
        self._key = key
        self._on_waiting = on_waiting
        self._url = settings.url.rstrip("/")
        self._host = wire.host_of(self._url)
        if key and self._url.startswith("http://") and not is_this_machine(self._url):
            log.warning("endpoint.key_over_http", host=self._host)
        headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._http = httpx.AsyncClient(
            headers={**headers, "accept": "application/json"},
            timeout=settings.timeout_s,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=settings.requests_at_once),
            # A proxy that is set for the outside must not catch calls to this machine.
            trust_env=not is_this_machine(self._url),
        )
        self._backoff = wait_random_exponential(multiplier=first_wait_s, max=_LONGEST_BACKOFF_S)
        self._pace = Pace(settings.requests_at_once)
        self._left_out: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._fingerprints: set[str] = set()
        self._models: set[str] = set()

    async def describe(self) -> GeneratorInfo:
        """The name that is asked for. The fingerprint is of address and name: weights are out of sight."""
        identity = f"{self._url}\n{self._settings.model}"
        return GeneratorInfo(
            model=self._settings.model,
            revision="",
            fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
            max_model_len=0,
            max_lora_rank=0,
            engine_version=f"endpoint {self._host}",
            device="remote",
        )

    async def generate(
        self, items: Sequence[GenerationItem], adapter: str = ""
    ) -> AsyncGenerator[Completion, None]:
        """Completions in the order in which they end, each key once; at most ``requests_at_once`` at once.

        A prompt that the endpoint's own filter refuses comes back with ``error_code``. Raises the
        ValignError of what no further attempt can cure, or of the last of ``max_attempts``.
        """
        if adapter:
            raise self._cannot("load the adapter of a run")
        async with _workers(items, self._settings.requests_at_once, self._complete) as completions:
            async for completion in completions:
                yield completion

    def score(self, items: Sequence[ScoreItem], adapter: str = "") -> AsyncGenerator[Score, None]:
        """PreconditionError: endpoints do not tell the log-probability of a given text."""
        raise self._cannot("score a given text by its log-probability")

    async def load_adapter(self, adapter: AdapterRef) -> SwapProof:
        """PreconditionError: the model belongs to somebody else."""
        raise self._cannot("load an adapter")

    async def unload_adapter(self, name: str) -> None:
        """Nothing: no adapter of ours can be there."""

    async def list_adapters(self) -> list[tuple[str, str]]:
        """None."""
        return []

    async def honours_seed(self, item: GenerationItem) -> bool | None:
        """Ask one prompt twice with the same seed, then with another; only once if no seed is sent.

        True if the twins are equal and the third differs, False if the twins differ, None if all are
        equal (the prompt has one answer, so it shows nothing) or no seed is sent.
        """
        if not self._settings.send_seed or item.sampling.seed is None:
            await self._complete(item)
            return None
        other = replace(item, sampling=replace(item.sampling, seed=item.sampling.seed + 1))
        first, second, third = [(await self._complete(one)).text for one in (item, item, other)]
        if "seed" in self._left_out or first != second:
            return False
        return None if first == third else True

    def observations(self) -> dict[str, Any]:
        """What this process saw, JSON-able: requests, retries, system fingerprints, the model names that
        answers gave, and the parameters that were left out with the endpoint's reason."""
        return {
            "requests": self._counts["requests"],
            "retries": self._counts["retries"],
            "system_fingerprints": sorted(self._fingerprints),
            "models": sorted(self._models),
            "left_out": dict(self._left_out),
        }

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _complete(self, item: GenerationItem) -> Completion:
        try:
            answer = await self._patiently(item)
        except wire.FilteredError as error:
            return Completion(
                item.key, "", "content_filter", 0, 0, "", "", error.code.value, error_message=error.message
            )
        self._models |= {answer.model} - {""}
        self._fingerprints |= {answer.system_fingerprint} - {""}
        return Completion(
            key=item.key,
            text=answer.text,
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            adapter="",
            adapter_sha256="",
        )

    async def _patiently(self, item: GenerationItem) -> wire.Answer:
        attempts = AsyncRetrying(
            stop=stop_after_attempt(self._settings.max_attempts),
            wait=self._pause_s,
            retry=retry_if_exception_type(wire.PassingError),
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            return await attempts(self._attempt, item)
        except wire.PassingError as error:
            raise error.error(
                f"{error.message} (attempt {self._settings.max_attempts} of {self._settings.max_attempts};"
                " raise endpoint.max_attempts, lower endpoint.requests_at_once, or run it again later)"
            ) from error

    async def _attempt(self, item: GenerationItem) -> wire.Answer:
        while True:
            async with self._pace.turn() as began:
                left_out = frozenset(self._left_out)
                body = wire.request_body(
                    item, self._settings.model, send_seed=self._settings.send_seed, left_out=left_out
                )
                try:
                    answer = await self._post(body)
                except wire.RefusedParameterError as refused:
                    if refused.parameter in left_out:
                        raise PreconditionError(f"{self._host}: {refused.message}") from refused
                    self._leave_out(refused)
                    continue
                except wire.PassingError as error:
                    if error.slow_down:
                        self._pace.refused(began, error.retry_after_s)
                    raise
            self._pace.answered()
            return answer

    async def _post(self, body: dict[str, Any]) -> wire.Answer:
        self._counts["requests"] += 1
        address = f"{self._url}/chat/completions"
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                async with self._http.stream("POST", address, json=body) as response:
                    raw = self._without_key(await _read(response))
        except (TimeoutError, httpx.TimeoutException) as error:
            message = f"{self._host} gave no answer within {self._settings.timeout_s:g} s"
            raise wire.PassingError(message, DeadlineError) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise PreconditionError(f"{self._host} cannot be called: {error}; check endpoint.url") from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise wire.PassingError(f"{self._host} cannot be reached: {reason}", NotReadyError) from error
        if response.status_code != httpx.codes.OK:
            raise wire.failure(
                response.status_code, response.headers, raw, self._url, self._settings.model, body.keys()
            )
        try:
            return wire.parse_answer(raw)
        except ValueError as error:
            message = (
                f"{self._host} answered 200 with {error}; check that endpoint.url is the base of an"
                " OpenAI-compatible API, which often ends in /v1"
            )
            raise wire.PassingError(message, PreconditionError) from error

    def _pause_s(self, state: RetryCallState) -> float:
        """Seconds before the next attempt: what the endpoint asked for at least, else the backoff."""
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s if isinstance(error, wire.PassingError) else None
        backoff = float(self._backoff(state))
        return backoff if asked is None else asked + min(backoff, 1.0)

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._counts["retries"] += 1
        self._on_waiting(SERVICE, getattr(error, "message", str(error)))

    def _leave_out(self, refused: wire.RefusedParameterError) -> None:
        if refused.parameter not in self._left_out:
            self._left_out[refused.parameter] = refused.message
            log.warning("endpoint.parameter_left_out", host=self._host, parameter=refused.parameter)

    def _without_key(self, raw: bytes) -> bytes:
        """An endpoint may repeat the key in what it says."""
        return raw.replace(self._key.get_secret_value().encode(), b"...") if self._key else raw

    def _cannot(self, what: str) -> ValignError:
        return PreconditionError(
            f"{self._host} is an endpoint of somebody else's: it cannot {what}. Serve the model with valign's"
            " own generator for that"
        )


def key_for(url: str, keys: dict[str, SecretStr]) -> SecretStr | None:
    """The key of the URL's host: that of host:port first, then that of the host."""
    host = wire.host_of(url)
    return keys.get(host) or keys.get(host.rpartition(":")[0] or host)


def is_this_machine(url: str) -> bool:
    """True for a loopback address: nothing that is sent leaves the machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _read(response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > _MOST_ANSWER_BYTES:
            raise PreconditionError(
                f"{response.url.host} sends more than {_MOST_ANSWER_BYTES} bytes for one completion;"
                " check endpoint.url"
            )
    return b"".join(parts)


@asynccontextmanager
async def _workers(
    items: Sequence[GenerationItem],
    at_once: int,
    complete: Callable[[GenerationItem], Awaitable[Completion]],
) -> AsyncIterator[AsyncIterator[Completion]]:
    """Completions as they end, by ``at_once`` workers; the first error ends them all."""
    waiting = iter(items)
    done: asyncio.Queue[Completion | Exception] = asyncio.Queue()

    async def work(source: Iterator[GenerationItem]) -> None:
        for item in source:
            try:
                done.put_nowait(await complete(item))
            except Exception as error:
                done.put_nowait(error)
                return

    async def results() -> AsyncIterator[Completion]:
        for _ in items:
            found = await done.get()
            if isinstance(found, Exception):
                raise found
            yield found

    workers = [asyncio.create_task(work(waiting)) for _ in range(min(at_once, len(items)))]
    try:
        yield results()
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
