"""Seconds: from what past runs measured, from what the caller says, or from a device's data sheet."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from services.orchestrator.planning.devices import Device
from services.orchestrator.planning.memory import Serving, Training
from services.orchestrator.planning.shape import ModelShape
from services.orchestrator.planning.tokens import Quantities

GENERATION_EFFICIENCY = 0.5
"""Share of the bandwidth or arithmetic that an engine reaches while it generates. An assumption."""

PREFILL_EFFICIENCY = 0.4
"""Share of the arithmetic while it reads prompts. An assumption."""

TRAINING_EFFICIENCY = 0.3
"""Share of the arithmetic that a LoRA job reaches (its model FLOPs utilisation). An assumption."""

_OPERATIONS_READ = 2  # a multiplication and an addition a weight
_OPERATIONS_TRAINED = 4  # forward, and backward through the activations; frozen weights need no gradient


@dataclass(frozen=True, slots=True)
class Speeds:
    """What a service does in a second of wall time, over all its GPUs; None where nothing says.

    ``completion_tokens_per_s`` counts completions alone and pays for reading their prompts too.
    """

    completion_tokens_per_s: float | None = None
    scores_per_s: float | None = None
    embeddings_per_s: float | None = None
    trained_examples_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Seconds:
    """Wall seconds by service; None where no speed is known."""

    generation: float | None = None
    scoring: float | None = None
    embedding: float | None = None
    training: float | None = None

    @property
    def known(self) -> float:
        """The sum of what is known."""
        parts = (self.generation, self.scoring, self.embedding, self.training)
        return sum(part for part in parts if part is not None)

    @property
    def complete(self) -> bool:
        """Whether every part is known."""
        return all(getattr(self, field.name) is not None for field in fields(self))


def first_known(*sources: Speeds) -> Speeds:
    """Each speed from the first source that has it."""
    found = {}
    for field in fields(Speeds):
        values = (getattr(source, field.name) for source in sources)
        found[field.name] = next((value for value in values if value is not None), None)
    return Speeds(**found)


def seconds_of(quantities: Quantities, speeds: Speeds) -> Seconds:
    """Wall seconds that these quantities take. Nothing to do takes none, whatever the speed."""
    return Seconds(
        generation=_over(quantities.completion_tokens, speeds.completion_tokens_per_s),
        scoring=_over(quantities.scores, speeds.scores_per_s),
        embedding=_over(quantities.embeddings, speeds.embeddings_per_s),
        training=_over(quantities.trained_examples, speeds.trained_examples_per_s),
    )


def data_sheet_speeds(
    shape: ModelShape,
    device: Device,
    serving: Serving,
    training: Training,
    quantities: Quantities,
    sequences: int,
    replicas: int = 1,
) -> Speeds:
    """A first guess from arithmetic and bandwidth alone, by the roofline; never measured.

    A step of the engine reads all weights once and gives each of ``sequences`` a token; it takes as long
    as the slower of reading and computing. In a pipeline the sequences are shared by as many groups as it has
    stages, and each stage reads its weights for every group. ``quantities`` tell how many prompt tokens come
    with a completion token; ``replicas`` engines, and the copies in each, do that side by side. Workers of a
    training job that no example is left for add nothing.
    """
    if not device.tflops or not device.gb_s or sequences < 1:
        return Speeds()
    flops, bandwidth = device.tflops * 1e12, device.gb_s * 1e9
    gpus = serving.gpus * serving.pipeline_gpus
    batch = max(1, min(sequences // serving.copies, serving.max_num_seqs)) / serving.pipeline_gpus
    read_s = shape.weights * serving.bytes_a_weight / (bandwidth * gpus * GENERATION_EFFICIENCY)
    each_s = _OPERATIONS_READ * shape.active_weights / (flops * gpus * GENERATION_EFFICIENCY)
    token_s = max(read_s, batch * each_s) / batch
    prefill_s = _OPERATIONS_READ * shape.active_weights / (flops * gpus * PREFILL_EFFICIENCY)
    engines = replicas * serving.copies
    prompts = quantities.prompt_tokens / max(1, quantities.completion_tokens)
    scored = quantities.scored_tokens / max(1, quantities.scores)
    trained = quantities.trained_tokens / max(1, quantities.trained_examples)
    # The step ends with the worker that has most examples.
    busy = training.batch_size / -(-training.batch_size // training.gpus)
    step_s = _OPERATIONS_TRAINED * shape.active_weights / (flops * busy * TRAINING_EFFICIENCY)
    return Speeds(
        completion_tokens_per_s=engines / (token_s + prompts * prefill_s),
        scores_per_s=engines / (scored * prefill_s) if scored else None,
        trained_examples_per_s=1 / (trained * step_s) if trained else None,
    )


def measured_speeds(used: Mapping[str, float]) -> Speeds:
    """Speeds from what past runs used: counts, and wall seconds by what they went into."""
    return Speeds(
        completion_tokens_per_s=_rate(used, "completion_tokens", "generation_s"),
        scores_per_s=_rate(used, "scores", "scoring_s"),
        embeddings_per_s=_rate(used, "embeddings", "embedding_s"),
        trained_examples_per_s=_rate(used, "trained_examples", "training_s"),
    )


def _rate(used: Mapping[str, float], count: str, seconds: str) -> float | None:
    spent = used.get(seconds, 0.0)
    return used[count] / spent if spent > 0 and used.get(count) else None


def _over(count: int, speed: float | None) -> float | None:
    if not count:
        return 0.0
    return count / speed if speed else None
