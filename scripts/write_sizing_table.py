"""Writes the sizing table of docs/guides/cost.md: model size x GPUs, by the code that ``valign plan`` uses.

    python scripts/write_sizing_table.py [--check]

With ``--check`` it edits nothing and fails if the guide's table is another.
"""

import sys
from pathlib import Path

from services.orchestrator.planning.document import MemoryPlan, PlanRequest
from services.orchestrator.planning.plan import make_plan
from services.orchestrator.planning.shape import SHAPES
from services.orchestrator.planning.work import Given
from services.orchestrator.study import ResolvedStudy, Study, resolve

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "guides" / "cost.md"
BEGIN, END = "<!-- sizing table -->\n", "<!-- end of sizing table -->\n"
_DEVICES = ("l4", "l40s", "a100-80", "h100", "h200")
_GPUS = (1, 2, 4, 8)


def sizing_table() -> str:
    """The table in Markdown: by model and device the fewest GPUs for generation and for training."""
    resolved = resolve(Study(name="sizing"))
    heads = ["model", "weights", *_DEVICES]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for shape in SHAPES.values():
        cells = [shape.name, f"{shape.weights / 1e9:.2f} · 10⁹"]
        for device in _DEVICES:
            generation = _fewest(resolved, shape.name, device, "generation")
            training = _fewest(resolved, shape.name, device, "training")
            cells.append(f"{generation} / {training}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _fewest(resolved: ResolvedStudy, shape: str, device: str, what: str) -> str:
    for gpus in _GPUS:
        request = PlanRequest(
            study="",
            shape=shape,
            device=device,
            gpus=gpus if what == "generation" else 1,
            training_gpus=gpus if what == "training" else 1,
            sharding="fsdp2" if gpus > 1 else "ddp",
        )
        if SHAPES[shape].heads % request.gpus:
            continue
        plan = make_plan(request, resolved, Given())
        need: MemoryPlan = next(one for one in plan.memory if one.what == what)
        if need.fits and (need.sequences is None or need.sequences >= 8):
            room = f" ({need.sequences})" if need.sequences is not None else f" ({need.needed_gib:.0f} GiB)"
            return f"{gpus}{room}"
    return "–"


def main() -> int:
    """Write the table, or compare it."""
    text = GUIDE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = f"{before}{BEGIN}{sizing_table()}{END}{after}"
    if "--check" in sys.argv[1:]:
        return int(made != text)
    GUIDE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
