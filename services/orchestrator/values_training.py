"""Training a values head, and measuring a judge, on a file of labels: jobs of minutes, with progress.

A job is named by the hash of what determines it, so that asking twice gives one job. Its result is an asset
(docs/adr/0017-value-space.md); the job itself lives in this process: after a restart, ask again.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from services.common.artifacts import sha256_bytes
from services.common.errors import (
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PreconditionError,
    ValignError,
)
from services.orchestrator.analysis.values.agreement import Thresholds, agreement
from services.orchestrator.analysis.values.dimensions import VALUES, answer_probabilities, hard_labels
from services.orchestrator.analysis.values.head import (
    Head,
    TextPart,
    cleaning,
    fit_head,
    head_text,
    held_out_groups,
    pack_head,
    unpack_head,
)
from services.orchestrator.analysis.values.labels import LabelFile, LabelledRow, read_labels
from services.orchestrator.analysis.values.record import JudgeRecord, pack_judge
from services.orchestrator.analysis.values.results import LabelCounts, ValueAgreement
from services.orchestrator.assets import AssetKind, AssetLibrary, check_asset_name
from services.orchestrator.ports import Embedder, Generator
from services.orchestrator.study import digest
from services.orchestrator.values_judge import Reply, judge_prior, judge_replies, questions_sha256

log = structlog.get_logger(__name__)

Described = TypeVar("Described")
JobKind = Literal["head", "judge"]
JobState = Literal["queued", "running", "succeeded", "failed"]
MAX_LABEL_BYTES = 64 * 1024 * 1024
MAX_KEPT_JOBS = 100
# Each that waits holds its file in memory.
MAX_WAITING_JOBS = 20
_ASK_S = 10.0
_TEXTS_A_CALL = 256
_REPLIES_A_CALL = 20
DEFAULT_HELD_OUT = 0.25
DEFAULT_LIMIT = 300


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """How a head is trained. ``held_out``: share of the rows, whole prompts; ``text``: what is embedded."""

    seed: int = 0
    held_out: float = DEFAULT_HELD_OUT
    text: TextPart = "reply"


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """How a judge is measured: on at most ``limit`` dialogues, drawn by ``seed``."""

    seed: int = 0
    limit: int = DEFAULT_LIMIT
    calibrate: bool = True


@dataclass(slots=True)
class ValuesJob:
    """A job and what became of it. ``sha256`` names the result: a head, or a judge's agreement."""

    id: str
    kind: JobKind
    name: str
    state: JobState = "queued"
    stage: str = ""
    done: int = 0
    total: int = 0
    error_code: str = ""
    error_message: str = ""
    sha256: str = ""
    evaluator: str = ""
    fingerprint: str = ""
    labels: LabelCounts | None = None
    agreement: tuple[ValueAgreement, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in ("succeeded", "failed")

    def tell(self, stage: str, done: int, total: int) -> None:
        """How far it is."""
        self.stage, self.done, self.total = stage, done, total


class ValuesTraining:
    """One job at a time; more are queued."""

    def __init__(self, embedder: Embedder, generator: Generator, assets: AssetLibrary) -> None:
        self._embedder = embedder
        self._generator = generator
        self._assets = assets
        self._jobs: dict[str, ValuesJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._closing = False

    async def train(self, data: bytes, name: str, options: HeadOptions) -> ValuesJob:
        """Begin (or join) the training of a head on a file of labels.

        InvalidInputError at once for a file without usable rows or options out of range.
        """
        if not 0.05 <= options.held_out <= 0.5:
            raise InvalidInputError(f"held_out must be from 0.05 to 0.5, not {options.held_out:g}")
        check_asset_name(name)
        file = await self._read(data)
        encoder = await _soon(self._embedder.describe(), "embedder")
        job = ValuesJob(
            id=_job_id("head", data, options, encoder.fingerprint),
            kind="head",
            name=name,
            evaluator=encoder.model,
            fingerprint=encoder.fingerprint,
            labels=file.counts,
        )
        return self._begin(job, lambda made: self._train(made, file, sha256_bytes(data), options))

    async def evaluate(self, data: bytes, name: str, options: JudgeOptions) -> ValuesJob:
        """Begin (or join) measuring how well the generator, as a judge, agrees with a file of labels."""
        if options.limit < 1:
            raise InvalidInputError(f"limit must be at least 1, not {options.limit}")
        check_asset_name(name)
        file = await self._read(data)
        model = await _soon(self._generator.describe(), "generator")
        job = ValuesJob(
            id=_job_id("judge", data, options, f"{model.fingerprint}|{questions_sha256()}"),
            kind="judge",
            name=name,
            evaluator=model.model,
            fingerprint=model.fingerprint,
            labels=file.counts,
        )
        return self._begin(job, lambda made: self._evaluate(made, file, sha256_bytes(data), options))

    async def get(self, kind: JobKind, job_id: str) -> ValuesJob:
        """A job; for a head also by the sha256 of its result. NotFoundError if there is none."""
        job = self._jobs.get(job_id)
        if job is not None and job.kind == kind:
            return job
        record = next((known for known in self._jobs.values() if known.sha256 == job_id), None)
        if record is not None and record.kind == kind:
            return record
        if kind == "head":
            return await self._stored(job_id)
        raise NotFoundError(
            f"there is no such job: {job_id[:80]!r}; jobs end with the process: send the file anew"
        )

    async def aclose(self) -> None:
        """Stop the jobs that are under way."""
        self._closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, data: bytes) -> LabelFile:
        if len(data) > MAX_LABEL_BYTES:
            raise InvalidInputError(f"the file has {len(data)} bytes; at most {MAX_LABEL_BYTES} are read")
        try:
            return await asyncio.to_thread(lambda: read_labels(data.decode("utf-8")))
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"the file must be UTF-8: byte {error.start} is not") from error
        except ValueError as error:
            raise InvalidInputError(str(error)) from error

    async def _stored(self, sha256: str) -> ValuesJob:
        record = await self._assets.get(sha256)
        if record.kind is not AssetKind.VALUES_HEAD:
            raise NotFoundError(f"the asset {sha256[:12]}… is a {record.kind.value}, not a values head")
        head = unpack_head(await self._assets.content(sha256))
        job = ValuesJob(
            id=sha256,
            kind="head",
            name=record.name,
            evaluator=head.encoder,
            fingerprint=head.encoder_fingerprint,
        )
        return _finished(job, sha256, head)

    def _begin(self, job: ValuesJob, work: Callable[[ValuesJob], Coroutine[Any, Any, None]]) -> ValuesJob:
        if self._closing:
            raise NotReadyError("the orchestrator is stopping; try again in a few seconds")
        known = self._jobs.get(job.id)
        if known is not None and known.state != "failed":
            return known
        waiting = sum(not old.ended for old in self._jobs.values())
        if waiting >= MAX_WAITING_JOBS:
            raise OverloadedError(f"{waiting} jobs wait already; try again when some of them have ended")
        ended = [key for key, old in self._jobs.items() if old.ended]
        for key in ended[: max(0, len(self._jobs) + 1 - MAX_KEPT_JOBS)]:
            del self._jobs[key]
        self._jobs[job.id] = job
        task = asyncio.create_task(self._run(job, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def _run(self, job: ValuesJob, work: Callable[[ValuesJob], Coroutine[Any, Any, None]]) -> None:
        async with self._turn:
            job.state = "running"
            log.info("values.job_started", job=job.id[:12], kind=job.kind)
            try:
                await work(job)
                job.state = "succeeded"
            except ValignError as error:
                job.error_code, job.error_message = error.code.value, error.message
                job.state = "failed"
            except Exception:
                request_id = uuid.uuid4().hex
                log.exception("values.job_failed", job=job.id[:12], request_id=request_id)
                job.error_code = "INTERNAL"
                job.error_message = f"internal error; the log has the trace under request id {request_id}"
                job.state = "failed"
            log.info("values.job_ended", job=job.id[:12], state=job.state, code=job.error_code)

    async def _train(self, job: ValuesJob, file: LabelFile, data_sha256: str, options: HeadOptions) -> None:
        texts = [head_text(options.text, row.question, row.reply) for row in file.rows]
        rows, truncated = await self._embed(job, texts)
        if (await self._embedder.describe()).fingerprint != job.fingerprint:
            raise PreconditionError(
                "the embedder changed its model while the head was trained; train it anew"
            )
        facts = {
            "data_sha256": data_sha256,
            "labels": file.counts.model_dump(mode="json"),
            "truncated_texts": truncated,
        }

        def tell(done: int, total: int) -> None:
            # A thread cannot be cancelled: it ends between two values.
            if self._closing:
                raise NotReadyError("the orchestrator is stopping; train the head again when it is back")
            job.tell("fit", done, total)

        def fit() -> tuple[Head, bytes]:
            head = fit_head(
                file.rows,
                rows,
                encoder=job.evaluator,
                encoder_fingerprint=job.fingerprint,
                text=options.text,
                held_out=options.held_out,
                seed=options.seed,
                facts=facts,
                tell=tell,
            )
            return head, pack_head(head)

        job.tell("fit", 0, len(VALUES))
        head, data = await asyncio.to_thread(fit)
        told = {"data_sha256": data_sha256}
        record = await self._assets.put(AssetKind.VALUES_HEAD, job.name, data, "values.train_head", told)
        _finished(job, record.sha256, head)

    async def _embed(self, job: ValuesJob, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        unique = list(dict.fromkeys(texts))
        parts, truncated = [], 0
        for start in range(0, len(unique), _TEXTS_A_CALL):
            job.tell("embed", start, len(unique))
            embedded = await self._embedder.embed(unique[start : start + _TEXTS_A_CALL])
            parts.append(embedded.rows)
            truncated += len(embedded.truncated)
        place = {text: number for number, text in enumerate(unique)}
        return np.concatenate(parts)[[place[text] for text in texts]], truncated

    async def _evaluate(
        self, job: ValuesJob, file: LabelFile, data_sha256: str, options: JudgeOptions
    ) -> None:
        rows = _sample(file.rows, options)
        job.tell("judge", 0, len(rows))
        prior = await judge_prior(self._generator) if options.calibrate else None
        given: list[dict[str, list[float] | None]] = []
        for start in range(0, len(rows), _REPLIES_A_CALL):
            part = rows[start : start + _REPLIES_A_CALL]
            replies = [Reply(str(place), row.question, row.reply) for place, row in enumerate(part)]
            answers = await judge_replies(self._generator, replies)
            given += [answers[reply.key] for reply in replies]
            job.tell("judge", len(given), len(rows))
        if (await self._generator.describe()).fingerprint != job.fingerprint:
            raise PreconditionError("the generator changed its model while it was measured; measure it anew")
        found = await asyncio.to_thread(_judge_agreement, rows, given, prior, options.seed)
        record = JudgeRecord(
            model=job.evaluator,
            model_fingerprint=job.fingerprint,
            questions_sha256=questions_sha256(),
            calibrated=options.calibrate,
            data_sha256=data_sha256,
            labels=file.counts,
            judged=len(rows),
            unscored=sum(answer is None for answers in given for answer in answers.values()),
            seed=options.seed,
            agreement=found,
        )
        told, packed = {"data_sha256": data_sha256}, pack_judge(record)
        kind = AssetKind.VALUES_AGREEMENT
        asset = await self._assets.put(kind, job.name, packed, "values.evaluate_judge", told)
        job.agreement, job.sha256 = found, asset.sha256
        job.facts = {
            "judged": record.judged,
            "unscored": record.unscored,
            "calibrated": record.calibrated,
            "questions_sha256": record.questions_sha256,
            "data_sha256": data_sha256,
            "seed": options.seed,
        }


async def _soon(asked: Awaitable[Described], service: str) -> Described:
    """What the service says of itself; NotReadyError if it is away: a caller waits for this answer."""
    try:
        async with asyncio.timeout(_ASK_S):
            return await asked
    except TimeoutError as error:
        raise NotReadyError(f"the {service} has not answered within {_ASK_S:g} s; try again") from error


def text_part(text: str) -> TextPart:
    """Either of the two, "" being "reply"; InvalidInputError for anything else."""
    match text:
        case "" | "reply":
            return "reply"
        case "dialogue":
            return "dialogue"
    raise InvalidInputError(f"text must be 'reply' or 'dialogue', not {text[:40]!r}")


def _finished(job: ValuesJob, sha256: str, head: Head) -> ValuesJob:
    job.sha256, job.agreement, job.labels = sha256, head.agreement, cleaning(head)
    job.facts = {key: value for key, value in head.facts.items() if key != "labels"} | {"text": head.text}
    job.tell("fit", len(VALUES), len(VALUES))
    job.state = "succeeded"
    return job


def _judge_agreement(
    rows: Sequence[LabelledRow],
    given: Sequence[Mapping[str, list[float] | None]],
    prior: Mapping[str, list[float]] | None,
    seed: int,
) -> tuple[ValueAgreement, ...]:
    """All labels are held out from a judge: it was trained on none of them."""
    measured = []
    for value in VALUES:
        labels, answers, groups = [], [], []
        for row, numbers in zip(rows, given, strict=True):
            logprobs = numbers[value]
            if value not in row.labels or logprobs is None:
                continue
            labels.append(row.labels[value])
            answers.append(answer_probabilities(logprobs, None if prior is None else prior[value]))
            groups.append(row.group)
        measured.append(
            agreement(
                value,
                np.array(labels, dtype=np.int64),
                hard_labels(np.array(answers).reshape(-1, 3)),
                groups,
                train=None,
                thresholds=Thresholds(),
                seed=seed,
            )
        )
    return tuple(measured)


def _sample(rows: Sequence[LabelledRow], options: JudgeOptions) -> list[LabelledRow]:
    """About ``limit`` rows: whole prompts, drawn by hash, never more."""
    if len(rows) <= options.limit:
        return list(rows)
    chosen = held_out_groups(rows, options.limit / len(rows), options.seed)
    return [row for row in rows if row.group in chosen][: options.limit]


def _job_id(kind: JobKind, data: bytes, options: HeadOptions | JudgeOptions, of: str) -> str:
    settings = {name: getattr(options, name) for name in type(options).__slots__}
    return digest({"kind": kind, "data": sha256_bytes(data), "options": settings, "of": of})
