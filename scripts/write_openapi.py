"""Writes ``docs/openapi.json``, so that a change of the REST contract is seen in review.

python scripts/write_openapi.py [FILE]
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from services.orchestrator.api import build_http_app  # noqa: E402
from services.orchestrator.api.openapi import text_of  # noqa: E402
from tests.fakes.orchestrator import world  # noqa: E402


def main() -> None:
    """Write the document of an empty orchestrator."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "openapi.json"
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as here:
        file.write_text(text_of(build_http_app(here.application).openapi()), encoding="utf-8")


if __name__ == "__main__":
    main()
