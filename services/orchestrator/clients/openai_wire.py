"""One chat completion on the wire: the request's body, what an answer says, and what an error means.

The shape is that of POST /chat/completions as OpenAI documents it and as vLLM, llama.cpp, Ollama and the
gateways in front of them offer it. Nothing in here does input or output.
"""

import email.utils
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from services.common.errors import (
    DeadlineError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
    UnauthenticatedError,
    ValignError,
)
from services.orchestrator.ports import GenerationItem

PARAMETERS = ("temperature", "top_p", "max_tokens", "seed")
"""What an endpoint may refuse to take; a run goes on without it and says so."""

LONGEST_WAIT_S = 600.0
"""A Retry-After beyond this is not waited for: the run ends and says so."""

MAX_TOKENS_RENAMED = "max_completion_tokens"
_RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_SLOW_DOWN = frozenset({429, 503, 529})
_NO_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_FILTERED = frozenset({"content_filter", "content_policy_violation"})
_UNKNOWN_WORDS = ("unsupported", "not support", "unknown", "unrecognized", "extra", "not permitted")
_MOST_CHARACTERS = 300
_MOST_FINISH_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """What a chat completion says."""

    text: str
    finish_reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""
    system_fingerprint: str = ""


class PassingError(Exception):
    """A failure that another attempt can cure.

    ``retry_after_s`` is what the endpoint asked for; ``slow_down`` is True if it has more than it bears.
    """

    def __init__(
        self,
        message: str,
        error: type[ValignError],
        retry_after_s: float | None = None,
        *,
        slow_down: bool = False,
    ) -> None:
        super().__init__(message)
        self.slow_down = slow_down
        self.message = message
        self.error = error
        self.retry_after_s = retry_after_s


class RefusedParameterError(Exception):
    """The endpoint does not take a parameter of the request."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.message = message


def host_of(url: str) -> str:
    """Host, with the port where the URL names one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{host}:{parts.port}" if parts.port else host


def request_body(
    item: GenerationItem, model: str, *, send_seed: bool, left_out: Collection[str] = ()
) -> dict[str, Any]:
    """The request. ``left_out`` are parameters that the endpoint was found not to take.

    The prompt's begun answer is not sent: nothing in the protocol says what an endpoint does with it.
    Seeds are cut to 31 bits, which every server can hold.
    """
    sampling = item.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": turn.role, "content": turn.content} for turn in item.prompt.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if send_seed and sampling.seed is not None:
        body["seed"] = sampling.seed % 2**31
    for name in left_out:
        value = body.pop(name, None)
        if name == "max_tokens" and value is not None and MAX_TOKENS_RENAMED not in left_out:
            body[MAX_TOKENS_RENAMED] = value
    return body


def parse_answer(raw: bytes) -> Answer:
    """Read a 200. ValueError says what is wrong with it."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON ({_shown(raw)})") from error
    choice = _first(data.get("choices")) if isinstance(data, dict) else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise ValueError(f"no choices[0].message ({_shown(raw)})")
    usage = data["usage"] if isinstance(data.get("usage"), dict) else {}
    return Answer(
        text=_whole(_text(message)),
        finish_reason=_whole(str(choice.get("finish_reason") or "stop"))[:_MOST_FINISH_CHARACTERS],
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        model=_shortened(str(data.get("model") or "")),
        system_fingerprint=_shortened(str(data.get("system_fingerprint") or "")),
    )


def failure(
    status: int, headers: Mapping[str, str], raw: bytes, url: str, model: str, sent: Collection[str]
) -> Exception:
    """What an answer that is no 200 means.

    PassingError if trying again can help, RefusedParameterError if a parameter (one of those ``sent``)
    was refused, else a ValignError that names host and remedy. A key is never in any of them.
    """
    host, (code, parameter, said) = host_of(url), _error(raw)
    told = f"{host} answered {status}" + (f": {said}" if said else "")
    if 300 <= status < 400:
        return _redirected(host, status, headers.get("location", ""))
    if code in _NO_CREDIT:
        return PreconditionError(f"{told}. The account has no credit left; add some, or use another key")
    if status in _RETRYABLE:
        asked_s = retry_after(headers.get("retry-after"))
        if asked_s is not None and asked_s > LONGEST_WAIT_S:
            return OverloadedError(
                f"{told}; it asks to wait {asked_s:.0f} s, longer than a run waits"
                f" ({LONGEST_WAIT_S:.0f} s): run it again later"
            )
        return PassingError(told, _passing_kind(status), asked_s, slow_down=status in _SLOW_DOWN)
    match status:
        case 401:
            return UnauthenticatedError(
                f"{told}. Set the key of {host} in VALIGN_ORCHESTRATOR_ENDPOINT_KEYS"
                f' (JSON: {{"{host}": "…"}}) and restart the orchestrator'
            )
        case 402:
            return PreconditionError(f"{told}. The account has no credit left; add some, or use another key")
        case 403:
            return ForbiddenError(
                f"{told}. The key of {host} may not use model {model!r}; ask for access, or use another key"
            )
        case 404:
            return NotFoundError(
                f"{told}. Check endpoint.model ({model!r}) and endpoint.url: it must be the part before"
                " /chat/completions, which often ends in /v1"
            )
        case 400 | 422:
            refused = _refused_parameter(code, parameter, said, sent)
            if refused is not None:
                return RefusedParameterError(refused, said)
            if code in _FILTERED:
                return FilteredError(told)
            return InvalidInputError(
                f"{told}. The endpoint does not take the request: check endpoint.model ({model!r}), the"
                " prompt set and generation.max_new_tokens against what it offers"
            )
        case _:
            return PreconditionError(
                f"{told}, which is no answer of an OpenAI-compatible API; check endpoint.url"
            )


class FilteredError(InvalidInputError):
    """The endpoint's own filter refused one prompt: it has no answer, others may."""


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 section 10.2.3: seconds or a date); None without one."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        then = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())


def _passing_kind(status: int) -> type[ValignError]:
    if status == 429:
        return OverloadedError
    return DeadlineError if status in (408, 504) else NotReadyError


def _redirected(host: str, status: int, location: str) -> ValignError:
    try:
        target = host_of(location) or host
    except ValueError:  # a Location that is no URL
        target = "an address that cannot be read"
    return PreconditionError(
        f"{host} answered {status}, a redirect to {target}. Redirects are not followed, so that a key cannot"
        " reach another host; set endpoint.url to the address that it should be"
    )


def _refused_parameter(code: str, parameter: str, said: str, sent: Collection[str]) -> str | None:
    """The sampling parameter that the endpoint does not know; None for any other fault of a request.

    A value out of range is another fault: leaving it out would measure something else than was asked for.
    """
    text = f"{code} {said}".lower()
    if not any(word in text for word in _UNKNOWN_WORDS):
        return None
    known = [name for name in (MAX_TOKENS_RENAMED, *PARAMETERS) if name in sent]
    return parameter if parameter in known else next((name for name in known if name in text), None)


def _error(raw: bytes) -> tuple[str, str, str]:
    """Code, parameter and message of an error body; empty where it says nothing."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return "", "", _shown(raw)
    found = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(found, dict):
        return "", "", _shortened(str(found))
    said = found.get("message") or found.get("detail") or ""
    return (
        str(found.get("code") or found.get("type") or ""),
        str(found.get("param") or ""),
        _shortened(str(said)),
    )


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    # A refusal in the model's own words, where the protocol keeps it apart.
    return str(message.get("refusal") or "")


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else None


def _count(value: Any) -> int:
    # A number that no database column holds is none.
    return value if type(value) is int and 0 <= value < 2**31 else 0


def _whole(text: str) -> str:
    """Halves of characters, which JSON can escape and UTF-8 cannot write, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _shown(raw: bytes) -> str:
    return _shortened(raw[: 4 * _MOST_CHARACTERS].decode("utf-8", errors="replace"))


def _shortened(text: str) -> str:
    line = " ".join(_whole(text).split())
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…"
