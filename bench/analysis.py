"""Time and memory of the analysis, without any model: a study of the paper's size, and one ten times that.

    python -m bench.analysis [--sizes paper tenfold]

Synthetic evidence (tests/evidence.py) of 6 topics x 100 principles: 5 draws, every arm of the defaults with 3
training seeds, 768 dimensions, two encoders, all probes, the default 10,000 resamples and permutations. Each
size runs in a child process of its own, whose peak memory holds the evidence too. Targets: 60 s and 2 GiB;
ten times the size in at most ten times the time and 4 GiB. Prints JSON; exits with 1 if a target is missed.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

from bench.result import ROOT, finish

TOPICS, DRAWS, SEEDS, DIMENSION = 6, 5, 3, 768
SIZES = {"paper": 100, "tenfold": 1000}
GIB = 1024**3
TARGET = {"paper_s": 60.0, "paper_gib": 2.0, "growth": 10.0, "tenfold_gib": 4.0}


def measure(principles: int) -> dict[str, Any]:
    """Analyse one synthetic study in this process; seconds and bytes."""
    from services.orchestrator.analysis.compute import analyse
    from tests.evidence import make_evidence

    started = time.perf_counter()
    evidence = make_evidence(
        topics=TOPICS,
        inputs=principles,
        samples=DRAWS,
        seeds=SEEDS,
        dimension=DIMENSION,
        probes=True,
        measurement={"samples": DRAWS},
    )
    made_s = time.perf_counter() - started
    before = _peak_bytes()
    started = time.perf_counter()
    analysis = analyse(evidence)
    spent_s = time.perf_counter() - started
    return {
        "principles": TOPICS * principles,
        "texts": len(evidence.outputs),
        "embeddings": sum(len(vectors.texts) for vectors in evidence.vectors.values()),
        "arms": len(analysis.arms),
        "resamples": analysis.resamples,
        "permutations": analysis.permutations,
        "verdict": analysis.verdict.decision if analysis.verdict else None,
        "evidence_s": round(made_s, 2),
        "analysis_s": round(spent_s, 2),
        "evidence_gib": round(before / GIB, 3),
        "peak_gib": round(_peak_bytes() / GIB, 3),
    }


def _peak_bytes() -> int:
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib * 1024 if sys.platform != "darwin" else kib


def in_child(principles: int) -> dict[str, Any]:
    """``measure`` in a fresh process, so that no size sees another's memory or warm imports."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.analysis", "--child", str(principles)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def figures(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The result: what was measured, held against those targets that it speaks of."""
    reached: dict[str, float] = {}
    if "paper" in measured:
        reached |= {
            "paper_s": measured["paper"]["analysis_s"],
            "paper_gib": measured["paper"]["peak_gib"],
        }
    if "tenfold" in measured:
        reached["tenfold_gib"] = measured["tenfold"]["peak_gib"]
    if len(measured) == len(SIZES):
        reached["growth"] = round(measured["tenfold"]["analysis_s"] / measured["paper"]["analysis_s"], 2)
    return {
        "name": "analysis",
        "sizes": measured,
        "reached": reached,
        "target": TARGET,
        "ok": all(value <= TARGET[key] for key, value in reached.items()),
    }


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="what to measure")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child)))
        return 0
    return finish(figures({size: in_child(SIZES[size]) for size in options.sizes}))


if __name__ == "__main__":
    raise SystemExit(main())
