from services.orchestrator.domain.reference import ReferencePrinciple, ReferenceSet

SET = ReferenceSet(
    id="test",
    title="Test",
    version="1",
    review_date="2027-01-01",
    steward="us",
    responsible="us",
    source="us",
    principles=(ReferencePrinciple("a", "A", "Be."), ReferencePrinciple("b", "B", "Do.")),
    topics={"privacy": ("b", "a"), "lost": ("a", "gone")},
)


def test_principles_for_mapped_topic_keep_the_order_of_the_mapping():
    assert [principle.id for principle in SET.principles_for("privacy")] == ["b", "a"]


def test_principles_for_unknown_topic_is_empty():
    assert SET.principles_for("fairness") == ()


def test_unknown_principles_names_topic_and_principle():
    assert SET.unknown_principles() == (("lost", "gone"),)
