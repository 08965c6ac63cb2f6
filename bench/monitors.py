"""How often a monitor alarms when nothing has changed, and how small a change it finds; no model is asked.

    python -m bench.monitors [--periods 2000] [--effects 0 0.1 0.2 0.3 0.5 1.0]

Synthetic answers of the defaults' size: 6 topics x 10 prompts, 4 draws a baseline and 1 a period, 384
dimensions, 999 permutations, significance 0.01. An answer scatters around a direction of its prompt's; an
effect of *e* turns those directions of one topic, or of all, so far that the mean value difference changes
as printed. Every ten periods a new model and a new baseline. A suspicious period is confirmed by a fresh
sample, as a monitor does. Targets: at most 0.01 alarms a period without any change, and 50 ms for one test.
Of live exchanges, --windows unchanged windows of 200 in 384 dimensions, a new baseline every ten: shares that
moved, and that alarm with two in a row. Prints JSON; exits with 1 if one is missed."""

import argparse
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.result import finish
from services.orchestrator.monitor.document import LiveSettings
from services.orchestrator.monitor.drift import Texts, test_drift
from services.orchestrator.monitor.live.judging import compare
from services.orchestrator.monitor.live.records import Window

TOPICS, PROMPTS, BASELINE_DRAWS, DIMENSION = 6, 10, 4, 384
SIGNIFICANCE, PERMUTATIONS = 0.01, 999
SPREAD = 0.05
TARGET = {"false_alarms_a_period": SIGNIFICANCE, "false_alarms_a_window": SIGNIFICANCE, "test_s": 0.05}


class _Model:
    """Answers by topic; ``moved`` of them have turned towards their targets by a share."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        shape = (TOPICS, PROMPTS, DIMENSION)
        self._centres, self._targets = _unit(random.normal(size=shape)), _unit(random.normal(size=shape))

    def say(self, draws: int, share: float = 0.0, moved: int = 0) -> dict[str, Texts]:
        found = {}
        for topic in range(TOPICS):
            turned = share if topic < moved else 0.0
            centres = _unit((1 - turned) * self._centres[topic] + turned * self._targets[topic])
            prompts = np.repeat(np.arange(PROMPTS), draws)
            noise = self._random.normal(size=(len(prompts), DIMENSION))
            rows = _unit(centres[prompts] + SPREAD * noise)
            differences = 1 - np.einsum("ij,ij->i", rows, self._targets[topic][prompts])
            found[f"topic-{topic}"] = Texts(rows.astype(np.float32), differences, prompts)
        return found


def rates(periods: int, share: float, moved: int, seed: int) -> dict[str, float]:
    """Shares of periods that are suspicious and that alarm, and the mean change of the value difference."""
    random = np.random.default_rng(seed)
    suspicious = alarms = 0
    changes: list[float] = []
    for number in range(periods):
        if number % 10 == 0:
            model = _Model(random)
            baseline = model.say(BASELINE_DRAWS)
        now = model.say(1, share, moved)
        changes += [
            float(now[f"topic-{topic}"].differences.mean() - baseline[f"topic-{topic}"].differences.mean())
            for topic in range(moved)
        ]
        first = test_drift(baseline, now, permutations=PERMUTATIONS, seed=number)
        if first.p_value > SIGNIFICANCE:
            continue
        suspicious += 1
        again = model.say(1, share, moved)
        second = test_drift(baseline, again, permutations=PERMUTATIONS, seed=periods + number)
        alarms += second.p_value <= SIGNIFICANCE
    return {
        "share_turned": share,
        "topics_moved": moved,
        "value_difference_change": round(float(np.mean(changes)), 4) if changes else 0.0,
        "suspicious": suspicious / periods,
        "alarms": alarms / periods,
    }


def live_rates(windows: int, seed: int) -> dict[str, float]:
    """Shares of unchanged live windows that moved, and that raise an alarm as the second in a row."""
    random = np.random.default_rng(seed)
    moved = alarms = before = 0
    for number in range(windows):
        if number % 10 == 0:
            centres = _unit(random.normal(size=(2, 30, DIMENSION)))
            baseline, before = _exchanges(random, centres), 0
        test = compare(baseline, _exchanges(random, centres), PERMUTATIONS, number)
        before = before + 1 if test.p_value <= SIGNIFICANCE else 0
        moved += before > 0
        alarms += before == LiveSettings(rate=1).raise_after
    return {"moved": moved / windows, "alarms": alarms / windows}


def _exchanges(random: np.random.Generator, centres: NDArray[np.float64]) -> Window:
    """Requests of 30 kinds, and answers that follow from the kind."""
    kinds = random.integers(0, centres.shape[1], LiveSettings(rate=1).window)
    rows = _unit(centres[:, kinds] + SPREAD * random.normal(size=(2, len(kinds), DIMENSION)))
    return Window("bench", rows[0].astype(np.float32), rows[1].astype(np.float32))


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--periods", type=int, default=2000, help="unchanged periods")
    parser.add_argument("--effects", type=float, nargs="*", default=[0.02, 0.05, 0.1, 0.2, 0.4])
    parser.add_argument("--windows", type=int, default=1000, help="unchanged windows of live exchanges")
    asked = parser.parse_args()
    started = time.perf_counter()
    unchanged = rates(asked.periods, 0.0, 0, seed=1)
    spent_s = (time.perf_counter() - started) / (asked.periods * (1 + unchanged["suspicious"]))
    changed = max(20, asked.periods // 20)
    power: list[dict[str, Any]] = [
        rates(changed, share, moved, seed=2) for moved in (1, TOPICS) for share in asked.effects
    ]
    live = live_rates(asked.windows, seed=3)
    measured = {
        "false_alarms_a_period": unchanged["alarms"],
        "false_alarms_a_window": live["alarms"],
        "test_s": round(spent_s, 4),
    }
    return finish(
        {
            "name": "monitors",
            "target": TARGET,
            **measured,
            "suspicious_a_period": unchanged["suspicious"],
            "moved_a_window": live["moved"],
            "periods": asked.periods,
            "windows": asked.windows,
            "power": power,
            "ok": all(measured[name] <= TARGET[name] for name in TARGET),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
