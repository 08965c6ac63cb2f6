import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import InvalidInputError
from services.orchestrator.documents import MAX_DOCUMENT_BYTES, parse_document
from services.orchestrator.schemas import PromptSetDocument, ReferenceSetDocument
from services.orchestrator.study import Study

REFERENCE_SET = """\
id: house-rules
title: House rules
version: 1.0
review_date: 2027-01-31
steward: the house
responsible: the house
source: the hall
principles:
  - id: quiet
    heading: Quiet
    text: Be quiet at night.
topics:
  privacy: [quiet]
"""


def faults(text, model=Study):
    with pytest.raises(InvalidInputError) as caught:
        parse_document(text, model)
    return caught.value.details["errors"]


def test_parse_document_yaml_and_json_give_the_same_study():
    plain = {"name": "x", "stop": {"max_iterations": 2}, "seed": 3}
    assert parse_document(json.dumps(plain), Study) == parse_document(yaml.safe_dump(plain), Study)


def test_parse_document_utf8_bytes_with_byte_order_mark_are_read():
    assert parse_document("\ufeffname: x".encode(), Study).name == "x"


@pytest.mark.parametrize(
    ("text", "line", "column", "path", "words"),
    [
        ("name: x\nsed: 1\n", 2, 1, "sed", "unknown key"),
        ("name: x\nstop:\n  max_iteration: 2\n", 3, 3, "stop.max_iteration", "unknown key"),
        ("name: x\nseed: many\n", 2, 1, "seed", "got 'many'"),
        ("seed: 1\n", 1, 1, "name", "required"),
        ("name: x\nsplit: {train: 0.5, validation: 0.2, test: 0.2}\n", 2, 1, "split", "add up to 1, not 0.9"),
        ("name: Not A Slug\n", 1, 1, "name", "'Not A Slug' must be"),
        ("name: x\ntraining:\n  learning_rate: .nan\n", 3, 3, "training.learning_rate", "got nan"),
        ("name: x\ntopics:\n- {id: a, title: A, description: b}\n- {id: b, title: B}\n", 4, 3,
         "topics[1].description", "required"),
        ("name: x\ntopics: []\n", 2, 1, "topics", "at least 1 entry"),
        ("name: x\nreference_set:\n  id: y\n  titel: z\n", 4, 3, "reference_set.titel", "unknown key"),
        ("name: x\nname: y\n", 2, 1, "name", "given twice (first on line 1)"),
        ("name: x\nstop:\n\tmax_iterations: 2\n", 3, 1, "", "tab"),
        ("name: x\nstop: [1, 2\n", 3, 1, "", "not valid YAML"),
        ("a: &a [x]\nb: *a\n", 1, 4, "", "anchors (&)"),
        ("a: *b\n", 1, 4, "", "aliases (*)"),
        ("name: !!python/object/apply:os.system ['true']\n", 1, 7, "", "tags"),
        ("- name\n", 1, 1, "", "expected a mapping"),
        ("just text", 1, 1, "", "expected a mapping"),
        ("", 1, 1, "", "empty"),
        ("# only a comment\n", 1, 1, "", "empty"),
        ("name: x\n? [1, 2]\n: y\n", 2, 3, "", "a key must be plain text"),
        ("name: x\nb: \x07\n", 2, 4, "", "U+0007"),
        (b"name: x\nb: \xff\n", 2, 4, "", "not UTF-8: byte 0xff"),
        ('{"name": "x", "name": "y"}', 1, 15, "name", "given twice"),
        ("name: x\nseed: 2026-13-45\n", 2, 1, "seed", "got '2026-13-45'"),
        ("name: a\n---\nname: b\n", 2, 1, "", "not valid YAML"),
    ],
)  # fmt: skip
def test_parse_document_faulty_study_points_at_the_place(text, line, column, path, words):
    found = [fault for fault in faults(text) if words in fault["message"] and fault["path"] == path]
    assert found, faults(text)
    assert (found[0]["line"], found[0]["column"]) == (line, column)


@pytest.mark.parametrize(
    "text",
    [
        "name: x\nreference_set: Bad Name\n",
        "name: x\nreference_set: 3\n",
        "name: x\ntopics: 5\n",
        "name: x\ntopics:\n- 4\n",
        "name: x\nreference_set: 2026-01-01 noon\n",
    ],
)
def test_parse_document_wrong_choice_of_id_or_inline_is_one_fault(text):
    assert len(faults(text)) == 1


def test_parse_document_several_faults_are_all_reported_and_the_first_is_the_message():
    with pytest.raises(InvalidInputError, match=r"line 2, column 1: seed: .* \(and 1 more\)"):
        parse_document("name: x\nseed: -1\nsed: 1\n", Study)


def test_parse_document_too_long_is_refused():
    assert "bytes long" in faults("name: x\n#" + "x" * MAX_DOCUMENT_BYTES)[0]["message"]


@pytest.mark.parametrize("text", ["a: " + "[" * 500 + "]" * 500, "[" * 100_000, "- " * 60 + "x"])
def test_parse_document_too_deep_is_refused(text):
    assert faults(text)[0]["message"] == "nested too deeply; at most 32 levels are read"


@settings(deadline=None)
@given(st.text(max_size=200))
def test_parse_document_any_text_is_refused_in_our_words(text):
    assert all(set(fault) == {"line", "column", "path", "message"} for fault in faults(text))


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_parse_document_any_bytes_are_refused_in_our_words(data):
    assert faults(data)


def test_parse_reference_set_right_document_takes_dates_and_numbers_as_text():
    parsed = parse_document(REFERENCE_SET, ReferenceSetDocument).to_domain()
    assert (parsed.version, parsed.review_date, parsed.languages) == ("1.0", "2027-01-31", ("en",))
    assert parsed.principles_for("privacy")[0].heading == "Quiet"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("[quiet]", "[loud]", 1, "topics.privacy names 'loud'; known: quiet"),
        ("[quiet]", "[]", 13, "at least 1 entry"),
        ("2027-01-31", "soon", 4, "'soon' is no date"),
        ("text: Be quiet at night.", "text: ''", 11, "must not be empty"),
        ("steward: the house\n", "", 1, "required"),
    ],
)
def test_parse_reference_set_faulty_document_points_at_the_line(old, new, line, words):
    found = faults(REFERENCE_SET.replace(old, new), ReferenceSetDocument)
    assert found[0]["line"] == line
    assert words in found[0]["message"]


def test_parse_reference_set_names_in_other_scripts_are_allowed():
    text = REFERENCE_SET.replace("privacy:", "隐私:").replace("quiet", "هدوء")
    parsed = parse_document(text, ReferenceSetDocument).to_domain()
    assert parsed.topics == {"隐私": ("هدوء",)}


def test_parse_prompt_set_unknown_placeholder_names_stage_and_placeholder():
    text = """\
id: mine
title: Mine
version: "1"
stages:
  original: {user: "About {topic}"}
  aligned: {user: "{principle} {reference_principles}"}
  realigned: {user: "{principal}"}
"""
    message = faults(text, PromptSetDocument)[0]["message"]
    assert "stages.realigned: unknown placeholder {principal}" in message
    assert "must contain {principle}" in message
