"""Request bodies for the OpenAPI document."""

from typing import Any

_STUDY_YAML = """\
name: my-first-study
reference_set: ten-commandments
topics: ai-for-social-good
prompt_set: instruct
principles_per_topic: 100
"""
_REFERENCE_SET_YAML = """\
id: house-rules
title: House rules
version: "1.0"
review_date: 2027-06-30
steward: Ethics board
responsible: ethics@example.org
source: Staff handbook, chapter 2
principles:
  - id: honesty
    heading: Honesty
    text: Say what is true, also when it is not welcome.
topics:
  education: [honesty]
"""


def _body(schema: str, description: str, yaml_text: str, json_value: dict[str, Any]) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    content = {
        "application/yaml": {"schema": reference, "example": yaml_text},
        "application/json": {"schema": reference, "example": json_value},
    }
    return {"requestBody": {"required": True, "description": description, "content": content}}


STUDY_BODY = _body(
    "Study",
    "A study as YAML (the default) or JSON; everything but `name` has a default.",
    _STUDY_YAML,
    {
        "name": "my-first-study",
        "reference_set": "ten-commandments",
        "topics": "ai-for-social-good",
        "prompt_set": "instruct",
        "principles_per_topic": 100,
    },
)
REFERENCE_SET_BODY = _body(
    "ReferenceSetDocument",
    "A reference set as YAML (the default) or JSON.",
    _REFERENCE_SET_YAML,
    {
        "id": "house-rules",
        "title": "House rules",
        "version": "1.0",
        "review_date": "2027-06-30",
        "steward": "Ethics board",
        "responsible": "ethics@example.org",
        "source": "Staff handbook, chapter 2",
        "principles": [
            {
                "id": "honesty",
                "heading": "Honesty",
                "text": "Say what is true, also when it is not welcome.",
            }
        ],
        "topics": {"education": ["honesty"]},
    },
)

REFERENCE_DIFF_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "Two versions: each names one of id, run_id and document (YAML text).",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["old", "new"],
                    "properties": {
                        side: {
                            "type": "object",
                            "properties": {name: {"type": "string"} for name in ("id", "run_id", "document")},
                        }
                        for side in ("old", "new")
                    },
                },
                "example": {"old": {"run_id": "r-20261121-7k2m9q"}, "new": {"id": "gdpr-article-5"}},
            }
        },
    }
}

PLAN_BODY = _body(
    "PlanRequest",
    "A study, and what it is to run on; everything but `study` may be left out.",
    "study: |\n  name: my-first-study\nshape: 8b\ndevice: h100\ngpus: 1\n",
    {"study": {"name": "my-first-study"}, "shape": "8b", "device": "h100", "gpus": 1},
)
