"""Which speeds a plan takes: those given, those measured on the same hardware, or a data sheet's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from services.orchestrator.planning.devices import Device
from services.orchestrator.planning.document import PlanRequest, SpeedBody
from services.orchestrator.planning.hardware import Asked, Hardware
from services.orchestrator.planning.memory import Serving, Training
from services.orchestrator.planning.past import Measured, Past, summed_use
from services.orchestrator.planning.speed import Speeds, first_known, measured_speeds

_SERVING = {"gpus", "pipeline_gpus", "copies"}
# What a run must have used to tell of it, and the speeds that it then tells.
_TELLS = {
    "Generation": ("generation_s", ("completion_tokens_per_s", "scores_per_s", "embeddings_per_s")),
    "Training": ("training_s", ("trained_examples_per_s",)),
}


@dataclass(frozen=True, slots=True)
class Pace:
    """The speeds, where each is from, and sentences that say which runs were taken and which were not."""

    speeds: Speeds
    sources: tuple[SpeedBody, ...]
    notes: tuple[str, ...]


def choose_pace(
    request: PlanRequest,
    past: Past,
    device: Device | None,
    serving: Serving,
    training: Training,
    serving_device: str,
    sheet: Speeds,
) -> Pace:
    """Each speed from the first that has it. ``serving_device`` is what the generator says of itself."""
    given = Speeds(**{field.name: getattr(request, field.name) for field in fields(Speeds)})
    said = request.model_fields_set
    engine, job = _asked(request, device), _asked(request, device)
    engine = replace(
        engine,
        gpus=serving.all_gpus if device or said & _SERVING else None,
        replicas=request.replicas if device or "replicas" in said else None,
        serving="" if device else serving_device,
    )
    job = replace(job, gpus=training.gpus if device or "training_gpus" in said else None)
    notes: list[str] = []
    generated = _matching("Generation", past, lambda run: run.generated_on, engine, given, notes)
    trained = _matching("Training", past, lambda run: run.trained_on, job, given, notes)
    measured = replace(
        measured_speeds(summed_use(generated)),
        trained_examples_per_s=measured_speeds(summed_use(trained)).trained_examples_per_s,
    )
    found = first_known(given, measured, sheet)
    sources = []
    for field in fields(Speeds):
        value = getattr(found, field.name)
        for source, speeds in (("given", given), ("past runs", measured), ("data sheet", sheet)):
            if value is not None and getattr(speeds, field.name) is not None:
                sources.append(SpeedBody(what=field.name, per_s=round(value, 3), source=source))
                break
    return Pace(found, tuple(sources), tuple(notes))


def pace_here(past: Past, here: Hardware) -> tuple[Speeds, dict[str, float]]:
    """Speeds of past runs whose generator ran on what this one says of itself, and what they used.

    Nobody knows the trainer's hardware before it has trained: the newest run's is taken.
    """
    generated = [
        run
        for run in past.measured
        if not run.generated_on.device or replace(run.generated_on, replicas=here.replicas) == here
    ]
    trained = [run for run in generated if run.used.get("training_s")]
    trained = [run for run in trained if run.trained_on.like(trained[0].trained_on)]
    used = summed_use(generated)
    examples_per_s = measured_speeds(summed_use(trained)).trained_examples_per_s
    return replace(measured_speeds(used), trained_examples_per_s=examples_per_s), used


def _asked(request: PlanRequest, device: Device | None) -> Asked:
    return Asked(device=device, named=bool(request.device))


def _matching(
    what: str,
    past: Past,
    on: Callable[[Measured], Hardware],
    asked: Asked,
    given: Speeds,
    notes: list[str],
) -> Sequence[Measured]:
    """The runs whose hardware is what is asked about, all of the newest such run's kind.

    Says which, unless the request gives every speed that they could tell.
    """
    seconds, names = _TELLS[what]
    able = [run for run in past.measured if run.used.get(seconds)]
    met = [run for run in able if asked.met_by(on(run))]
    taken = [run for run in met if on(run).like(on(met[0]))]
    told = measured_speeds(summed_use(taken or able))
    if all(getattr(told, name) is None or getattr(given, name) is not None for name in names):
        return taken
    if taken:
        tell = "tells" if len(taken) == 1 else "tell"
        notes.append(f"{what}: {_runs(len(taken))} on {on(taken[0])} {tell} how fast it is.")
    elif len(able) == 1:
        notes.append(
            f"{what}: {_runs(1)}, on {on(able[0])}, does not tell how fast {asked} is, and is not taken."
        )
    else:
        notes.append(
            f"{what}: {_runs(len(able))}, the newest on {on(able[0])}, do not tell how fast {asked} is, and"
            " are not taken."
        )
    return taken


def _runs(count: int) -> str:
    return f"{count} past run{'s' * (count > 1)} of this model"
