"""The two texts that a bundle carries beside its data: what an auditor reads first, and what is run."""

from typing import Final

RECOMPUTE: Final = '''\
"""Computes every number of report.json again from the files beside this script, and compares.

Needs Python and the packages of requirements.txt, and neither valign nor any of its services:

    python -m venv ../audit && ../audit/bin/pip install -r requirements.txt
    ../audit/bin/python -I recompute.py

Exit status 0: everything fits. 1: something does not, and it is named.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "source"
sys.dont_write_bytecode = True
# First, so that the copy in this bundle is what runs, also where valign is installed.
sys.path.insert(0, str(SOURCE))

import services  # noqa: E402

if Path(services.__file__).resolve() != SOURCE / "services" / "__init__.py":
    sys.exit(f"this would run {services.__file__}, not the copy in the bundle; start Python with -I")

from services.orchestrator.audit.recompute import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(HERE))
'''

README: Final = """\
Audit bundle of a valign run
============================

From the files in here anybody can compute every number of the run's report again, without valign's services
and without its models.

  report.json        the report's numbers; report.html shows them
  study.json         every setting of the run, with its topics, reference sets and prompts in full
  prompts.jsonl      every prompt, as messages, and the arms that answered it
  completions.jsonl  every stored draw: text, what was read from it, outcome, finish reason, adapter, sha256
  evidence/          what the analysis read: kept texts, split, arms, probes, and for each encoder the texts
                     with the sha256 of text and embedding (vectors/*.jsonl), and the embeddings
                     (vectors/*.npy, float32)
  bundle.json        the run's id, the evidence's sha256, versions
  manifest.json      sha256 of every other file
  recompute.py       the script; source/ holds the code that it runs, requirements.txt the libraries

What to do
----------

1. Compare the sha256 of the zip with one that you were told by somebody else than the sender, and the
   evidence_sha256 in bundle.json with the one on the run's report page.
2. Unpack it. Read recompute.py and source/ before you run them: they are code from whoever gave you this.
     python -m venv ../audit && ../audit/bin/pip install -r requirements.txt
     ../audit/bin/python -I recompute.py
   Or, with a valign of your own, whose code then does it (nothing of the bundle is executed):
     valign verify BUNDLE.zip
3. Read some of the texts. No number says whether a sentence is a good principle.

What is computed, in order: each completion is read again by the parsing rule; from the draws follow the kept
texts; they must be the evidence's; their embeddings give every figure of the report. What cannot be computed
without the models is taken as recorded, and listed: embeddings, log-probabilities of the probes, the swap
proofs, the trainer's losses, times. The fingerprints of the models are in report.json under provenance.

What this cannot show: that the texts were really written by the model that is named. A bundle that was forged
as a whole, texts and numbers alike, passes. Only step 1, or running the study again, speaks against that.
"""
