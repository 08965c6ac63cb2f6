"""Task files that a study names by path: each is sent, and named by its sha256 in the study that is sent."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.cli.errors import CliError


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, or raise ``CliError`` that says why it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{path} can't be read: {error.strerror}.", code="NOT_FOUND") from error


def asset_name(file: Path) -> str:
    """Return a name for an asset made of its file's: lower-case letters, digits, ".", "-" and "_"."""
    name = re.sub(r"[^a-z0-9._-]+", "-", file.stem.lower()).strip("-._")[:80]
    return name or "asset"


def find_tasks(root: Any, text: str, folder: Path) -> tuple[dict[str, Path], list[tuple[int, int, str]]]:
    """Return the task files of a study by name, and (start, end, text) of what stands in their place.

    ``guards.tasks: [{file: arc.jsonl}]`` becomes ``{name: "arc", sha256: "…"}``, with as many line breaks as
    it had. An entry of any other shape stays as it is: the orchestrator says what is wrong with it.
    """
    import yaml

    files: dict[str, Path] = {}
    replacements: list[tuple[int, int, str]] = []
    for entry in _entries(root):
        given = {key.value: value for key, value in entry.value}
        if "file" not in given or not all(isinstance(value, yaml.ScalarNode) for value in given.values()):
            continue
        file = folder / given["file"].value
        name = given["name"].value if "name" in given else asset_name(file)
        start = entry.start_mark.index
        # A block's own end lies at the next key.
        end = entry.end_mark.index if entry.flow_style else entry.value[-1][1].end_mark.index
        shown = [f"name: {json.dumps(name)}", f'sha256: "{hashlib.sha256(read_bytes(file)).hexdigest()}"']
        shown += [
            f"{key}: {text[value.start_mark.index : value.end_mark.index]}"
            for key, value in given.items()
            if key not in ("file", "name", "sha256")
        ]
        breaks = "\n" * text[start:end].count("\n")
        replacements.append((start, end, "{" + ", ".join(shown) + "}" + breaks))
        files[name] = file
    return files, replacements


def _entries(root: Any) -> Iterator[Any]:
    for section in _children(root, "guards"):
        for tasks in _children(section, "tasks"):
            entries = tasks.value if tasks.id == "sequence" else ()
            yield from (entry for entry in entries if entry.id == "mapping" and entry.value)


def _children(node: Any, key: str) -> Iterator[Any]:
    if node is not None and node.id == "mapping":
        yield from (value for name, value in node.value if name.value == key)
