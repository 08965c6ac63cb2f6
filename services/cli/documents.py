"""Study files: what they name by relative path is put into them before they are sent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from services.cli.errors import CliError
from services.cli.task_files import find_tasks

# Keys of a study that may name a file instead of a packaged id.
FILE_KEYS = ("reference_set", "topics", "prompt_set")


@dataclass(frozen=True, slots=True)
class StudyDocument:
    """A study ready to send.

    ``files`` are the documents that were put in, by key. ``tasks`` are task files by name: the text names
    them by their sha256, so they are sent before it.
    """

    name: str
    text: str
    files: dict[str, Path]
    tasks: dict[str, Path] = field(default_factory=dict)


def read_text(path: Path) -> str:
    """Return a file's text, or raise ``CliError`` that says why it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path} can't be read: {error.strerror}.", code="NOT_FOUND") from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path} is not UTF-8 text: {error.reason}.", code="INVALID_INPUT") from error


def load_study(path: Path) -> StudyDocument:
    """Read a study and put the files that it names in place, each on the line that named it.

    Line numbers of everything else stay as they are, so that an error points into the user's
    own file. A study that is no YAML mapping is sent as it is: the orchestrator says what is wrong.
    """
    import yaml  # here, so that `valign --help` does not wait for it

    text = read_text(path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return StudyDocument(str(path), text, {})
    files: dict[str, Path] = {}
    replacements: list[tuple[int, int, str]] = []
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value in FILE_KEYS and isinstance(value, yaml.ScalarNode) and _names_file(value.value):
            file = path.parent / value.value
            # JSON is YAML in flow style: the whole document fits where its name stood
            document = json.dumps(_load(file), ensure_ascii=False, default=str)
            replacements.append((value.start_mark.index, value.end_mark.index, document))
            files[key.value] = file
    tasks, named = find_tasks(root, text, path.parent)
    replacements += named
    for start, end, document in sorted(replacements, reverse=True):
        text = text[:start] + document + text[end:]
    return StudyDocument(str(path), text, files, tasks)


def with_settings(document: StudyDocument, settings: Mapping[str, Any]) -> StudyDocument:
    """Set top-level keys of a study; a mapping is merged into the one that is there.

    A key that is there is replaced where it stands, others come at the end, so that every line keeps its
    number. A study that is no YAML mapping stays as it is: the orchestrator says what is wrong.
    """
    import yaml

    text = document.text
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if not isinstance(root, yaml.MappingNode):
            return document
        there = yaml.safe_load(text)
    except yaml.YAMLError:
        return document
    wanted = {
        key: {**there[key], **value}
        if isinstance(value, dict) and isinstance(there.get(key), dict)
        else value
        for key, value in settings.items()
    }
    if root.flow_style:
        made = json.dumps({**there, **wanted}, ensure_ascii=False, default=str)
        return replace(document, text=made)
    added = [f"{key}: {json.dumps(value)}\n" for key, value in wanted.items() if key not in there]
    replacements = []
    for key, value in root.value:
        if key.value in wanted:
            start, end = value.start_mark.index, value.end_mark.index
            # a block's end lies at the next key: the line breaks in it stay
            breaks = "\n" * text[start:end].count("\n")
            replacements.append((start, end, json.dumps(wanted[key.value]) + breaks))
    for start, end, made in sorted(replacements, reverse=True):
        text = text[:start] + made + text[end:]
    return replace(document, text=text if not added else text.rstrip("\n") + "\n" + "".join(added))


def _names_file(value: str) -> bool:
    return value.endswith((".yaml", ".yml", ".json")) or "/" in value


def _load(file: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(read_text(file))
    except yaml.YAMLError as error:
        raise CliError(f"{file} is not YAML: {error}", code="INVALID_INPUT") from error
