"""``python -m scripts.stack up`` brings the whole up; ``check`` shows each integration working.

``check`` looks at the stack that runs with the same --home, or brings one up for itself on free ports, in a
folder of its own, and takes it down again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.fetch_models import CACHE_VARIABLE, DEFAULT_CACHE
from scripts.stack.checks import check
from scripts.stack.parts import REPO
from scripts.stack.up import Options, Stack, run, running
from services.cli.errors import CliError

CHECK_HOME = REPO / ".valign-stack-check"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when it ended in order, and when every check passed."""
    options = _parse(arguments)
    os.chdir(REPO)
    try:
        if options.command == "up":
            return run(Options(options.home, options.models, options.any_ports, {}))
        stack = Stack.read(options.home)
        if stack is not None:
            print(f"checking the stack that runs in {options.home}", flush=True)
            return check(stack)
        if CHECK_HOME.exists():
            shutil.rmtree(CHECK_HOME)
        with running(Options(CHECK_HOME, options.models, True, {})) as (made, _):
            status = check(made)
        print("stopped; the logs stay in", CHECK_HOME / "logs", flush=True)
        return status
    except CliError as error:
        print(f"stack: {error.message}\n{error.remedy}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stack: interrupted; everything that it started is stopped.", file=sys.stderr)
        return 130


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.stack", description=__doc__)
    parser.add_argument("command", choices=("up", "check"))
    parser.add_argument(
        "--home", type=Path, default=REPO / ".valign-stack", help="where data and logs are kept"
    )
    models = Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE)
    parser.add_argument("--models", type=Path, default=models, help="folder of the fetched models")
    parser.add_argument("--any-ports", action="store_true", help="take free ports for everything")
    options = parser.parse_args(arguments)
    for name in ("home", "models"):
        setattr(options, name, getattr(options, name).resolve())
    return options


if __name__ == "__main__":
    sys.exit(main())
