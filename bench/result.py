"""What every benchmark prints, and where it finds the models."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / ".cache" / "models"


def finish(result: dict[str, Any]) -> int:
    """Print a result as one JSON object; the exit status is 1 if a target is missed.

    Args:
        result: ``name`` of the benchmark, ``ok``, ``target`` and ``ratio`` (or other figures under the same
            keys as in ``target``), and whatever else was measured.
    """
    missing = {"name", "target", "ok"} - result.keys()
    assert not missing, f"a result without {missing}"
    print(json.dumps(result, indent=2))
    return 0 if result["ok"] else 1
