from collections.abc import Iterator

import pytest

from services.orchestrator.loop import metrics


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    for study in list(metrics._shown):
        metrics.forget_differences(study)
    metrics._named.clear()
    yield
    for study in list(metrics._shown):
        metrics.forget_differences(study)
    metrics._named.clear()


def shown() -> set[tuple[str, str, str]]:
    samples = next(iter(metrics.VALUE_DIFFERENCE.collect())).samples
    return {(s.labels["study"], s.labels["topic"], s.labels["arm"]) for s in samples}


def test_differences_of_many_studies_stay_within_the_cap_and_the_oldest_goes() -> None:
    for number in range(3 * metrics.MOST_STUDIES):
        metrics.show_differences(f"s-{number}", "before", {"a": 0.1, "b": 0.2})
        # One that is shown again and again stays.
        metrics.show_differences("s-0", "after", {"a": 0.1})
    studies = {study for study, _, _ in shown()}
    assert len(studies) == metrics.MOST_STUDIES
    assert {"s-0", f"s-{3 * metrics.MOST_STUDIES - 1}"} <= studies


def test_differences_of_more_topics_than_a_study_may_have_are_cut() -> None:
    metrics.show_differences("s", "before", {f"t-{number}": 0.0 for number in range(500)})
    assert len(shown()) == metrics.MOST_TOPICS


def test_differences_of_a_study_that_runs_again_are_forgotten_and_others_stay() -> None:
    metrics.show_differences("s", "before", {"a": 0.1})
    metrics.show_differences("other", "before", {"a": 0.1})
    metrics.forget_differences("s")
    assert shown() == {("other", "a", "before")}


def test_study_label_beyond_the_cap_is_other() -> None:
    labels = [metrics.study_label(f"s-{number}") for number in range(3 * metrics.MOST_STUDIES)]
    assert labels[: metrics.MOST_STUDIES] == [f"s-{number}" for number in range(metrics.MOST_STUDIES)]
    assert set(labels[metrics.MOST_STUDIES :]) == {metrics.OTHER}
    assert metrics.study_label("s-0") == "s-0"


def test_progress_of_a_stage_is_gone_when_it_has_ended() -> None:
    metrics.show_progress("s", "uncover", 3, 4)
    samples = next(iter(metrics.STAGE_PROGRESS.collect())).samples
    assert ({"study": "s", "stage": "uncover"}, 0.75) in [(s.labels, s.value) for s in samples]
    metrics.forget_progress("s", "uncover")
    metrics.forget_progress("s", "uncover")
    samples = next(iter(metrics.STAGE_PROGRESS.collect())).samples
    assert {"study": "s", "stage": "uncover"} not in [s.labels for s in samples]
