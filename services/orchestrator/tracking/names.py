"""Names and texts as MLflow takes them: what it allows, and how long. Pure.

Limits of MLflow 3 (``mlflow/utils/validation.py``): keys 250 characters, values of parameters 6000, of tags
8000; keys of letters, digits and ``_-. :/``; no empty part between slashes; aliases of letters, digits and
``_-``.
"""

import hashlib
import re

MAX_KEY_CHARACTERS = 250
MAX_PARAM_CHARACTERS = 6000
# 8000 since MLflow 3; older servers cut at 5000.
MAX_TAG_CHARACTERS = 5000
_NOT_IN_A_KEY = re.compile(r"[^A-Za-z0-9_.\- ]+")
_NOT_IN_A_MODEL = re.compile(r"[^A-Za-z0-9._-]+")
_NOT_IN_AN_ALIAS = re.compile(r"[^A-Za-z0-9_-]")
_CHAMPION = "champion"
CANDIDATE = "candidate"


def key(*parts: str) -> str:
    """A key of a metric or parameter: its parts with slashes between them.

    A part that had to be changed ends with a hash of what it was, so that two never become one.
    """
    return _short("/".join(_part(part) for part in parts))


def value(text: str, longest: int = MAX_PARAM_CHARACTERS) -> str:
    """The text without NUL; one that is too long is cut, and says how long it was and its sha256."""
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    # A lone surrogate is in no UTF-8.
    text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) <= longest:
        return text
    whole = hashlib.sha256(text.encode("utf-8")).hexdigest()
    mark = f"… ({len(text)} characters, sha256 {whole})"
    return text[: longest - len(mark)] + mark


def tag(text: str) -> str:
    """A tag's value."""
    return value(text, MAX_TAG_CHARACTERS)


def model_name(prefix: str, base_model: str) -> str:
    """Name of the registered model that holds the adapters of a base model."""
    return f"{prefix}-{_NOT_IN_A_MODEL.sub('-', base_model).strip('-')[:150] or 'model'}"


def alias_of(route: str, default: str) -> str:
    """The alias that follows a route: ``champion`` for the default one, else ``champion-<route>``."""
    if route == default:
        return _CHAMPION
    plain = _NOT_IN_AN_ALIAS.sub("_", route)
    return f"{_CHAMPION}-{plain}" if plain == route else f"{_CHAMPION}-{plain}-{_digest(route)}"


def _part(text: str) -> str:
    plain = _NOT_IN_A_KEY.sub("_", text).strip()
    if plain == text and plain.strip(". "):
        return plain
    return f"{plain.strip('. ')}-{_digest(text)}".lstrip("-")


def _short(text: str) -> str:
    return text if len(text) <= MAX_KEY_CHARACTERS else f"{text[: MAX_KEY_CHARACTERS - 9]}-{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
