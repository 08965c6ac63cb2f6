"""Documents that people write (studies, reference sets, prompt sets): YAML or JSON to a pydantic model.

Every fault comes with its line, column and path, in ``InvalidInputError.details["errors"]``. The
text comes from strangers: safe YAML only, no aliases, no duplicate keys, limits of size, depth, values
and digits.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from services.common.errors import InvalidInputError

MAX_DOCUMENT_BYTES = 256 * 1024
MAX_DEPTH = 32
# Reading takes about 0.1 ms a value, in one thread.
MAX_VALUES = 10_000
MAX_DIGITS = 100
MAX_REPORTED = 50
_MAX_MESSAGE = 2_000
_MAX_PATH = 500

Path: TypeAlias = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Safe YAML without anchors, aliases and tags, of limited depth; a date stays the text it is."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._values = 0

    def fetch_anchor(self) -> None:
        self._refuse("anchors (&) are not allowed; write it out, or put the text in quotes")

    def fetch_alias(self) -> None:
        self._refuse("aliases (*) are not allowed; write it out, or put the text in quotes")

    def fetch_tag(self) -> None:
        self._refuse("tags (!) are not allowed; put the text in quotes")

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # Refused while reading: the scanner's time grows with the square of the depth.
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"nested too deeply; at most {MAX_DEPTH} levels are read")
        self._values += 1
        if self._values > MAX_VALUES:
            self._refuse(f"too many values; at most {MAX_VALUES} keys and values are read")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refuse(self, message: str) -> NoReturn:
        mark = self.get_mark()
        _refuse(message, mark.line + 1, mark.column + 1)


_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_document(text: str | bytes, model: type[M]) -> M:
    """Parse and validate a document. InvalidInputError with line, column and path of every fault."""
    source = _decode(text)
    data, marks = _load(source)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise document_error(error, marks) from None


def document_error(
    error: ValidationError, marks: Mapping[Path, tuple[int, int]] | None = None
) -> InvalidInputError:
    """A pydantic error as ours; lines and columns (from 1) where ``marks`` knows the place."""
    faults = []
    for item in error.errors(include_url=False, include_context=True)[:MAX_REPORTED]:
        path = _real_path(item["loc"])
        line, column = _nearest(path, marks or {})
        faults.append(fault(line, column, path, _message(item)))
    return invalid_document(faults)


def invalid_document(faults: Sequence[Mapping[str, Any]]) -> InvalidInputError:
    """The error that carries the faults; its message names the first."""
    first = faults[0]
    place = f"line {first['line']}, column {first['column']}: " if first["line"] else ""
    path = f"{first['path']}: " if first["path"] else ""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return InvalidInputError(f"{place}{path}{first['message']}{more}", details={"errors": list(faults)})


def fault(line: int | None, column: int | None, path: Path, message: str) -> dict[str, Any]:
    """One entry of ``details["errors"]``; line and column count from 1, None where unknown."""
    shown = _cut(format_path(path), _MAX_PATH)
    return {"line": line, "column": column, "path": shown, "message": _cut(message, _MAX_MESSAGE)}


def format_path(path: Path) -> str:
    """``("topics", 2, "id")`` as ``topics[2].id``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "..."


def _refuse(message: str, line: int | None = None, column: int | None = None, path: Path = ()) -> NoReturn:
    raise invalid_document([fault(line, column, path, message)])


def _decode(text: str | bytes) -> str:
    raw = text if isinstance(text, bytes) else text.encode("utf-8", errors="surrogatepass")
    if len(raw) > MAX_DOCUMENT_BYTES:
        _refuse(f"the document is {len(raw)} bytes long; at most {MAX_DOCUMENT_BYTES} are read")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - before.rfind(b"\n")
        _refuse(f"not UTF-8: byte 0x{raw[error.start]:02x}; save the file as UTF-8", line, column)


def _load(source: str) -> tuple[Any, dict[Path, tuple[int, int]]]:
    _refuse_control_characters(source)
    loader = _Loader(source)
    marks: dict[Path, tuple[int, int]] = {}
    try:
        node = loader.get_single_node()
        if node is None:
            _refuse("the document is empty", 1, 1)
        _walk(node, (), marks, loader)
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        _refuse(_yaml_message(error, source, line), line, column)
    except ValueError as error:
        _refuse(f"a value cannot be read: {error}")
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        _refuse("expected a mapping (lines of 'key: value')", *marks[()])
    return data, marks


def _refuse_control_characters(source: str) -> None:
    match = yaml.reader.Reader.NON_PRINTABLE.search(source)
    if match:
        before = source[: match.start()]
        _refuse(
            f"the character U+{ord(match.group()):04X} is not allowed; remove it",
            before.count("\n") + 1,
            match.start() - before.rfind("\n"),
        )


def _walk(node: yaml.Node, path: Path, marks: dict[Path, tuple[int, int]], loader: _Loader) -> None:
    marks[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        seen: dict[Any, int] = {}
        for key_node, value_node in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if not isinstance(key_node, yaml.ScalarNode):
                _refuse("a key must be plain text", line, column, path)
            _refuse_half_characters(key_node, path)
            key = str(key_node.value)
            if key in seen:
                _refuse(f"'{key}' is given twice (first on line {seen[key]})", line, column, (*path, key))
            seen[key] = line
            # YAML reads a bare yes, 3 or 2026-01-01 as bool, int or date: keys are always text here.
            key_node.tag = "tag:yaml.org,2002:str"
            _walk(value_node, (*path, key), marks, loader)
            marks[(*path, key)] = (line, column)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*path, index), marks, loader)
    else:
        _refuse_half_characters(node, path)
        _refuse_endless_number(node, path)


def _refuse_half_characters(node: yaml.Node, path: Path) -> None:
    # An escape such as "\ud83d" makes a string that no UTF-8 text can hold.
    if any("\ud800" <= character <= "\udfff" for character in str(node.value)):
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        _refuse("an escape stands for half a character; write the character itself", line, column, path)


def _refuse_endless_number(node: yaml.Node, path: Path) -> None:
    # Hexadecimal, octal and base 60 (1:30:00) can be read at any length, but not written as decimals again.
    is_number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    if is_number and len(node.value) > MAX_DIGITS:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        message = f"a number of {len(node.value)} characters; at most {MAX_DIGITS} are read"
        _refuse(message, line, column, path)


def _yaml_message(error: yaml.MarkedYAMLError, source: str, line: int | None) -> str:
    text = source.splitlines()[line - 1] if line and line <= len(source.splitlines()) else ""
    if "\t" in text[: len(text) - len(text.lstrip())] or "'\\t'" in (error.problem or ""):
        return "a tab is used to indent; YAML wants spaces"
    return f"not valid YAML: {error.problem or error.context}"


def _real_path(loc: tuple[str | int, ...]) -> Path:
    """Pydantic's path without the tags ("<inline>") that it puts between the document's own keys."""
    return tuple(part for part in loc if not (isinstance(part, str) and part.startswith("<")))


def _nearest(path: Path, marks: Mapping[Path, tuple[int, int]]) -> tuple[int | None, int | None]:
    while path and path not in marks:
        path = path[:-1]
    return marks.get(path, (None, None))


def _message(item: Mapping[str, Any]) -> str:
    match item["type"]:
        case "extra_forbidden":
            return "unknown key"
        case "missing":
            return "required, but missing"
        case "value_error":
            return str(item["ctx"]["error"])
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"expected a mapping (lines of 'key: value'); got {_shown(item)}"
        case "tuple_type":
            return f"expected a list (lines of '- entry'); got {_shown(item)}"
        case _:
            return f"{item['msg']}; got {_shown(item)}"


def _shown(item: Mapping[str, Any]) -> str:
    shown = repr(item.get("input"))
    return shown if len(shown) <= 60 else shown[:57] + "..."
