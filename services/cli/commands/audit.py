"""``bundle`` and ``verify``: everything a run rests on as one zip, and whether such a zip holds together."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.cli.commands.common import JsonOption, RunArgument, UrlOption, connect
from services.cli.errors import CliError
from services.cli.output import print_json

# The command line imports no service: the check runs as a program of its own.
_VERIFIER = "services.orchestrator.audit"


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command()(bundle)
    app.command()(verify)


def bundle(
    run: RunArgument = "latest",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write it. Default: valign-RUN.zip here.")
    ] = None,
    url: UrlOption = "",
    as_json: JsonOption = False,
) -> None:
    """Fetch a run's audit bundle: prompts, outputs, embeddings, settings, and a script that recomputes it."""
    with connect(url) as api:
        run_id = api.run_id(run)
        target = output or Path(f"valign-{run_id}.zip")
        # Under another name until it is whole: half a bundle must not look like one.
        part = target.with_name(f".{target.name}.part")
        try:
            with part.open("wb") as file:
                size_bytes, digest, told = api.download(f"/runs/{run_id}/bundle", file.write)
            if told and told != digest:
                raise CliError(
                    f"The bundle came damaged: its sha256 is {digest}, the orchestrator says {told}.",
                    remedy="Fetch it again.",
                )
            part.replace(target)
        except OSError as error:
            raise CliError(f"{target} can't be written: {error.strerror}.") from error
        finally:
            part.unlink(missing_ok=True)
    if as_json:
        print_json({"file": str(target), "sha256": digest, "size_bytes": size_bytes})
    else:
        typer.echo(f"{target}: {size_bytes} bytes, sha256 {digest}")
        typer.echo(f"Check it: valign verify {target} --expect-sha256 {digest}")


def verify(
    file: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The zip.")],
    expect_sha256: Annotated[
        str, typer.Option("--expect-sha256", help="The zip's sha256, as you were told elsewhere.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Compute every number of a bundle's report again, here and without a server; 1 if something is wrong.

    Nothing in the bundle is executed. A bundle that was forged as a whole cannot be told from a true one
    by itself: compare its sha256 with one from elsewhere.
    """
    # -P: the folder that this is called in may be a stranger's, and no code of it may run.
    command = [sys.executable, "-P", "-m", _VERIFIER, "verify"]
    command += ["--json"] if as_json else []
    command += ["--expect-sha256", expect_sha256] if expect_sha256 else []
    done = subprocess.run([*command, "--", str(file)], check=False)  # noqa: S603 (a list, no shell)
    raise typer.Exit(done.returncode)
