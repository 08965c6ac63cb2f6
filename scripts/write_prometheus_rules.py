"""Writes the alerts and recording rules once more as a PrometheusRule, as the Prometheus Operator reads them.

python scripts/write_prometheus_rules.py [FILE]

kustomize cannot put the content of a file into a field, and promtool takes no PrometheusRule: so the files
that both promtool and a plain Prometheus read stay the source, and this is made of them.
"""

import sys
import textwrap
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "k8s" / "components" / "monitoring"
SOURCES = ("recording.yaml", "alerts.yaml")
HEAD = """\
# Made of {sources} by `make k8s-rules`; a test compares them.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: valign
spec:
  groups:
"""


def document(sources: tuple[str, ...] = SOURCES) -> str:
    """The manifest. ValueError: a source does not begin with comments and one line ``groups:``."""
    parts = [HEAD.format(sources=" and ".join(sources))]
    for name in sources:
        before, found, groups = (FOLDER / name).read_text(encoding="utf-8").partition("groups:\n")
        if not found or any(line and not line.startswith("#") for line in before.splitlines()):
            raise ValueError(f"{name} has to begin with comments and `groups:`, and begins with {before!r}")
        parts.append(textwrap.indent(groups.strip("\n"), "  ") + "\n")
    return "".join(parts)


def main() -> None:
    """Write it."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "prometheus-rules.yaml"
    file.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
