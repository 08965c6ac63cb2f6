"""Documents in request bodies: YAML or JSON text that ``parse_document`` can read.

The reader reads YAML. JSON is nearly a part of it; what is not (tabs between tokens, characters
beyond U+FFFF written as two escapes) is put right here, and strict JSON is checked first.
"""

import json
import re
from typing import Any

from fastapi import Request

from services.orchestrator.api.problems import RefusedRequestError
from services.orchestrator.documents import MAX_DOCUMENT_BYTES, fault, invalid_document

JSON_TYPES = frozenset({"application/json"})
YAML_TYPES = frozenset(
    {"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml", "text/vnd.yaml", "text/plain"}
)
# The first branch swallows an escaped backslash, so that what follows it is no escape.
_ESCAPE = re.compile(
    r"\\\\|\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F].."
)


async def read_document(request: Request) -> str:
    """The body as YAML text. RefusedRequestError (415) for another media type or encoding."""
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    media_type = media_type.strip().lower()
    charset = re.search(r"charset\s*=\s*\"?([^\s\";]+)", parameters, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8"):
        raise RefusedRequestError(415, f"the body must be UTF-8, not {charset[1]}")
    if media_type and media_type not in JSON_TYPES | YAML_TYPES:
        raise RefusedRequestError(415, f"send application/yaml or application/json, not {media_type[:80]!r}")
    text = decode(await request.body())
    return json_as_yaml(text) if media_type in JSON_TYPES else text


def decode(body: bytes) -> str:
    """Strict UTF-8; InvalidInputError with line and column of the first byte that is not."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        column = error.start - body.rfind(b"\n", 0, error.start)
        message = f"not UTF-8: byte 0x{body[error.start]:02x}; send the text as UTF-8"
        raise invalid_document([fault(line, column, (), message)]) from error


def json_as_yaml(text: str) -> str:
    """JSON text with the same lines that YAML reads alike; InvalidInputError if it is not JSON."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        message = f"not valid JSON: {error.msg}"
        raise invalid_document([fault(error.lineno, error.colno, (), message)]) from error
    except RecursionError as error:
        raise invalid_document([fault(None, None, (), "nested too deeply")]) from error
    except ValueError as error:
        raise invalid_document([fault(None, None, (), f"not valid JSON: {error}")]) from error
    # Inside a JSON string a tab is always escaped, so these tabs stand between tokens.
    return _ESCAPE.sub(lambda match: _character(match, text), text.replace("\t", " "))


def json_or_yaml(text: str) -> str:
    """``text`` as YAML text where nobody says which of the two it is."""
    # One that is too large is refused by the reader, which says so; it is not read twice here.
    if len(text) > MAX_DOCUMENT_BYTES or not text.lstrip().startswith("{"):
        return text
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        # Not JSON, so YAML: its reader says what is wrong, with the line.
        return text
    return json_as_yaml(text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _character(match: re.Match[str], text: str) -> str:
    if match[0] == r"\\":
        return match[0]
    if match[1] is None:
        line = text.count("\n", 0, match.start()) + 1
        column = match.start() - text.rfind("\n", 0, match.start())
        raise invalid_document([fault(line, column, (), f"{match[0]} is half a character; send both halves")])
    high, low = int(match[1], 16), int(match[2], 16)
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
