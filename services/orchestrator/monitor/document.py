"""The file that ``valign monitors create`` takes: what is watched, when, how, and what drift does."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from services.orchestrator.schemas import PromptSetChoice, ReferenceSetChoice, Slug, TopicsChoice, Words
from services.orchestrator.study import ResolvedStudy, Study, resolve
from services.orchestrator.study_sections import EndpointSettings, Section


class TargetSettings(Section):
    """What is watched: a public name of the registry, or an endpoint of somebody else's."""

    route: Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    endpoint: EndpointSettings | None = None

    @model_validator(mode="after")
    def _one(self) -> "TargetSettings":
        if (self.route is None) == (self.endpoint is None):
            raise ValueError("name either a route or an endpoint")
        return self


class SampleSettings(Section):
    """How much is asked. ``prompts_per_topic`` are frozen with the first baseline, and each period asks each
    of them once; a baseline asks each ``baseline_draws`` times."""

    prompts_per_topic: Annotated[int, Field(ge=2, le=200)] = 10
    baseline_draws: Annotated[int, Field(ge=2, le=20)] = 4
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 96
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


class AlarmSettings(Section):
    """When drift is said. ``significance``: most a period without any change may raise an alarm with.

    ``min_effect``: smallest change of a topic, as value difference or energy distance, that is worth an
    alarm. ``raise_after`` periods in a row raise, ``clear_after`` normal ones clear. ``failures``: failed
    measurements in a row that raise an alarm of their own.
    """

    significance: Annotated[float, Field(ge=0.002, le=0.2)] = 0.01
    permutations: Annotated[int, Field(ge=199, le=20_000)] = 999
    min_effect: Annotated[float, Field(ge=0, le=2)] = 0.0
    raise_after: Annotated[int, Field(ge=1, le=10)] = 1
    clear_after: Annotated[int, Field(ge=1, le=100)] = 3
    failures: Annotated[int, Field(ge=1, le=100)] = 3

    @model_validator(mode="after")
    def _fine_enough(self) -> "AlarmSettings":
        if (self.permutations + 1) * self.significance < 1:
            raise ValueError(
                f"{self.permutations} permutations give no p-value below {1 / (self.permutations + 1):.4f};"
                f" ask for {int(1 / self.significance)} or more"
            )
        return self


class LiveSettings(Section):
    """What people ask by the public name is looked at too: a share of it, redacted, and kept for a while.

    ``rate``: share of the exchanges. ``window``: exchanges that are compared at once with the first ones
    after a promotion. ``raise_after`` windows in a row that moved raise an alarm; it clears as the others do.
    ``keep_samples`` and ``keep_days``: at most so many, and none for longer.
    """

    rate: Annotated[float, Field(gt=0, le=1)]
    window: Annotated[int, Field(ge=20, le=2000)] = 200
    raise_after: Annotated[int, Field(ge=1, le=10)] = 2
    keep_samples: Annotated[int, Field(ge=20, le=100_000)] = 2000
    keep_days: Annotated[float, Field(gt=0, le=365)] = 7.0

    @model_validator(mode="after")
    def _kept(self) -> "LiveSettings":
        if self.keep_samples < self.window:
            raise ValueError(
                f"keep_samples is {self.keep_samples}, fewer than a window of {self.window}; no window would"
                " ever be whole"
            )
        return self


class OpenRunSettings(Section):
    """Drift opens a run of this study, besides the alarm; nothing that it trains is promoted without a
    person."""

    study: Study


class MonitorDocument(Section):
    """A monitor, as people write it. Sets are a packaged id or written out in the file."""

    name: Slug
    description: Words | None = None
    target: TargetSettings
    topics: TopicsChoice = "ai-for-social-good"
    reference_set: ReferenceSetChoice = "ten-commandments"
    prompt_set: PromptSetChoice = "instruct"
    ruler: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    schedule: Annotated[str, Field(max_length=200)] = "0 * * * *"
    time_zone: Annotated[str, Field(max_length=64)] = "UTC"
    samples: SampleSettings = SampleSettings()
    alarms: AlarmSettings = AlarmSettings()
    live: LiveSettings | None = None
    on_drift: Literal["alarm"] | OpenRunSettings = "alarm"

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            raise ValueError(
                f"{value[:40]!r} is no IANA time zone; write it as Europe/Berlin or UTC"
            ) from None
        return value

    @field_validator("schedule")
    @classmethod
    def _comes(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError(
                "a schedule has cron's five fields (minute hour day month weekday), as 0 * * * *; none"
                " comes more often"
                " than each minute"
            )
        try:
            next_fire(value, "UTC", datetime(2026, 1, 1, tzinfo=UTC))
        except ValueError as error:
            raise ValueError(f"{value[:60]!r} is no schedule that ever comes: {error}") from None
        return value

    @model_validator(mode="after")
    def _ours(self) -> "MonitorDocument":
        if self.live is not None and self.target.route is None:
            raise ValueError("live looks at what our generator serves: name a route, not an endpoint")
        return self

    def resolved(self) -> ResolvedStudy:
        """Topics, reference set and prompt set in full; InvalidInputError names what does not fit."""
        return resolve(
            Study(
                name=self.name,
                topics=self.topics,
                reference_set=self.reference_set,
                prompt_set=self.prompt_set,
                measure_only=True,
            )
        )

    def frozen(self) -> dict[str, Any]:
        """JSON-able, with the sets written out: a later version's packaged sets do not change a monitor."""
        whole = self.resolved().as_json()
        sets = {name: whole[name] for name in ("topics", "reference_set", "prompt_set")}
        return {**self.model_dump(mode="json"), **sets}


def next_fire(schedule: str, time_zone: str, after: datetime) -> datetime:
    """The schedule's first moment after another, in UTC. ValueError for one that never comes."""
    from croniter import CroniterError, croniter

    try:
        found: datetime = croniter(schedule, after.astimezone(ZoneInfo(time_zone))).get_next(datetime)
    except CroniterError as error:
        raise ValueError(str(error)) from None
    return found.astimezone(UTC)
