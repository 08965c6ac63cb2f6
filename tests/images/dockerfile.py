"""A Dockerfile as a list of stages: as much of the language as the four of this repository use."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("orchestrator", "embedder", "trainer", "generator")
TARGETS = [
    ("orchestrator", "orchestrator"),
    *((service, target) for service in SERVICES[1:] for target in ("cpu", "cuda")),
]
"""Service and target of every image."""

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_PAIR = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S+)')


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its name in capitals, its flags (``--from=build``) and the rest of it."""

    name: str
    flags: tuple[str, ...]
    text: str

    def flag(self, name: str) -> str | None:
        """The value of ``--name=value``; None if it is not given."""
        start = f"--{name}="
        return next((flag.removeprefix(start) for flag in self.flags if flag.startswith(start)), None)

    def pairs(self) -> dict[str, str]:
        """ENV and LABEL: name to value, as written."""
        return {name: value.strip('"') for name, value in _PAIR.findall(self.text)}

    def words(self) -> list[str]:
        """COPY, VOLUME, ENTRYPOINT: its words, JSON or not."""
        return list(json.loads(self.text)) if self.text.startswith("[") else self.text.split()


@dataclass(frozen=True, slots=True)
class Stage:
    """``FROM base AS name`` and what follows it."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def of(self, name: str) -> list[Instruction]:
        """Its instructions of one kind, in order."""
        return [one for one in self.instructions if one.name == name]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """The arguments before the first stage, and the stages by name, in order."""

    arguments: dict[str, str]
    stages: dict[str, Stage]

    def line(self, target: str) -> list[Stage]:
        """The stages that ``target`` is made of, the first one first; FROM alone, COPY --from left out."""
        stages = []
        name = target
        while name in self.stages:
            stages.append(self.stages[name])
            name = self.stages[name].base
        return stages[::-1]

    def last(self, target: str, name: str) -> Instruction:
        """The instruction of this kind that counts in the image: the last one."""
        found = [one for stage in self.line(target) for one in stage.of(name)]
        assert found, f"{target} has no {name}"
        return found[-1]

    def environment(self, target: str) -> dict[str, str]:
        """What ENV sets in the image."""
        return {
            key: value
            for stage in self.line(target)
            for one in stage.of("ENV")
            for key, value in one.pairs().items()
        }


def read_dockerfile(service: str) -> Dockerfile:
    """The Dockerfile of a service."""
    text = (ROOT / "services" / service / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            base, name = re.fullmatch(r"(\S+) AS (\S+)", rest.strip()).groups()  # type: ignore[union-attr]
            stage = stages.setdefault(name, Stage(expand(base, arguments), name))
        elif stage is None:
            assert name == "ARG", f"{name} before FROM"
            key, _, value = rest.partition("=")
            arguments[key] = value
        else:
            flags = re.match(r"\s*((?:--\S+\s+)*)", rest)
            assert flags
            stage.instructions.append(
                Instruction(name, tuple(flags[1].split()), " ".join(rest[flags.end() :].split()))
            )
    return Dockerfile(arguments, stages)


def expand(text: str, values: Mapping[str, str]) -> str:
    """Put values for ``${NAME}`` and ``$NAME``; KeyError for one that nobody has set."""
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], text)


def is_ignored(path: PurePosixPath) -> bool:
    """Whether .dockerignore keeps a path from the build; its last line that fits decides."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        ways = (path, *path.parents)
        if pattern.startswith("**/"):
            fits = any(fnmatch(one.name, pattern[3:]) for one in ways)
        else:
            fits = any(str(one) == pattern for one in ways) or (pattern == "*" and path.name != "")
        if fits:
            ignored = not line.startswith("!")
    return ignored
