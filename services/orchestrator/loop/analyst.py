"""The analysis as a process: the evidence's zip on standard input, the analysis as JSON on standard output.

Its minutes of numpy hold Python's lock, and its libraries take seconds to import: in the orchestrator's own
process the API would stand still meanwhile. ``python -m services.orchestrator.loop.analyst PARENT_PID``
"""

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.common.errors import InternalError
from services.common.process import die_with_parent

Analyse = Callable[[bytes], Awaitable[bytes]]
_SLOW_IMPORTS = ("services.orchestrator.analysis.compute", "sacrebleu.metrics.bleu", "rapidfuzz.distance")


@asynccontextmanager
async def analyst() -> AsyncIterator[Analyse]:
    """Start the process, which imports what it needs while its caller still gathers the evidence.

    The function turns a packed evidence into the analysis (JSON), once; InternalError has the process's last
    words. Leaving the block ends the process, whatever it is doing.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.orchestrator.loop.analyst",
        str(os.getpid()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )

    async def analyse(evidence: bytes) -> bytes:
        found, said = await process.communicate(evidence)
        if process.returncode != 0:
            words = said.decode("utf-8", "replace").strip()[-2000:]
            raise InternalError(f"the analysis ended with exit status {process.returncode}: {words}")
        return found

    try:
        yield analyse
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def main(parent: int) -> None:
    """Read, analyse, write."""
    die_with_parent(parent)
    for name in _SLOW_IMPORTS:
        importlib.import_module(name)
    from services.orchestrator.analysis.compute import analyse
    from services.orchestrator.analysis.files import unpack_evidence

    analysis = analyse(unpack_evidence(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(analysis.model_dump_json().encode("utf-8"))


if __name__ == "__main__":
    main(int(sys.argv[1]))
