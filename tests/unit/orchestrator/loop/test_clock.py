import pytest

from services.orchestrator.loop.clock import Clock, Ledger


def test_ledger_two_steps_of_a_stage_add_up() -> None:
    ledger = Ledger()
    ledger.add("uncover", 2.0, {"generation": 1.5})
    ledger.add("uncover", 1.0, {"generation": 0.5})
    ledger.add("quantify", 0.5, {"embedding": 0.25})
    assert ledger.timings_s() == {"uncover": 3.0, "quantify": 0.5, "total": 3.5}
    assert ledger.external_s == {"generation": 2.0, "training": 0.0, "embedding": 0.25, "loading": 0.0}


def test_lap_external_time_is_part_of_it_and_the_next_starts_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("services.orchestrator.loop.clock.time.monotonic", lambda: now[0])
    clock = Clock()
    now[0] += 1
    with clock.external("training"):
        now[0] += 5
    now[0] += 2
    assert clock.lap() == (8.0, {"training": 5.0})
    now[0] += 1
    assert clock.lap() == (1.0, {})
