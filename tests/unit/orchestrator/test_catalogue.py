import pytest

from services.common.errors import InvalidInputError, NotFoundError
from services.orchestrator import catalogue


def test_catalogue_lists_what_is_shipped():
    assert [item.id for item in catalogue.list_topic_sets()] == ["ai-for-social-good"]
    assert [item.id for item in catalogue.list_reference_sets()] == [
        "eu-ai-act",
        "gdpr-article-5",
        "ieee-ethically-aligned-design",
        "oecd-ai-principles",
        "schwartz-basic-values",
        "ten-commandments",
        "universal-declaration-of-human-rights",
    ]
    assert [item.id for item in catalogue.list_prompt_sets()] == ["instruct", "small"]
    assert {"demo", "template"} <= {item.id for item in catalogue.list_shipped_studies()}


@pytest.mark.parametrize("name", ["nothing", "../studies/demo", "", "ten-commandments.yaml"])
def test_load_unknown_set_names_those_that_are_there(name):
    with pytest.raises(
        InvalidInputError, match=r"there are: eu-ai-act, gdpr-article-5, .*, ten-commandments"
    ):
        catalogue.load_reference_set(name)


def test_load_unknown_study_is_not_found():
    with pytest.raises(NotFoundError, match="there are: demo"):
        catalogue.load_shipped_study("nothing")
