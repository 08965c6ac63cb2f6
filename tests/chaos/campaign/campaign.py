"""Runs of small studies, each disturbed by kills, until the plan is done; each held against its twin."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from tests.chaos.campaign.comparing import Result, differences, result_of, trainings
from tests.chaos.campaign.payments import Account, Snapshot, account
from tests.chaos.campaign.plan import Plan
from tests.chaos.campaign.system import System, payment_key
from tests.chaos.campaign.table import Kill, Outcome, RunOutcome
from tests.chaos.campaign.watching import Sight, Watcher
from tests.fakes.studies import other_set, study_json

log = structlog.get_logger(__name__)

_LOOK_S = 0.02
_LONGEST_RUN_S = 1200.0
_ENDS = ("run.succeeded", "run.failed", "run.cancelled", "verdict.reached", "run.started", "run.queued")


def campaign_study(seed: int, **changes: Any) -> dict[str, Any]:
    """Small, with every stage: two iterations, a control that is trained, general prompts."""
    arms = {"training_seeds": 1, "controls": ["other"], "other_reference_set": other_set()}
    return study_json(
        **{"principles": 7, "iterations": 2, "seed": seed, "arms": arms, "name": f"chaos-{seed}", **changes}
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """When a campaign gives up, and how long a victim stays away at most (seconds)."""

    campaign_s: float = 780.0
    pause_s: float = 1.0


class Campaign:
    """One system, one plan."""

    def __init__(
        self, system: System, plan: Plan, seeds: Sequence[int], limits: Limits, **study: Any
    ) -> None:
        self._system = system
        self._plan = plan
        self._seeds = tuple(seeds)
        self._limits = limits
        self._study = study
        self._watcher = Watcher(system.database)
        self._expected: dict[int, Result] = {}
        self._trained: dict[int, dict[str, int]] = {}

    def run(self) -> Outcome:
        """Undisturbed runs first, then disturbed ones until the plan is done or the time is over."""
        began = time.monotonic()
        outcome = Outcome(self._plan.victims, self._plan.stages, self._plan.left)
        for seed in self._seeds:
            run_id = self._system.create_run(campaign_study(seed, **self._study))
            self._follow(run_id, lambda sight: None)
            sight = self._watcher.look(run_id)
            assert sight.status == "succeeded", f"the undisturbed run {sight.status}: {sight.error}"
            self._expected[seed] = result_of(self._system, self._watcher, run_id)
            self._trained[seed] = trainings(self._system.folder, run_id)
        log.info("campaign.undisturbed", runs=len(self._seeds), took_s=round(time.monotonic() - began, 1))
        while not self._plan.done and time.monotonic() - began < self._limits.campaign_s:
            seed = self._seeds[len(outcome.runs) % len(self._seeds)]
            outcome.runs.append(self._disturbed(seed, len(outcome.runs), outcome.kills))
            took_s = round(time.monotonic() - began, 1)
            log.info(
                "campaign.run", number=len(outcome.runs), kills=len(outcome.kills), left=self._plan.left,
                status=outcome.runs[-1].status, took_s=took_s,
            )  # fmt: skip
        outcome.missed = self._plan.missed
        outcome.duration_s = time.monotonic() - began
        self._watcher.close()
        return outcome

    def _disturbed(self, seed: int, number: int, kills: list[Kill]) -> RunOutcome:
        """One run, with as many kills as the plan has for the stages that it comes to."""
        began, paid_before = time.monotonic(), len(self._system.payments())
        run_id = self._system.create_run(campaign_study(seed, **self._study))
        snapshots: list[Snapshot] = []
        own: list[Kill] = []
        not_before = 0.0

        def disturb(sight: Sight) -> None:
            nonlocal not_before
            victim = self._plan.victim(sight.stage)
            if victim is None or time.monotonic() < not_before:
                return
            # Anywhere in the stage, and not only where it begins.
            time.sleep(self._plan.uniform(0, 0.25))
            if self._watcher.look(run_id).stage != sight.stage:
                self._plan.miss()
                return
            kill = self._kill(run_id, seed, victim, sight.stage, number, snapshots)
            if kill is not None:
                own.append(kill)
            not_before = time.monotonic() + self._plan.uniform(0, 0.3)

        self._follow(run_id, disturb)
        sight = self._watcher.look(run_id)
        kills += own
        found: list[str] = []
        ends: dict[str, int] = {}
        if sight.status == "succeeded":
            found = differences(self._expected[seed], result_of(self._system, self._watcher, run_id))
            ends = trainings(self._system.folder, run_id)
            if ends.keys() != self._trained[seed].keys():
                found.append(f"trainings are {sorted(ends)}, not {sorted(self._trained[seed])}")
        paid: Account = account(self._system.payments()[paid_before:], snapshots)
        return RunOutcome(
            run_id=run_id,
            study_seed=seed,
            kills=len(own),
            duration_s=round(time.monotonic() - began, 2),
            status=sight.status,
            error=sight.error,
            differences=tuple(found),
            account=paid,
            trained_twice=tuple(name for name, count in ends.items() if count > 1),
            events=tuple(self._faults_of_events(run_id)),
        )

    def _follow(self, run_id: str, disturb: Callable[[Sight], None]) -> None:
        deadline = time.monotonic() + _LONGEST_RUN_S
        while time.monotonic() < deadline:
            sight = self._watcher.look(run_id)
            if sight.ended:
                return
            disturb(sight)
            time.sleep(_LOOK_S)
        raise AssertionError(f"run {run_id} did not end within {_LONGEST_RUN_S:g} s: {sight}")

    def _kill(
        self, run_id: str, seed: int, name: str, stage: str, number: int, snapshots: list[Snapshot]
    ) -> Kill | None:
        """Kill, wait, start again, and wait until the run does something; None if the stage was over."""
        victim = self._system.victim(name)
        began = time.monotonic()
        victim.kill()
        pause_s = self._plan.uniform(0, self._limits.pause_s)
        if name == "database":
            time.sleep(pause_s)
            victim.start()
            victim.wait_ready()
        # What was stored at the kill; of what comes after it, none may have been paid for already.
        after = self._watcher.look(run_id)
        stored = frozenset(payment_key(seed, row) for row in self._watcher.completions(run_id))
        snapshots.append(Snapshot(time.time_ns(), stored))
        if name != "database":
            time.sleep(max(0.0, pause_s - (time.monotonic() - began)))
            victim.start()
            victim.wait_ready()
        ready_s = time.monotonic() - began
        self._until_it_moves(run_id, after.last_event)
        recovery_s = time.monotonic() - began
        if after.stage != stage:
            self._plan.miss()
            return None
        self._plan.hit(name, stage)
        kill = Kill(number, name, stage, round(pause_s, 2), round(ready_s, 2), round(recovery_s, 2))
        log.info("campaign.kill", victim=name, stage=stage, recovery_s=kill.recovery_s, left=self._plan.left)
        return kill

    def _until_it_moves(self, run_id: str, after: int) -> None:
        deadline = time.monotonic() + _LONGEST_RUN_S / 2
        while time.monotonic() < deadline:
            kinds = {event["kind"] for event in self._watcher.events(run_id, after)}
            if kinds - {"service.waiting"} or self._watcher.look(run_id).ended:
                return
            time.sleep(_LOOK_S)
        raise AssertionError(f"run {run_id} stands still behind event {after}")

    def _faults_of_events(self, run_id: str) -> list[str]:
        events = self._watcher.events(run_id)
        numbers = [event["number"] for event in events]
        told = []
        if numbers != list(range(1, len(numbers) + 1)):
            told.append("event numbers have gaps")
        counts = Counter(event["kind"] for event in events)
        return told + [f"{counts[kind]} events {kind}" for kind in _ENDS if counts[kind] > 1]
