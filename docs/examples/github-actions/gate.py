"""Run a study and end with its verdict: what a pipeline calls before it lets a model through.

    python gate.py study.yaml [--key KEY] [--summary FILE]

    0  promote   every rule of the gate passes
    1  reject    it is shown to be bad
    2  hold      it is not shown to be good
    3  no verdict: the run failed, only measured, or the orchestrator does not answer

The orchestrator is VALIGN_URL, the token VALIGN_TOKEN. With the same key a job that is started again goes on
watching the run that it began before.
"""

import argparse
import os
import sys
from pathlib import Path

from services.client import Client, ClientError
from services.client.models import Event, Verdict

EXIT = {"promote": 0, "reject": 1, "hold": 2}
NO_VERDICT = 3


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description="Run a study and end with its verdict.")
    parser.add_argument("study", type=Path)
    parser.add_argument("--key", default="", help="Idempotency key: the same one finds the same run.")
    parser.add_argument("--summary", type=Path, help="Append the verdict as Markdown to this file.")
    asked = parser.parse_args(arguments)
    url = os.environ.get("VALIGN_URL", "http://127.0.0.1:8080")
    try:
        with Client(url, token=os.environ.get("VALIGN_TOKEN", ""), user_agent="valign-gate") as client:
            run = client.runs.create(asked.study.read_text(encoding="utf-8"), idempotency_key=asked.key)
            print(f"run {run.run_id}", flush=True)
            run = client.runs.wait(run.run_id, tell)
            if run.status != "succeeded":
                reason = f": {run.error.message}" if run.error else ""
                print(f"run {run.run_id} {run.status}{reason}", file=sys.stderr)
                return NO_VERDICT
            verdict = client.runs.verdict(run.run_id)
    except ClientError as error:
        print(f"no verdict: {error}", file=sys.stderr)
        # Of a study that is not valid: each place, with its line.
        for place in getattr(error, "places", []):
            print(f"  line {place['line']}: {place['path']}: {place['message']}", file=sys.stderr)
        return NO_VERDICT
    if verdict is None:
        print(f"run {run.run_id} only measured: nothing was trained, so there is no verdict", file=sys.stderr)
        return NO_VERDICT
    print(f"{verdict.decision}: {verdict.headline}")
    if asked.summary is not None:
        with asked.summary.open("a", encoding="utf-8") as out:
            out.write(as_markdown(run.run_id, verdict))
    return EXIT.get(verdict.decision, NO_VERDICT)


def tell(event: Event) -> None:
    """One line an event that ends a stage: a pipeline's log is read later."""
    if event.kind in ("stage.ended", "iteration.ended", "verdict.reached"):
        print(f"  {event.kind} {event.data.get('stage', event.data.get('iteration', ''))}", flush=True)


def as_markdown(run_id: str, verdict: Verdict) -> str:
    """The verdict and the rules that decided it."""
    lines = [f"## valign: {verdict.decision}", "", verdict.headline, "", f"Run `{run_id}`.", ""]
    lines += ["| rule | outcome | |", "|---|---|---|"]
    for reason in verdict.reasons:
        words = str(reason.get("text", "")).replace("|", "\\|")
        lines.append(f"| `{reason.get('rule', '')}` | {reason.get('outcome', '')} | {words} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
