"""The retention rule, by property."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.registry.records import AdapterRecord, AdapterState
from services.orchestrator.registry.retention import PRUNABLE, Retention, prunable
from tests.fakes.registry import NOW, record

NAMES = [f"a{number}" for number in range(12)]
RUNS = ["r-1", "r-2", "r-3"]
ADAPTERS = st.lists(
    st.builds(
        record,
        st.sampled_from(NAMES),
        st.sampled_from(AdapterState),
        st.floats(0, 100),
        run_id=st.sampled_from(RUNS),
        prune_time=st.sampled_from([None, None, None, NOW]),
    ),
    unique_by=lambda adapter: adapter.name,
)


@given(
    adapters=ADAPTERS,
    referred=st.sets(st.sampled_from(NAMES)),
    open_runs=st.sets(st.sampled_from(RUNS)),
    keep=st.integers(0, 12),
    days=st.floats(0, 100),
)
def test_prunable_keeps_what_must_stay_and_lets_the_rest_go(
    adapters: list[AdapterRecord], referred: set[str], open_runs: set[str], keep: int, days: float
) -> None:
    retention = Retention(keep, timedelta(days=days))
    gone = prunable(adapters, referred=referred, open_runs=open_runs, retention=retention, now=NOW)
    present = [adapter for adapter in adapters if adapter.prune_time is None]
    newest = sorted(present, key=lambda one: (one.update_time, one.name))[::-1][:keep]
    for adapter in adapters:
        stays = (
            adapter.state in (AdapterState.PROMOTED, AdapterState.CANDIDATE)
            or adapter.prune_time is not None
            or adapter.name in referred
            or adapter.run_id in open_runs
            or adapter in newest
            or NOW - adapter.update_time <= retention.max_age
        )
        assert (adapter in gone) is not stays
    assert [one.update_time for one in gone] == sorted(one.update_time for one in gone)
    # Once they are gone the same rule takes no more: it does not eat its way to the newest.
    left = [adapter for adapter in adapters if adapter not in gone]
    assert not prunable(left, referred=referred, open_runs=open_runs, retention=retention, now=NOW)


def test_prunable_states_are_those_that_nothing_serves() -> None:
    assert {AdapterState.PROMOTED, AdapterState.CANDIDATE} == set(AdapterState) - PRUNABLE
