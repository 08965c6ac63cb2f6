"""What fits into a device: the generator's engine, and a training job. GiB a device, from the model's shape.

Both are sums of what is known to be kept, with one allowance for what is not (kernels' workspace, graphs,
fragments). docs/guides/cost.md states every term, and which of them were checked against what.
"""

from dataclasses import dataclass
from typing import Literal

from services.orchestrator.planning.shape import ModelShape

GIB = 2**30
ENGINE_ALLOWANCE_GIB = 2.0
TRAINING_ALLOWANCE_GIB = 1.5

Sharding = Literal["ddp", "fsdp2"]


@dataclass(frozen=True, slots=True)
class Serving:
    """How the generator's engine is started; its settings have these names.

    ``gpus`` share each layer, ``pipeline_gpus`` of such groups the stack of layers, and the engine has
    ``copies`` of all that: tensor, pipeline and data parallelism.
    """

    gpus: int = 1
    pipeline_gpus: int = 1
    copies: int = 1
    gpu_memory_utilization: float = 0.9
    max_model_len: int = 2048
    max_num_seqs: int = 256
    max_loras: int = 2
    max_lora_rank: int = 64
    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    bytes_a_weight: float = 2.0

    @property
    def all_gpus(self) -> int:
        """GPUs of the engine."""
        return self.gpus * self.pipeline_gpus * self.copies


@dataclass(frozen=True, slots=True)
class Training:
    """How a training job runs.

    Attributes:
        gpus: processes, one GPU each; the batch is divided among them.
        batch_size: examples of one step, over all processes.
        tokens: tokens of the longest example.
        answer_tokens: of these, those that a loss is computed on.
        rank, targets: of the adapter.
        bytes_a_weight: 2 for bfloat16, 4 for float32, about 0.56 for four bits with their scales.
        bytes_an_activation: 2 for bfloat16, 4 for float32.
        sharding: "fsdp2": the base's weights are divided among the GPUs; "ddp": each has them all.
        checkpointing: activations are computed again in the backward pass, layer by layer.
    """

    gpus: int = 1
    batch_size: int = 4
    tokens: int = 1024
    answer_tokens: int = 96
    rank: int = 16
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    bytes_a_weight: float = 2.0
    bytes_an_activation: float = 2.0
    sharding: Sharding = "ddp"
    checkpointing: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """What is needed of one device, GiB by part, and how many sequences the rest has room for.

    ``sequences`` is None where that says nothing (training, or no device).
    """

    what: str
    gpus: int
    parts: dict[str, float]
    usable_gib: float | None
    sequences: int | None = None

    @property
    def needed_gib(self) -> float:
        """The sum of the parts."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool | None:
        """None without a device to fit into."""
        return None if self.usable_gib is None else self.needed_gib <= self.usable_gib


def generation_memory(shape: ModelShape, serving: Serving, device_gib: float | None) -> Need:
    """The engine on each of its GPUs: weights, adapter slots, and a cache for one sequence at the least.

    A key-value head is never divided, so that more GPUs than heads each keep one. Of a pipeline's stages the
    largest counts. The sequences are those of all copies.
    """
    gpus = serving.gpus
    stage = -(-shape.layers // serving.pipeline_gpus) / shape.layers
    sequence = _sequence_gib(shape, serving) * stage
    slots = stage * shape.lora_weights(serving.max_lora_rank, serving.lora_targets) * serving.max_loras
    parts = {
        "weights": _stage_weights(shape, serving) * serving.bytes_a_weight / gpus / GIB,
        "adapter slots": slots * 2 / gpus / GIB,
        "allowance": ENGINE_ALLOWANCE_GIB,
        "cache of one sequence": sequence,
    }
    if device_gib is None:
        return Need("generation", serving.all_gpus, parts, None)
    usable = device_gib * serving.gpu_memory_utilization
    rest = usable - sum(parts.values()) + sequence
    return Need("generation", serving.all_gpus, parts, usable, max(0, int(rest / sequence)) * serving.copies)


def training_memory(shape: ModelShape, training: Training, device_gib: float | None) -> Need:
    """A LoRA job on each of its GPUs: frozen weights, the adapter with AdamW's state, what the backward pass
    keeps, and the logits of the answers."""
    shards = training.gpus if training.sharding == "fsdp2" else 1
    examples = -(-training.batch_size // training.gpus)
    tokens = examples * training.tokens
    adapter = shape.lora_weights(training.rank, training.targets)
    weights = shape.weights * training.bytes_a_weight
    parts = {
        "weights": weights / shards / GIB,
        # In float32: the weight, its gradient and AdamW's two moments.
        "adapter and optimiser": adapter * 16 / GIB,
        "activations": _activations(shape, training, tokens) / GIB,
        # The projection's result, and in float32 what the loss is computed on, its softmax and its gradient.
        "logits": examples
        * training.answer_tokens
        * shape.vocabulary
        * (2 * training.bytes_an_activation + 12)
        / GIB,
        "allowance": TRAINING_ALLOWANCE_GIB,
    }
    if shards > 1:
        # One layer is whole while it is computed, and the next is fetched meanwhile.
        parts["gathered layers"] = 2 * weights / shape.layers / GIB
    return Need("training", training.gpus, parts, device_gib)


def layer_activation_bytes(shape: ModelShape, width: float, mask_bytes: float = 1.0) -> float:
    """What one layer keeps of one token for the backward pass, ``width`` bytes a number: with frozen weights,
    a LoRA with dropout on the four modules of attention, and attention that keeps no matrix of scores.

    Two norms keep their input in float32; attention keeps queries, keys, values and its result; each adapted
    module keeps what its dropout let through, and the mask (``mask_bytes`` a number: 1 on a GPU); the gated
    feed-forward keeps both halves and the activation between them.
    """
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = 2 * shape.hidden * 4
    attention = (2 * query + 2 * key) * width
    adapted = (3 * shape.hidden + query) * (width + mask_bytes)
    feed_forward = 3 * shape.intermediate * shape.active_experts * width
    return norms + attention + adapted + feed_forward


def _stage_weights(shape: ModelShape, serving: Serving) -> float:
    """Weights of the largest stage of the pipeline: its layers, and the input's or the output's embedding."""
    if serving.pipeline_gpus == 1:
        return shape.weights
    embedding = shape.vocabulary * shape.hidden
    layers = shape.weights - embedding * (1 if shape.tied else 2)
    return layers * -(-shape.layers // serving.pipeline_gpus) / shape.layers + embedding


def _activations(shape: ModelShape, training: Training, tokens: int) -> float:
    layer = layer_activation_bytes(shape, training.bytes_an_activation) * tokens
    if not training.checkpointing:
        return layer * shape.layers
    return layer + shape.layers * shape.hidden * training.bytes_an_activation * tokens


def _sequence_gib(shape: ModelShape, serving: Serving) -> float:
    """The cache of one sequence of full length on one GPU, in bfloat16."""
    divided = min(serving.gpus, shape.kv_heads)
    return shape.kv_elements * 2 * serving.max_model_len / divided / GIB
