"""What is taken out of people's texts before anything keeps them.

The shipped hook knows what has a form: addresses of mail and network, telephone, card and bank account
numbers. It knows no names, no street and no secret that looks like a word; who needs more names a hook of
their own in ``VALIGN_ORCHESTRATOR_LIVE_REDACTION``.
"""

import importlib
import ipaddress
import re
from collections.abc import Callable

from services.common.errors import InvalidInputError

Redact = Callable[[str], str]
"""Takes a text, gives it without what must not be kept. Called from threads; may raise, which drops the
exchange."""

_MAIL = re.compile(r"[\w.%+'-]+@[\w-]+(?:\.[\w-]+)+")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{2,4}){3,8}\b", re.IGNORECASE)
_DIGITS = re.compile(r"(?<![\w.])\+?\(?\d(?:[ ().\-/]{0,2}\d){6,18}(?!\w)")
_LOCAL = re.compile(r"\d{3}[ .-]\d{4}")
_ADDRESS = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]{0,15}|\b(?:\d{1,3}\.){3}\d{1,3}\b")
_CARD_DIGITS = range(13, 20)
_PHONE_DIGITS = range(8, 16)


def redact(text: str) -> str:
    """Put ``[email]``, ``[ip]``, ``[iban]``, ``[card]`` and ``[phone]`` where those were."""
    text = _MAIL.sub("[email]", text)
    text = _IBAN.sub(_account, text)
    text = _ADDRESS.sub(_address, text)
    return _DIGITS.sub(_number, text)


def load_hook(named: str) -> Redact:
    """The hook that a setting names as ``package.module:function``.

    Raises:
        InvalidInputError: it is not written so, can't be imported, or is nothing that can be called.
    """
    module, _, function = named.partition(":")
    if not module or not function:
        raise InvalidInputError(
            f"the redaction hook is {named!r}; write it as package.module:function, such as"
            " services.orchestrator.monitor.live.redaction:redact"
        )
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInputError(f"the redaction hook {named!r} can't be imported: {error}") from error
    if not callable(found):
        raise InvalidInputError(f"the redaction hook {named!r} is no function")
    hook: Redact = found
    return hook


def _number(found: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", found[0])
    if len(digits) in _CARD_DIGITS and _luhn(digits):
        return "[card]"
    is_phone = len(digits) in _PHONE_DIGITS or _LOCAL.fullmatch(found[0])
    return "[phone]" if is_phone else found[0]


def _luhn(digits: str) -> bool:
    """Check digit of card numbers (ISO/IEC 7812-1)."""
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _account(found: re.Match[str]) -> str:
    # Words that follow look like further groups.
    text = found[0]
    ends = [len(text), *(place.start() for place in re.finditer(r"[ -]", text))]
    for end in sorted(ends, reverse=True):
        if _is_iban(text[:end]):
            return "[iban]" + text[end:]
    return text


def _is_iban(text: str) -> bool:
    """Check digits of an account number (ISO 13616): the whole, moved and as a number, is 1 modulo 97."""
    plain = re.sub(r"[ -]", "", text).upper()
    if not 15 <= len(plain) <= 34:
        return False
    moved = plain[4:] + plain[:4]
    return int("".join(str(int(letter, 36)) for letter in moved)) % 97 == 1


def _address(found: re.Match[str]) -> str:
    # The end of a sentence is no part of it.
    plain = found[0].rstrip(".")
    try:
        ipaddress.ip_address(plain)
    except ValueError:
        return found[0]
    return "[ip]" + found[0][len(plain) :]
