"""The ruler: one benchmark model's principles, reference texts and embeddings, frozen under a content hash.

Several models held to texts that each wrote for itself are held to several yardsticks (paper section 5 asks
for one). A ruler is the one: every model gets the same originals and is measured against the same aligned
texts, by the same encoder. See docs/adr/0016-ruler.md.

On disk it is a zip of ``ruler.json`` and ``rows.npz`` (arrays ``original`` and ``aligned``, float32), not
compressed and with fixed dates: equal rulers give equal bytes, and its identity is their sha256.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.common.errors import InvalidInputError, PreconditionError
from services.orchestrator.analysis.archives import dump_json, read_json, read_stored_zip, write_zip
from services.orchestrator.analysis.evidence import ArmKind, Evidence
from services.orchestrator.analysis.files import read_rows
from services.orchestrator.domain.difference import unit_rows
from services.orchestrator.study import Study, prompt_set_digest, reference_set_digest, resolve

FORMAT: Final = "valign-ruler"
FORMAT_VERSION: Final = 1
MAX_BYTES: Final = 256 * 2**20
_SHA256 = "^[0-9a-f]{64}$"
_ARRAYS = ("original.npy", "aligned.npy")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RulerTopic(_Part):
    """A topic as the benchmark run had it."""

    id: str
    title: str
    description: str


class RulerInput(_Part):
    """One original principle and its reference texts: the target first, then further draws of it."""

    topic_id: str
    index: int = Field(ge=0)
    original: str = Field(min_length=1)
    aligned: tuple[str, ...] = Field(min_length=1)

    @property
    def key(self) -> tuple[str, int]:
        return self.topic_id, self.index


class RulerFacts(_Part):
    """ruler.json: everything but the embeddings."""

    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    name: str = Field(min_length=1, max_length=80)
    run_id: str = Field(description="The benchmark run.")
    run_identity: str
    model: str = Field(description="The benchmark model.")
    model_fingerprint: str = Field(pattern=_SHA256)
    encoder: str
    encoder_fingerprint: str = Field(min_length=1)
    dimension: int = Field(ge=1)
    prompt_set_id: str
    prompt_set_sha256: str = Field(pattern=_SHA256)
    reference_set_id: str
    reference_set_sha256: str = Field(pattern=_SHA256)
    seed: int
    generation: dict[str, Any] = Field(description="How the benchmark's texts were drawn.")
    topics: tuple[RulerTopic, ...] = Field(min_length=1)
    inputs: tuple[RulerInput, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Ruler:
    """A ruler. ``original`` has shape (n inputs, dimension); ``aligned`` one row for each reference text,
    inputs in order and each input's texts in order. ``sha256`` is that of ``pack``."""

    facts: RulerFacts
    original: NDArray[np.float32]
    aligned: NDArray[np.float32]

    @cached_property
    def sha256(self) -> str:
        """Content hash: the ruler's identity, by which a study names it."""
        return hashlib.sha256(pack(self)).hexdigest()

    @cached_property
    def rows(self) -> Mapping[str, NDArray[np.float32]]:
        """Row of every text of the ruler."""
        texts = [item.original for item in self.facts.inputs]
        texts += [text for item in self.facts.inputs for text in item.aligned]
        return dict(zip(texts, np.concatenate([self.original, self.aligned]), strict=True))

    def own_difference(self, topic_id: str, rows: NDArray[np.float32]) -> float:
        """Mean value difference between these texts (shape (n, dimension)) and all targets of the topic,
        each with each. No pairing is needed: what is compared are two sets of texts."""
        targets = self._targets(topic_id)
        mean = float(unit_rows(rows).mean(axis=0) @ unit_rows(targets).mean(axis=0))
        return 1.0 - mean

    def benchmark_difference(self, topic_id: str) -> float:
        """``own_difference`` of the benchmark model itself: its originals against its targets."""
        places = [place for place, item in enumerate(self.facts.inputs) if item.topic_id == topic_id]
        return self.own_difference(topic_id, self.original[places])

    def _targets(self, topic_id: str) -> NDArray[np.float32]:
        found = [item.aligned[0] for item in self.facts.inputs if item.topic_id == topic_id]
        return np.stack([self.rows[text] for text in found])


def pack(ruler: Ruler) -> bytes:
    """The zip; equal rulers give equal bytes."""
    arrays, zipped = io.BytesIO(), io.BytesIO()
    np.savez(arrays, allow_pickle=False, original=_little(ruler.original), aligned=_little(ruler.aligned))
    facts = dump_json("ruler.json", ruler.facts.model_dump(mode="json"))
    write_zip(zipped, [("ruler.json", facts), ("rows.npz", arrays.getvalue())])
    return zipped.getvalue()


def unpack(data: bytes) -> Ruler:
    """What ``pack`` gave. InvalidInputError says what is wrong with it; nothing is unpickled."""
    try:
        files = read_stored_zip(io.BytesIO(data), MAX_BYTES)
        if set(files) != {"ruler.json", "rows.npz"}:
            raise ValueError(f"its entries are {sorted(files)}, expected ruler.json and rows.npz")
        facts = RulerFacts.model_validate(read_json("ruler.json", files["ruler.json"]))
        if (facts.format, facts.format_version) != (FORMAT, FORMAT_VERSION):
            raise ValueError(f"ruler.json: format {facts.format!r} version {facts.format_version}")
        # The arrays' entries must be stored as they are too, or a small file could unfold into a huge one.
        arrays = read_stored_zip(io.BytesIO(files["rows.npz"]), MAX_BYTES)
        original, aligned = (read_rows(f"rows.npz {name}", arrays[name]) for name in _ARRAYS)
        _check(facts, original, aligned)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"this is no ruler: ruler.json: {place}: {first['msg']}") from None
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise InvalidInputError(
            f"this is no ruler: {error}. Make one with `valign rulers freeze RUN --name NAME`"
        ) from error
    return Ruler(facts, original.astype(np.float32), aligned.astype(np.float32))


def freeze(evidence: Evidence, name: str, run_id: str, identity: str, model: str, fingerprint: str) -> Ruler:
    """The ruler of one benchmark run: its originals that have a reference text, and all their draws.

    ``model`` and ``fingerprint`` are those of the run's model. PreconditionError for a run that was itself
    measured by a ruler, or whose evidence lacks an embedding.
    """
    if evidence.study.get("ruler"):
        raise PreconditionError(
            f"run {run_id} was measured by ruler {evidence.study['ruler'][:12]}…, so its originals and"
            " references are that ruler's. Use that one, or freeze a run without a ruler"
        )
    resolved = resolve(Study.model_validate(dict(evidence.study)))
    originals = {key: texts[0] for key, texts in evidence.texts(ArmKind.ORIGINAL.value).items()}
    aligned = evidence.texts(ArmKind.ALIGNED.value)
    targets = evidence.targets()
    inputs = tuple(
        RulerInput(topic_id=topic, index=index, original=originals[topic, index], aligned=texts)
        for topic in evidence.topic_ids
        for (of_topic, index), texts in aligned.items()
        if of_topic == topic and (topic, index) in originals and (topic, index) in targets
    )
    if silent := sorted(set(evidence.topic_ids) - {item.topic_id for item in inputs}):
        raise PreconditionError(f"run {run_id} has no pair of texts for {', '.join(silent)}: freeze another")
    vectors = evidence.vectors["primary"]
    try:
        original = vectors.of([item.original for item in inputs])
        reference = vectors.of([text for item in inputs for text in item.aligned])
    except KeyError as error:
        raise PreconditionError(f"the evidence of run {run_id} has no embedding of {error}") from error
    facts = RulerFacts(
        name=name,
        run_id=run_id,
        run_identity=identity,
        model=model,
        model_fingerprint=fingerprint,
        encoder=vectors.encoder,
        encoder_fingerprint=vectors.fingerprint,
        dimension=int(original.shape[1]),
        prompt_set_id=resolved.prompt_set.id,
        prompt_set_sha256=prompt_set_digest(resolved.prompt_set),
        reference_set_id=resolved.reference_set.id,
        reference_set_sha256=reference_set_digest(resolved.reference_set),
        seed=resolved.study.seed,
        generation=resolved.study.generation.model_dump(mode="json"),
        topics=tuple(
            RulerTopic(id=topic.id, title=topic.title, description=topic.description)
            for topic in resolved.topics
        ),
        inputs=inputs,
    )
    return Ruler(facts, original, reference)


def _check(facts: RulerFacts, original: NDArray[Any], aligned: NDArray[Any]) -> None:
    texts = sum(len(item.aligned) for item in facts.inputs)
    for name, rows, count in (("original", original, len(facts.inputs)), ("aligned", aligned, texts)):
        if rows.dtype != np.float32 or rows.shape != (count, facts.dimension):
            raise ValueError(
                f"rows.npz: {name} is {rows.dtype} of shape {rows.shape}, expected float32 of shape"
                f" {(count, facts.dimension)}"
            )
        # A row without direction cannot be compared with anything.
        unit_rows(rows)
    keys = [item.key for item in facts.inputs]
    if len(set(keys)) != len(keys):
        raise ValueError("ruler.json: an input is there twice")
    topics = [topic.id for topic in facts.topics]
    if {item.topic_id for item in facts.inputs} != set(topics) or len(set(topics)) != len(topics):
        raise ValueError("ruler.json: the inputs' topics are not those of its topics")


def _little(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(rows, dtype="<f4")
