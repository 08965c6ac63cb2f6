"""``python -m tests.chaos.campaign``: kills, a table, a JSON file; exit status 1 on any violation."""

import argparse
import json
import tempfile
from pathlib import Path

import structlog

from tests.chaos.campaign.campaign import Campaign, Limits
from tests.chaos.campaign.plan import Plan
from tests.chaos.campaign.system import VICTIMS, System
from tests.chaos.campaign.watching import STAGES
from tests.tiny_models import make_tiny_model


def main() -> int:
    """Run a campaign as the arguments say."""
    parser = argparse.ArgumentParser(prog="tests.chaos.campaign", description="Kill every process of a run.")
    parser.add_argument("--repeats", type=int, default=2, help="kills of each victim in each stage")
    parser.add_argument("--seed", type=int, default=1, help="of the plan")
    parser.add_argument("--victims", nargs="*", default=list(VICTIMS), choices=VICTIMS)
    parser.add_argument("--stages", nargs="*", default=list(STAGES), choices=STAGES)
    parser.add_argument("--limit-s", type=float, default=840.0, help="no run begins later than this")
    parser.add_argument("--real-training", action="store_true", help="train a tiny model for real")
    parser.add_argument("--out", type=Path, default=Path("chaos.json"), help="where the JSON goes")
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it")
    args = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory())
    with tempfile.TemporaryDirectory(prefix="valign-chaos-", ignore_cleanup_errors=True) as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        model = make_tiny_model("llama", folder / "model") if args.real_training else None
        system = System(folder, real_model=model)
        try:
            system.start()
            plan = Plan(args.victims, args.stages, args.repeats, args.seed)
            outcome = Campaign(system, plan, (7, 8), Limits(campaign_s=args.limit_s)).run()
        finally:
            system.stop()
    args.out.write_text(json.dumps(outcome.as_json(), indent=1) + "\n")
    print(outcome.table())
    print(f"\neverything: {args.out}")
    violations = outcome.violations()
    for line in violations[:50]:
        print(f"VIOLATION: {line}")
    if len(violations) > 50:
        print(f"… and {len(violations) - 50} more")
    return 1 if violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
