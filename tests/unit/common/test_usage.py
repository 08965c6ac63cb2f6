import pytest

from services.common import usage
from services.common.process import ProcessTree
from services.common.usage import Meter, Usage


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("services.common.usage.time.monotonic", lambda: now[0])
    return now


def test_meter_shares_by_requests_in_the_engine(clock: list[float]) -> None:
    cpu = [0.0]
    told: list[tuple[float, float]] = []
    meter = Meter(lambda: cpu[0], lambda: 2, lambda cpu_s, gpu_s: told.append((cpu_s, gpu_s)))
    one, other = Usage(), Usage()
    with meter.working_for(one):
        clock[0], cpu[0] = 101.0, 4.0
        with meter.working_for(other), meter.working_for(other):
            clock[0], cpu[0] = 104.0, 10.0
        clock[0], cpu[0] = 105.0, 11.0
    # Alone for a second, one of three for three, alone again for one; two GPUs.
    assert one.gpu_s == pytest.approx(2 * (1 + 1 + 1))
    assert other.gpu_s == pytest.approx(2 * 2)
    assert one.cpu_s + other.cpu_s == pytest.approx(11.0)
    assert sum(gpu for _, gpu in told) == pytest.approx(10.0)


def test_meter_counts_nothing_while_nobody_asks(clock: list[float]) -> None:
    meter = Meter(lambda: clock[0], lambda: 1, lambda cpu_s, gpu_s: None)
    account = Usage()
    with meter.working_for(account):
        clock[0] += 1
    clock[0] += 100
    with meter.working_for(account):
        clock[0] += 1
    assert (account.cpu_s, account.gpu_s) == (pytest.approx(2.0), pytest.approx(2.0))


def test_meter_of_processes_that_ended_never_goes_back(clock: list[float]) -> None:
    cpu = [50.0]
    meter = Meter(lambda: cpu[0], lambda: 0, lambda cpu_s, gpu_s: None)
    account = Usage()
    with meter.working_for(account):
        clock[0], cpu[0] = 101.0, 3.0
    assert (account.cpu_s, account.gpu_s) == (0.0, 0.0)


def test_account_of_a_call_travels_in_its_trailers_and_back() -> None:
    with usage.accounting() as spent:
        usage.account().add(1.5, 2.25)
        assert usage.account() is spent
    trailers = usage.trailers_of(spent)
    found = usage.usage_from(trailers)
    assert found is not None
    assert (found.cpu_s, found.gpu_s) == (1.5, 2.25)
    assert usage.trailers_of(Usage()) == ()
    assert usage.usage_from((("other", "1"),)) is None
    assert usage.usage_from(((usage.CPU_TRAILER, "much"),)) is None


def test_process_tree_counts_children_that_live() -> None:
    import subprocess
    import sys

    busy = (
        "import time\nend = time.monotonic() + 1\nwhile time.monotonic() < end: pass\nprint(1, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", busy + "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        before = ProcessTree().cpu_s()
        child.stdout.readline()
        assert ProcessTree().cpu_s() - before > 0.1
        child.communicate(b"\n")
