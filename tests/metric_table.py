"""The metrics that ``docs/guides/metrics.md`` lists, read from its tables."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "guides" / "metrics.md"
# Which service exposes what is below a heading.
_SECTIONS = {
    "Every service": ("generator", "embedder", "trainer", "orchestrator"),
    "Orchestrator: runs": ("orchestrator",),
    "Orchestrator: registry, API, database": ("orchestrator",),
    "Orchestrator: webhooks": ("orchestrator",),
    "Orchestrator: MLflow": ("orchestrator",),
    "Monitors": ("orchestrator",),
    "Generator": ("generator",),
    "Embedder": ("embedder",),
    "Trainer": ("trainer",),
}
_ROW = re.compile(r"\| `(valign_[a-z_]+)` \| (gauge|counter|histogram) \| ([^|]*) \| ([^|]+) \|")
_VLLM = re.compile(r"\| (`vllm:[^|]+) \| (gauge|counter|histogram) \|")


@dataclass(frozen=True, slots=True)
class Listed:
    """One row: the name (of a counter with ``_total``), its type, labels, the help text, who exposes it."""

    name: str
    kind: str
    labels: frozenset[str]
    text: str
    services: tuple[str, ...]

    @property
    def series(self) -> tuple[str, ...]:
        """The names that its samples have."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}{part}" for part in ("_bucket", "_sum", "_count"))


def listed() -> dict[str, Listed]:
    """Every metric of ours, by name."""
    found: dict[str, Listed] = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading = section.partition("\n")[0]
        for row in _ROW.finditer(section):
            labels = frozenset(re.findall(r"`([a-z_]+)`", row[3]))
            found[row[1]] = Listed(row[1], row[2], labels, row[4].strip(), _SECTIONS[heading])
    return found


def series() -> dict[str, frozenset[str]]:
    """Every series that rules and panels may name, and its labels; vLLM's are those that the page lists."""
    found = {
        name: one.labels | ({"le"} if name.endswith("_bucket") else set())
        for one in listed().values()
        for name in one.series
    }
    for row in _VLLM.finditer(PAGE.read_text(encoding="utf-8")):
        for name in re.findall(r"`(vllm:[a-z_]+)`", row[1]):
            parts = ("_bucket", "_sum", "_count") if row[2] == "histogram" else ("",)
            for part in parts:
                found[f"{name}{part}"] = frozenset(
                    {"model_name", "engine", *({"le"} if "bucket" in part else ())}
                )
    return found
