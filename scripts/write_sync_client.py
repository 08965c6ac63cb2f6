"""Makes the synchronous half of the client, ``services/client/sync``, of ``services/client/aio``.

    python scripts/write_sync_client.py [FOLDER]

Words are replaced, nothing is understood: what is written in ``aio`` must read the same without ``await``.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "services" / "client" / "aio"
TARGET = ROOT / "services" / "client" / "sync"

_WORDS = (
    (r"services\.client\.aio", "services.client.sync"),
    (r"httpx\.AsyncBaseTransport", "httpx.BaseTransport"),
    (r"httpx\.AsyncClient", "httpx.Client"),
    (
        r"\bAsync(Client|Transport|Runs|Studies|Data|Assets|Values|Adapters|Routes|ApiKeys|AuditLog|Webhooks"
        r"|Reviews|Monitors)\b",
        r"\1",
    ),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\baclose\b", "close"),
    (r"\baread\b", "read"),
    (r"\baiter_(lines|text|bytes)\b", r"iter_\1"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"^import asyncio\n", "import time\n"),
    (r"^import time\nimport time\n", "import time\n"),
)
_HEAD = '"""The synchronous half, made of ``aio`` by ``scripts/write_sync_client.py``: do not edit."""\n'


def sync_of(source: str) -> str:
    """The synchronous text of an asynchronous module."""
    for pattern, replacement in _WORDS:
        source = re.sub(pattern, replacement, source, flags=re.MULTILINE)
    return source


def made() -> dict[str, str]:
    """The text of every module of the synchronous half, by file name, before it is formatted."""
    texts = {file.name: sync_of(file.read_text(encoding="utf-8")) for file in sorted(SOURCE.glob("*.py"))}
    return {**texts, "__init__.py": _HEAD}


def main() -> None:
    """Write them."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.mkdir(parents=True, exist_ok=True)
    for name, text in made().items():
        (target / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
