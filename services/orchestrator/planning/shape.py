"""A language model's shape, from its config.json or from a size by name, and how many weights it has.

Known: decoders with rotary positions and a gated feed-forward of three matrices (Llama, Mistral, Qwen, Gemma,
Phi-3 and what descends from them), dense or with experts. Of any other the number of weights must be given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.common.errors import InvalidInputError

_ATTENTION = {"q_proj": "query", "k_proj": "key", "v_proj": "key", "o_proj": "output"}
_FEED_FORWARD = {"gate_proj": "up", "up_proj": "up", "down_proj": "down"}


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a decoder.

    Attributes:
        name: what it is called in a plan.
        layers, hidden, heads, kv_heads, head_dim, intermediate, vocabulary: as in its config.json.
        tied: the output embedding is the input's.
        experts: feed-forwards a layer; 1 for a dense model.
        active_experts: of these, what one token goes through.
        parameters: weights in all, if they were given and not computed; 0 to compute.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool = False
    experts: int = 1
    active_experts: int = 1
    parameters: int = 0

    @property
    def weights(self) -> int:
        """Number of weights: embeddings, attention, feed-forwards and norms; biases are left out."""
        return self.parameters or self._count(self.experts)

    @property
    def active_weights(self) -> int:
        """Weights that one token is multiplied with; the input embedding is a look-up and left out."""
        if self.parameters and self.experts == 1:
            return self.parameters
        looked_up = 0 if self.tied else self.vocabulary * self.hidden
        return self._count(self.active_experts) - looked_up

    @property
    def kv_elements(self) -> int:
        """Numbers that the cache keeps of one token: a key and a value a layer and head."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    def lora_weights(self, rank: int, targets: tuple[str, ...]) -> int:
        """Weights of an adapter on these modules. InvalidInputError for a module that is not known here."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        widths = {
            "query": self.hidden + query,
            "key": self.hidden + key,
            "output": query + self.hidden,
            "up": self.hidden + self.intermediate,
            "down": self.intermediate + self.hidden,
        }
        each = 0
        for target in targets:
            kind = (_ATTENTION | _FEED_FORWARD).get(target)
            if kind is None:
                known = ", ".join(_ATTENTION | _FEED_FORWARD)
                raise InvalidInputError(
                    f"lora.target_modules has {target!r}, whose size is not known here; known are {known}"
                )
            copies = self.experts if target in _FEED_FORWARD else 1
            each += rank * widths[kind] * copies
        return self.layers * each

    def _count(self, experts: int) -> int:
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = self.hidden * (2 * query + 2 * key)
        feed_forward = 3 * self.hidden * self.intermediate * experts
        router = self.hidden * self.experts if self.experts > 1 else 0
        layer = attention + feed_forward + router + 2 * self.hidden
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * layer + embeddings + self.hidden


def _dense(name: str, sizes: tuple[int, int, int, int, int, int, int], tied: bool = False) -> ModelShape:
    layers, hidden, heads, kv_heads, head_dim, intermediate, vocabulary = sizes
    return ModelShape(name, layers, hidden, heads, kv_heads, head_dim, intermediate, vocabulary, tied)


SHAPES: Mapping[str, ModelShape] = {
    shape.name: shape
    for shape in (
        # layers, hidden, heads, kv heads, head size, feed-forward, vocabulary
        _dense("135m", (30, 576, 9, 3, 64, 1536, 49152), tied=True),
        _dense("1b", (16, 2048, 32, 8, 64, 8192, 128256), tied=True),
        _dense("3b", (28, 3072, 24, 8, 128, 8192, 128256), tied=True),
        _dense("8b", (32, 4096, 32, 8, 128, 14336, 128256)),
        _dense("14b", (48, 5120, 40, 8, 128, 13824, 152064)),
        _dense("32b", (64, 5120, 40, 8, 128, 27648, 152064)),
        _dense("70b", (80, 8192, 64, 8, 128, 28672, 128256)),
    )
}
"""Shapes that open models of these sizes have: 135m, 1b, 3b, 8b and 70b as Llama, 14b and 32b as Qwen."""


def named_shape(name: str) -> ModelShape:
    """One of ``SHAPES``. InvalidInputError names those that there are."""
    try:
        return SHAPES[name.lower()]
    except KeyError:
        raise InvalidInputError(
            f"there is no shape {name[:80]!r}; there are {', '.join(SHAPES)}, or give the model's config.json"
        ) from None


def shape_of(config: Mapping[str, Any], name: str = "", parameters: int = 0) -> ModelShape:
    """The shape that a config.json states.

    Args:
        config: the file's content; of a model of several kinds of input its text part is taken.
        name: what to call it; by default the config's own ``_name_or_path`` or ``model_type``.
        parameters: number of weights, where it is known better than by counting.

    Raises:
        InvalidInputError: a size is missing, is no number, or is not above 0.
    """
    text = config.get("text_config")
    found = text if isinstance(text, Mapping) else config
    hidden, heads = _size(found, "hidden_size"), _size(found, "num_attention_heads")
    experts = _size(found, "num_local_experts", _size(found, "num_experts", 1))
    intermediate = _size(found, "intermediate_size", 0 if experts > 1 else None)
    if experts > 1:
        intermediate = _size(found, "moe_intermediate_size", intermediate or None)
    made = ModelShape(
        name=name or str(config.get("_name_or_path") or config.get("model_type") or "model"),
        layers=_size(found, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=_size(found, "num_key_value_heads", heads),
        head_dim=_size(found, "head_dim", max(1, hidden // heads)),
        intermediate=intermediate,
        vocabulary=_size(found, "vocab_size"),
        tied=bool(config.get("tie_word_embeddings", found.get("tie_word_embeddings", False))),
        experts=experts,
        active_experts=min(experts, _size(found, "num_experts_per_tok", 1)),
    )
    return replace(made, parameters=parameters) if parameters else made


def _size(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**40:
        raise InvalidInputError(
            f"the model's config has {key}: {str(value)[:40]}; it must be a number above 0. Give a"
            " config.json of a decoder, or a shape by name"
        )
    return value
