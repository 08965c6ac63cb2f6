"""Entry point of ``valign``."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from services.cli.commands import (
    adapters,
    assets,
    audit,
    audit_log,
    catalogue,
    compare,
    control,
    init,
    keys,
    machine,
    measure,
    monitors,
    plan,
    reports,
    reviews,
    rulers,
    runs,
    values,
    webhooks,
)
from services.cli.errors import CliError
from services.cli.output import print_error

app = typer.Typer(
    name="valign",
    help="Measure whose values a language model speaks with, and move them while it serves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"valign {version('valign')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


_MODULES = (
    machine,
    init,
    plan,
    runs,
    control,
    measure,
    compare,
    rulers,
    reports,
    audit,
    audit_log,
    catalogue,
    assets,
    values,
    adapters,
    reviews,
    keys,
    monitors,
    webhooks,
)
for module in _MODULES:
    module.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=given, prog_name="valign")
    except CliError as error:
        print_error(error, as_json="--json" in given, source=error.source)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # `valign runs | head`: nobody reads on; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None


if __name__ == "__main__":
    main()
