"""Carries out a Dockerfile without a container engine, in a folder that stands for its root.

Each ``RUN`` is the Dockerfile's own text, given to ``sh`` as an engine would, with ``/build``,
``/opt/valign`` and ``/var/lib/valign`` moved into that folder. Two kinds are left out, for they change the
machine and not the folder: apt-get, and making the user. The stages share one folder, since a virtual
environment stays where it was made; what the last stage does not copy out of them is removed before anything
is started.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tests.images.dockerfile import ROOT, Dockerfile, Instruction, Stage, is_ignored, read_dockerfile

USER = 10001
ESSENTIAL = ("lscpu",)
"""Programs of the base image that are called: vLLM asks for the CPU's cores by lscpu (util-linux)."""
_PLACES = ("build", "opt/valign", "var/lib/valign")
_MOVED = re.compile(rf"(?<![\w./-])/(?=(?:{'|'.join(_PLACES)})(?![\w.-]))")
_OF_THE_MACHINE = ("apt-get ", "groupadd ")


def find_python() -> Path | None:
    """A Python 3.11, of no virtual environment, that the images' user may run; None if there is none."""
    own = str(getattr(sys, "_base_executable", sys.executable))
    for name in (own, "/usr/local/bin/python3.11", "/usr/bin/python3.11"):
        path = Path(os.path.realpath(name))
        if not path.exists() or not path.name.startswith("python3.11"):
            continue
        if os.geteuid() == 0 and not all(folder.stat().st_mode & 0o001 for folder in path.parents):
            continue
        # Debian keeps ensurepip, which makes virtual environments, in a package of its own.
        asked = subprocess.run([path, "-c", "import ensurepip, venv"], capture_output=True, timeout=60)
        if asked.returncode == 0:
            return path
    return None


@dataclass(frozen=True, slots=True)
class Built:
    """What came of a Dockerfile: root, environment, command, and the RUN lines that were left out."""

    root: Path
    environment: dict[str, str]
    entrypoint: list[str]
    left_out: list[str]

    @property
    def python(self) -> Path:
        """The interpreter of the image."""
        return self.root / "opt/valign/venv/bin/python"

    @property
    def site_packages(self) -> Path:
        """Where its packages are."""
        return next((self.root / "opt/valign/venv/lib").glob("python3*/site-packages"))

    @property
    def app(self) -> Path:
        """Where its code is."""
        return self.root / "opt/valign/app"


class Builder:
    """Builds one target of one service in ``root``, an empty folder."""

    def __init__(
        self, service: str, target: str, root: Path, python: Path, arguments: dict[str, str]
    ) -> None:
        self._file: Dockerfile = read_dockerfile(service)
        self._target = target
        self._root = root
        self._given = arguments
        self._done: set[str] = set()
        self._left_out: list[str] = []
        self._bin = root / "bin"
        self._bin.mkdir()
        wrapper = self._bin / "python"
        wrapper.write_text(f'#!/bin/sh\nexec {python} "$@"\n', encoding="utf-8")
        wrapper.chmod(0o755)

    def build(self) -> Built:
        """Carry out the stages; AssertionError with the output of a RUN that fails."""
        kept = []
        for stage in self._file.line(self._target):
            kept += [one.words() for one in stage.of("COPY")]
            self._carry_out(stage)
        for words in kept:
            assert words[:-1] == words[-1:], f"COPY {words} moves what must stay where it is"
        self._keep({words[-1] for words in kept})
        environment = {
            name: self._moved(value) for name, value in self._file.environment(self._target).items()
        }
        # The programs of this machine are none of the image's: a compiler, above all. But the base has those
        # of Debian's essential packages too, and of these the services call some.
        environment["PATH"] = f"{environment['PATH'].partition(':')[0]}:{self._essential()}"
        environment["TMPDIR"] = str(self._root / "tmp")
        return Built(
            self._root,
            environment,
            self._file.last(self._target, "ENTRYPOINT").words(),
            self._left_out,
        )

    def _essential(self) -> Path:
        """A folder with the programs of essential packages that are called."""
        folder = self._root / "essential"
        folder.mkdir()
        for name in ESSENTIAL:
            program = shutil.which(name)
            assert program is not None, f"this machine has no {name}; install Debian's util-linux"
            (folder / name).symlink_to(program)
        return folder

    def _carry_out(self, stage: Stage) -> None:
        if stage.name in self._done:
            return
        self._done.add(stage.name)
        if stage.base in self._file.stages:
            self._carry_out(self._file.stages[stage.base])
        values: dict[str, str] = {}
        folder = next((one.text for one in self._inherited(stage) if one.name == "WORKDIR"), "/build")
        for one in stage.instructions:
            match one.name:
                case "ARG":
                    name, _, default = one.text.partition("=")
                    if "=" in one.text or name in self._given:
                        values[name] = self._given.get(name, default)
                case "COPY" if one.flag("from"):
                    self._carry_out(self._file.stages[one.flag("from") or ""])
                case "COPY":
                    self._copy(one, folder)
                case "RUN":
                    self._run(one, folder, values)
                case _:
                    pass

    def _inherited(self, stage: Stage) -> list[Instruction]:
        return [one for each in self._file.line(stage.name)[::-1] for one in each.instructions[::-1]]

    def _moved(self, text: str) -> str:
        return _MOVED.sub(f"{self._root}/", text)

    def _copy(self, copy: Instruction, folder: str) -> None:
        *sources, target = copy.words()
        goal = Path(self._moved(str(PurePosixPath(folder, target))))
        for name in sources:
            source = ROOT / name
            if source.is_dir():
                for file in source.rglob("*"):
                    inside = PurePosixPath(file.relative_to(ROOT).as_posix())
                    if file.is_file() and not is_ignored(inside):
                        _copy_file(file, goal / file.relative_to(source))
            else:
                assert not is_ignored(PurePosixPath(name)), f".dockerignore keeps {name} from the build"
                _copy_file(source, goal / source.name if target.endswith("/") else goal)

    def _run(self, run: Instruction, folder: str, values: dict[str, str]) -> None:
        if run.text.startswith(_OF_THE_MACHINE):
            self._left_out.append(run.text)
            return
        place = Path(self._moved(folder))
        place.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **values, "PATH": f"{self._bin}:/usr/bin:/bin"}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            ["/bin/sh", "-c", self._moved(run.text)],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"RUN {run.text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    def _keep(self, copied: set[str]) -> None:
        """Remove what no COPY takes along, and close the rest to writing; make the volumes."""
        shutil.rmtree(self._root / "build")
        shutil.rmtree(self._bin)
        kept = {self._root / path.removeprefix("/") for path in copied}
        for path in (self._root / "opt/valign").iterdir():
            assert path in kept, f"no COPY takes {path.name} along"
        set_writable(self._root / "opt", False)
        for name in ("var/lib/valign", "tmp"):
            (self._root / name).mkdir(parents=True)
            if os.geteuid() == 0:
                os.chown(self._root / name, USER, USER)


def set_writable(folder: Path, writable: bool) -> None:
    """Open or close a tree to its owner. Root's is left: no mode stops root, and others may not write."""
    if os.geteuid() == 0:
        return
    for place, _, files in os.walk(folder, topdown=writable):
        Path(place).chmod(0o755 if writable else 0o555)
        for path in (Path(place, name) for name in files):
            if not writable and not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o222)


def _copy_file(source: Path, goal: Path) -> None:
    goal.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, goal)
