"""What closing a review makes: its numbers, the gate's new decision, and a new revision of the run's report.

The verdict is the run's own, of the same evidence, with the rules on human review decided anew. The report of
before stays where it is. Everything is written before the one transaction that makes it the run's; a close
that was cut is repeated.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from services.common.artifacts import Artifact, sha256_bytes
from services.common.errors import ConflictError
from services.orchestrator.analysis.gate import reviewed
from services.orchestrator.analysis.human_review import (
    FrozenItem,
    HumanReview,
    Rating,
    ReviewFile,
    Revision,
)
from services.orchestrator.analysis.rated import review_results
from services.orchestrator.analysis.stage_one import freeze
from services.orchestrator.identity import current_principal
from services.orchestrator.ports import RunRecord, RunStore
from services.orchestrator.report.html import render_html
from services.orchestrator.report.model_card import model_card
from services.orchestrator.report.schema import SCHEMA_VERSION, Report
from services.orchestrator.review.evidence import read_evidence, read_report
from services.orchestrator.review.export import stand_ins
from services.orchestrator.review.records import Given, NewRevision, Said, Whole
from services.orchestrator.review.storing import Artifacts, ReviewStore, RevisionStore

_ATTEMPTS: Final = 5


class Closer:
    """Writes revisions. Blocking, for seconds: async callers use a thread."""

    def __init__(
        self,
        store: ReviewStore,
        revisions: RevisionStore,
        runs: RunStore,
        artifacts: Artifacts,
        render: Callable[[Report], str] = render_html,
    ) -> None:
        self._store = store
        self._revisions = revisions
        self._runs = runs
        self._artifacts = artifacts
        self._render = render

    def finish(self, review: Whole) -> Whole:
        """The revision of a closed review; what is written already stays.

        PreconditionError: report or evidence are damaged. ConflictError: others kept revising the report.
        """
        items, said = self._store.frozen(review.review_id)
        for _ in range(_ATTEMPTS):
            run = self._runs.get_run(review.run_id)
            new = self._written(review, run, items, said)
            self._revisions.finish(review, (run.report_uri, run.report_html_uri), new)
            now = self._store.whole(review.review_id)
            if now.revision:
                return now
        raise ConflictError(
            f"the report of run {review.run_id} was revised by others each time; close the review again"
        )

    def _written(
        self, review: Whole, run: RunRecord, items: Sequence[FrozenItem], said: Sequence[Said]
    ) -> NewRevision:
        old = read_report(self._runs, self._artifacts, run)
        evidence = read_evidence(self._artifacts, run.run_id, old)
        _, stage = freeze(
            evidence,
            arms=review.arms,
            threshold=review.threshold,
            items_per_topic=review.items_per_topic,
            seed=review.seed,
        )
        file = review_file(review, items, said)
        found = review_results(file, stage, evidence.topic_ids, evidence.study["measurement"])
        folder = f"runs/{run.run_id}"
        kept = self._keep(f"{folder}/review-{review.review_id}", "json", _bytes(file))
        found = found.model_copy(update={"file": kept.uri, "file_sha256": kept.sha256})
        number = len(self._revisions.revisions(run.run_id)) + 2
        report = revise(old, found, number, current_principal().name)
        # Under their hashes: the files of before stay.
        stored = self._keep(f"{folder}/report", "json", report.to_json().encode("utf-8"))
        page = self._keep(f"{folder}/report", "html", self._render(report).encode("utf-8"))
        if report.adapter is not None:
            self._artifacts.put_bytes(f"{folder}/model-card.md", model_card(report).encode("utf-8"))
        verdict = report.analysis.verdict if report.analysis else None
        deciding = (
            [reason for reason in verdict.reasons if reason.outcome == verdict.decision] if verdict else []
        )
        return NewRevision(
            number=number,
            report_uri=stored.uri,
            report_sha256=stored.sha256,
            html_uri=page.uri,
            html_sha256=page.sha256,
            decision=verdict.decision if verdict else "",
            headline=verdict.headline if verdict else "",
            reasons=tuple(reason.model_dump(mode="json", exclude={"outcome"}) for reason in deciding),
            adapter=report.adapter.name if report.adapter else "",
            results=found.model_dump(mode="json"),
        )

    def _keep(self, name: str, kind: str, data: bytes) -> Artifact:
        return self._artifacts.put_bytes(f"{name}-{sha256_bytes(data)[:16]}.{kind}", data)


def revise(report: Report, found: HumanReview, number: int, by: str) -> Report:
    """The report with a closed review in it, and the verdict that follows."""
    revision = Revision(
        number=number, time=datetime.now(UTC), by=by, reason=f"human review {found.review_id} was closed"
    )
    analysis = report.analysis
    if analysis is not None:
        analysis = reviewed(analysis, report.study["gate"], found)
    changes = {
        "schema_version": SCHEMA_VERSION,
        "analysis": analysis,
        "human_review": found,
        "revision": revision,
    }
    return report.model_copy(update=changes)


def review_file(review: Whole, items: Sequence[FrozenItem], said: Sequence[Said]) -> ReviewFile:
    """The frozen file: ratings under stand-ins for the reviewers, and no comment."""
    names = stand_ins(said)
    rated = [one for one in said if one.state is Given.RATED]
    return ReviewFile(
        review_id=review.review_id,
        run_id=review.run_id,
        title=review.title,
        rubric=review.rubric,
        threshold=review.threshold,
        arms=review.arms,
        items_per_topic=review.items_per_topic,
        seed=review.seed,
        reviewers_per_item=review.reviewers_per_item,
        author=names.get(review.author, "") if any(one.reviewer == review.author for one in rated) else "",
        flagged=sum(one.state is Given.FLAGGED for one in said),
        items_sha256=review.items_sha256,
        items=tuple(items),
        ratings=tuple(
            Rating(number=one.number, reviewer=names[one.reviewer], rating=one.rating) for one in rated
        ),
    )


def _bytes(file: ReviewFile) -> bytes:
    return (file.model_dump_json(indent=1) + "\n").encode("utf-8")
