"""The shipped general prompts, and what a set of them must be."""

import re

import pytest

from services.common.errors import InvalidInputError
from services.orchestrator.catalogue import list_reference_sets, load_general_prompts
from services.orchestrator.documents import parse_document
from services.orchestrator.general_prompts import GeneralPromptSetDocument

ONE = "  - {id: a, text: Say what, answer: That.}\n"
HEAD = "id: mine\ntitle: Mine\nversion: '1'\nsource: us\nlicense: none\nprompts:\n"


def test_general_prompts_are_thirty_two_everyday_questions_with_their_terms() -> None:
    found = load_general_prompts("general")
    assert len(found.prompts) == 32
    assert found.version
    assert "valign" in found.source
    assert found.license == "Apache-2.0"
    assert all(4 <= len(prompt.answer) <= 400 and len(prompt.text) <= 400 for prompt in found.prompts)
    assert len({prompt.text for prompt in found.prompts}) == 32


def test_general_prompts_keep_away_from_the_reference_sets() -> None:
    """What a study trains for must not be what its drift is looked for with."""
    said = " ".join(f"{prompt.text} {prompt.answer}" for prompt in load_general_prompts("general").prompts)
    assert not re.search(r"\b(shall|AI|privacy|transparen\w+|ethic\w*|values?|commandment\w*)\b", said)
    for reference in list_reference_sets():
        assert not any(principle.text in said for principle in reference.principles)


def test_general_prompts_unknown_set_names_those_there_are() -> None:
    with pytest.raises(InvalidInputError, match="no packaged set of general prompts 'x'; there are: general"):
        load_general_prompts("x")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + ONE + ONE, "prompts given twice: a"),
        (HEAD + "  []\n", "at least 1"),
        (HEAD + "  - {id: a, text: Say what, answer: ' '}\n", "must not be empty"),
        ("id: mine\n", "title: required, but missing"),
    ],
)
def test_general_prompts_wrong_set_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_document(text, GeneralPromptSetDocument)
    assert any(says in f"{fault['path']}: {fault['message']}" for fault in refused.value.details["errors"])
