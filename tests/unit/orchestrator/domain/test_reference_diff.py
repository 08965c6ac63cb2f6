"""Diffs between versions of a reference set, and reviews that are overdue."""

from dataclasses import replace
from datetime import date

import pytest

from services.orchestrator import catalogue
from services.orchestrator.domain.reference import ReferencePrinciple
from services.orchestrator.domain.reference_diff import Change, diff_reference_sets


@pytest.fixture
def gdpr():
    return catalogue.load_reference_set("gdpr-article-5")


def test_diff_of_equal_sets_is_empty(gdpr):
    found = diff_reference_sets(gdpr, gdpr)
    assert (found.governance, found.principles, found.topics, found.note) == ((), (), (), "")
    assert not found.measures_differently


def test_diff_names_changed_added_and_removed_principles(gdpr):
    first, *rest = gdpr.principles
    new = replace(
        gdpr,
        version="2.0",
        principles=(
            replace(first, text="Other words."),
            *rest[1:],
            ReferencePrinciple("erasure", "Erasure", "Data shall be erased on request."),
        ),
    )
    found = diff_reference_sets(gdpr, new)
    assert {(change.what, change.kind) for change in found.principles} == {
        (f"principles.{first.id}.text", "changed"),
        (f"principles.{rest[0].id}", "removed"),
        ("principles.erasure", "added"),
    }
    assert found.governance == (Change("version", gdpr.version, "2.0"),)
    assert found.measures_differently
    assert not found.note


def test_diff_tells_topics_that_map_otherwise(gdpr):
    topics = {**gdpr.topics, "bias-removal": ("fairness",), "new-topic": ("accuracy",)}
    del topics["public-understanding"]
    found = diff_reference_sets(gdpr, replace(gdpr, topics=topics))
    assert {(change.what, change.kind, change.new) for change in found.topics} == {
        ("topics.bias-removal", "changed", "fairness"),
        ("topics.new-topic", "added", "accuracy"),
        ("topics.public-understanding", "removed", None),
    }


def test_diff_of_other_content_under_one_version_says_so(gdpr):
    changed = replace(gdpr, topics={**gdpr.topics, "bias-removal": ("fairness",)})
    assert "raise the version" in diff_reference_sets(gdpr, changed).note


def test_diff_of_governance_alone_measures_the_same(gdpr):
    new = replace(
        gdpr,
        version="1.2",
        stakeholders_consulted=("A patients' council",),
        changes=("1.2: asked", *gdpr.changes),
    )
    found = diff_reference_sets(gdpr, new)
    assert {change.what for change in found.governance} == {"version", "stakeholders_consulted", "changes"}
    assert not found.measures_differently


@pytest.mark.parametrize(("today", "overdue"), [("2027-11-30", False), ("2027-12-01", True)])
def test_overdue_review_warns_from_the_day_after(gdpr, today, overdue):
    warning = replace(gdpr, review_date="2027-11-30").overdue_review(date.fromisoformat(today))
    assert (warning is not None) == overdue
    if warning:
        assert "2027-11-30" in warning
        assert "1 day ago" in warning
