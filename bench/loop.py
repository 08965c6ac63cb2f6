"""The loop's own overhead: the share of a run's wall time outside generation, training, embedding
and loading. Target: at most 3 %.

    python -m bench.loop [REPORT_JSON]                                  (by default the demo's)
    python -m bench.loop --url http://127.0.0.1:8080 --study demo       (runs the study first)

The orchestrator measures both sides in one run (report.json: ``timings_s.total``, ``external_s``), so the
ratio needs no second machine. A run that was interrupted counts the time that its steps took, not the
time that it was down. Prints JSON; exits with 1 above the target.
"""

import argparse
import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.result import ROOT, finish

TARGET = 0.03
DEMO_REPORT = ROOT / "demo-report" / "report.json"
POLL_S = 1.0


def overhead(report: dict[str, Any]) -> dict[str, Any]:
    """The figures of a report (schema 1.x); seconds, and shares of the total."""
    total_s = report["timings_s"]["total"]
    external_s: dict[str, float] = report["external_s"]
    own_s = total_s - sum(external_s.values())
    share = own_s / total_s if total_s else 0.0
    return {
        "name": "loop",
        "run_id": report["run_id"],
        "base_model": report["base_model"],
        "total_s": round(total_s, 3),
        "external_s": {kind: round(spent, 3) for kind, spent in external_s.items()},
        "own_s": round(own_s, 3),
        "own_share": round(share, 5),
        "stages_s": {
            stage: round(spent, 3) for stage, spent in report["timings_s"].items() if stage != "total"
        },
        "target": {"own_share": TARGET},
        "ok": share <= TARGET,
    }


def run_study(url: str, study: str) -> dict[str, Any]:
    """Run a shipped study (by id) or a file, and return its report."""
    path = Path(study)
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        text = _get(f"{url}/v1/studies/shipped/{study}").decode("utf-8")
    request = urllib.request.Request(  # noqa: S310 - the address is the caller's own
        f"{url}/v1/runs", data=text.encode(), headers={"Content-Type": "application/yaml"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        run_id = json.load(answer)["run_id"]
    while (run := json.loads(_get(f"{url}/v1/runs/{run_id}")))["status"] in ("queued", "running"):
        time.sleep(POLL_S)
    if run["status"] != "succeeded":
        raise SystemExit(f"run {run_id} {run['status']}: {run.get('error')}")
    report: dict[str, Any] = json.loads(_get(f"{url}/v1/runs/{run_id}/report"))
    return report


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
        body: bytes = answer.read()
    return body


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "report", nargs="?", type=Path, help="report.json of a finished run (default: the demo's)"
    )
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="REST address of the orchestrator")
    parser.add_argument("--study", help="shipped study's id, or a file; it is run first")
    options = parser.parse_args()
    if options.report and options.study:
        parser.error("give either a report.json or --study")
    if options.study:
        report = run_study(options.url.rstrip("/"), options.study)
    else:
        path: Path = options.report or DEMO_REPORT
        if not path.is_file():
            parser.error(f"there is no {path}; run the demo first (make demo), or name a report or a study")
        report = json.loads(path.read_text(encoding="utf-8"))
    return finish(overhead(report))


if __name__ == "__main__":
    raise SystemExit(main())
