"""The trained head: one multinomial logistic regression a value on sentence embeddings.

Fitted with scikit-learn, kept as plain numbers (npz and JSON in a zip, nothing pickled), so that it can be
read by anyone and run anywhere.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from services.orchestrator.analysis.values.agreement import Thresholds, agreement, label_counts
from services.orchestrator.analysis.values.dimensions import ANSWERS, LABELS, VALUES, Floats, hard_labels
from services.orchestrator.analysis.values.labels import LabelledRow
from services.orchestrator.analysis.values.results import LabelCounts, ValueAgreement
from services.orchestrator.domain.difference import unit_rows

FORMAT = "valign-values-head-1"
MAX_HEAD_BYTES = 64 * 1024 * 1024
TextPart = Literal["reply", "dialogue"]
_STRENGTHS = (1.0, 10.0, 100.0)
_FOLDS = 3
_MOST_DIMENSIONS = 65_536
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    TypeError,
    ValueError,
    OSError,
    EOFError,
    OverflowError,
    SyntaxError,
    RuntimeError,
)
# numpy gives its format functions no types.
_npy_format: Any = np.lib.format
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Head:
    """Weights by value, shape (3, dimension), and biases (3,), answers in the order of ``ANSWERS``.

    ``agreement`` has all ten values; those that are "too_few_labels" have no weights.
    """

    encoder: str
    encoder_fingerprint: str
    dimension: int
    text: TextPart
    weights: Mapping[str, Floats]
    biases: Mapping[str, Floats]
    agreement: tuple[ValueAgreement, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def probabilities(self, rows: NDArray[np.float32]) -> dict[str, Floats]:
        """Probabilities of the three answers by value, shape (n, 3), for embeddings (n, dimension).

        ValueError for rows of another width. Values that the head may not speak of are missing.
        """
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"the head reads rows of {self.dimension} numbers, not of shape {rows.shape}")
        unit = unit_rows(rows)
        found = {}
        for value, weight in self.weights.items():
            logits = unit @ weight.T + self.biases[value]
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            found[value] = np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float64)
        return found


def head_text(part: TextPart, question: str, reply: str) -> str:
    """The text that is embedded for a reply."""
    return reply if part == "reply" else f"Human: {question}\nBob: {reply}"


def held_out_groups(rows: Sequence[LabelledRow], fraction: float, seed: int) -> frozenset[str]:
    """Prompts whose replies are held out: about ``fraction`` of the rows, drawn by hash.

    All replies to a prompt fall on one side, or the test would reward remembering prompts.
    """
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.group] = sizes.get(row.group, 0) + 1
    order = sorted(sizes, key=lambda group: sha256(f"{seed}|held-out|{group}".encode()).digest())
    chosen: set[str] = set()
    taken = 0
    for group in order:
        if taken >= fraction * len(rows):
            break
        chosen.add(group)
        taken += sizes[group]
    return frozenset(chosen)


def fit_head(
    rows: Sequence[LabelledRow],
    embeddings: NDArray[np.float32],
    *,
    encoder: str,
    encoder_fingerprint: str,
    text: TextPart,
    held_out: float = 0.25,
    seed: int = 0,
    thresholds: Thresholds | None = None,
    facts: Mapping[str, Any] | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Head:
    """Fit on the prompts that are not held out, and measure on those that are.

    ``embeddings``: shape (n, dimension), row i for ``rows[i]``. ``tell(done, total)`` after each value.
    No class weights: the probabilities shall follow the labels' shares, so that a mean of soft scores
    estimates a mean of labels. The strength of regularisation is chosen by log-loss within the training
    prompts.
    """
    thresholds = thresholds or Thresholds()
    unit = unit_rows(embeddings)
    out = held_out_groups(rows, held_out, seed)
    groups = np.array([row.group for row in rows])
    outside = np.array([row.group in out for row in rows])
    weights: dict[str, Floats] = {}
    biases: dict[str, Floats] = {}
    measured: list[ValueAgreement] = []
    strengths: dict[str, float] = {}
    for number, value in enumerate(VALUES):
        known = np.array([value in row.labels for row in rows])
        labels = np.array([row.labels.get(value, 0) for row in rows], dtype=np.int64)
        train, test = known & ~outside, known & outside
        counts = label_counts(labels[train])
        answers = np.zeros(int(test.sum()), dtype=np.int64)
        enough = min(counts.values()) >= thresholds.train
        if enough:
            weight, bias, strengths[value] = _fit(unit[train], labels[train], groups[train], seed)
            logits = unit[test] @ weight.T + bias
            answers = hard_labels(logits)
        found = agreement(
            value, labels[test], answers, list(groups[test]), train=counts, thresholds=thresholds, seed=seed
        )
        measured.append(found)
        if found.status == "measured":
            weights[value], biases[value] = weight, bias
        tell(number + 1, len(VALUES))
    return Head(
        encoder=encoder,
        encoder_fingerprint=encoder_fingerprint,
        dimension=embeddings.shape[1],
        text=text,
        weights=weights,
        biases=biases,
        agreement=tuple(measured),
        facts={
            **(facts or {}),
            "seed": seed,
            "held_out": held_out,
            "thresholds": {"train": thresholds.train, "held_out": thresholds.held_out},
            "strengths": {name: strengths[name] for name in weights},
        },
    )


def _fit(
    rows: Floats, labels: NDArray[np.int64], groups: NDArray[Any], seed: int
) -> tuple[Floats, Floats, float]:
    """(weights (3, dimension), biases (3,), the C that was chosen)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.model_selection import GroupKFold

    def model(strength: float) -> Any:
        return LogisticRegression(C=strength, max_iter=2000, random_state=seed)

    losses = dict.fromkeys(_STRENGTHS, 0.0)
    folds = min(_FOLDS, len(set(groups)))
    parts = list(GroupKFold(folds).split(rows, labels, groups)) if folds > 1 else []
    # A fold that lacks a kind of label would fit another model.
    parts = [(inside, outside) for inside, outside in parts if len(set(labels[inside])) == len(ANSWERS)]
    for strength in _STRENGTHS if parts else ():
        for inside, outside in parts:
            fitted = model(strength).fit(rows[inside], labels[inside])
            losses[strength] += log_loss(
                labels[outside], fitted.predict_proba(rows[outside]), labels=fitted.classes_
            ) * len(outside)
    chosen = min(_STRENGTHS, key=lambda strength: (losses[strength], strength))
    fitted = model(chosen).fit(rows, labels)
    order = [list(fitted.classes_).index(LABELS[answer]) for answer in ANSWERS]
    return fitted.coef_[order].astype(np.float64), fitted.intercept_[order].astype(np.float64), chosen


def pack_head(head: Head) -> bytes:
    """A zip of head.json and weights.npz; equal heads give equal bytes."""
    arrays = {f"weights.{name}": head.weights[name] for name in head.weights}
    arrays |= {f"biases.{name}": head.biases[name] for name in head.biases}
    about = {
        "format": FORMAT,
        "encoder": head.encoder,
        "encoder_fingerprint": head.encoder_fingerprint,
        "dimension": head.dimension,
        "text": head.text,
        "values": list(VALUES),
        "answers": list(ANSWERS),
        "spoken": list(head.weights),
        "agreement": [item.model_dump(mode="json") for item in head.agreement],
        "facts": dict(head.facts),
    }
    files = {"head.json": (json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()}
    for name, array in sorted(arrays.items()):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        files[f"weights/{name}.npy"] = buffer.getvalue()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def unpack_head(data: bytes) -> Head:
    """The head of such a zip. ValueError for anything that ``pack_head`` would not write."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_HEAD_BYTES:
                raise ValueError(f"larger than {MAX_HEAD_BYTES} bytes")
            about = json.loads(_entry(archive, "head.json"))
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']!r}, not {FORMAT!r}")
            dimension = int(about["dimension"])
            if not 1 <= dimension <= _MOST_DIMENSIONS:
                raise ValueError(f"its dimension is {dimension}")
            weights = {name: _array(archive, f"weights.{name}", (3, dimension)) for name in about["spoken"]}
            biases = {name: _array(archive, f"biases.{name}", (3,)) for name in about["spoken"]}
        found = tuple(ValueAgreement.model_validate(item) for item in about["agreement"])
        if tuple(item.value for item in found) != VALUES or about["answers"] != list(ANSWERS):
            raise ValueError("it does not tell of the ten values in their order")
        if {item.value for item in found if item.status == "measured"} != set(weights):
            raise ValueError("its weights and its agreement tell of different values")
        if about["text"] not in ("reply", "dialogue"):
            raise ValueError(f"its text is {about['text']!r}")
        return Head(
            encoder=str(about["encoder"]),
            encoder_fingerprint=str(about["encoder_fingerprint"]),
            dimension=dimension,
            text=about["text"],
            weights=weights,
            biases=biases,
            agreement=found,
            facts=dict(about["facts"]),
        )
    except _UNREADABLE as error:
        raise ValueError(f"this is no values head: {error}") from error


def cleaning(head: Head) -> LabelCounts | None:
    """What was found in the file that the head was trained on, if the head tells."""
    return LabelCounts.model_validate(head.facts["labels"]) if "labels" in head.facts else None


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> Floats:
    data = _entry(archive, f"weights/{name}.npy")
    buffer = io.BytesIO(data)
    if _npy_format.read_magic(buffer) != (1, 0):
        raise ValueError(f"{name} is no npy file of version 1.0")
    found, fortran, dtype = _npy_format.read_array_header_1_0(buffer)
    # Before anything is made of the data: a header may ask for any number of bytes.
    if found != shape or dtype != np.dtype("<f8"):
        raise ValueError(f"{name} has shape {found} and type {dtype}")
    array = np.frombuffer(data, dtype="<f8", offset=buffer.tell())
    array = array.reshape(shape, order="F" if fortran else "C")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} has a number that is not finite")
    return np.array(array, dtype=np.float64)


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    # No more is unpacked than the entry says of itself, and that was counted.
    with archive.open(name) as entry:
        return entry.read(archive.getinfo(name).file_size)
