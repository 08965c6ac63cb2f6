"""A judge's agreement with a file of labels, as a file that a study can name by its sha256."""

import json

from pydantic import Field, ValidationError

from services.orchestrator.analysis.results import Part
from services.orchestrator.analysis.values.dimensions import VALUES
from services.orchestrator.analysis.values.results import LabelCounts, ValueAgreement

FORMAT = "valign-values-agreement-1"


class JudgeRecord(Part):
    """Which judge was asked, how, and how well it agreed."""

    format: str = FORMAT
    model: str
    model_fingerprint: str = Field(description="Holds for this model alone.")
    questions_sha256: str = Field(description="Holds for these questions alone.")
    calibrated: bool
    data_sha256: str = Field(description="sha256 of the file of labels.")
    labels: LabelCounts
    judged: int = Field(ge=0, description="Dialogues that were judged.")
    unscored: int = Field(default=0, ge=0, description="Answers that could not be scored.")
    seed: int
    agreement: tuple[ValueAgreement, ...]


def pack_judge(record: JudgeRecord) -> bytes:
    """Canonical JSON; equal records give equal bytes."""
    text = json.dumps(record.model_dump(mode="json"), sort_keys=True, indent=1, ensure_ascii=False)
    return (text + "\n").encode()


def unpack_judge(data: bytes) -> JudgeRecord:
    """The record in such a file. ValueError if it is none."""
    try:
        record = JudgeRecord.model_validate_json(data)
    except ValidationError as error:
        raise ValueError(f"this is no agreement of a judge: {error.errors()[0]['msg']}") from error
    if record.format != FORMAT or tuple(item.value for item in record.agreement) != VALUES:
        raise ValueError(
            "this is no agreement of a judge: another format, or not the ten values in their order"
        )
    return record
