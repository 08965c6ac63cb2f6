"""Tiny causal language models, randomly initialised, with real tokenizers trained in code.

They have the architectures, file layout, tokenizers and chat templates of real models, so
whatever loads a Hugging Face folder loads them, in a second and in a megabyte. Each
architecture has its own vocabulary, depth and width: nothing may be assumed of them.
What they say has no meaning, unless `teach` has taught them some sentences.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from services.common.prompting import end_of_turn_ids, render_continuation, render_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

Arch = Literal["llama", "qwen2", "gemma3"]

_MAX_POSITIONS = 2048
# Learning rate times width: wider models want smaller steps.
_TEACH_RATE_WIDTH = 0.64
_TEACH_ANSWERS = 16
_SLIDING_WINDOW = 64

_LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
_QWEN2_TEMPLATE = (
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_GEMMA3_TEMPLATE = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\\n\\n' %}"
    "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + (first if loop.first else '') + m['content'] | trim "
    "+ '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class _Shape:
    vocab_size: int
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    specials: tuple[str, ...]
    bos: str | None
    eos: str
    turn_end: str
    pad: str
    template: str


_SHAPES: dict[str, _Shape] = {
    "llama": _Shape(
        vocab_size=384,
        layers=2,
        hidden=64,
        heads=2,
        kv_heads=1,
        head_dim=32,
        specials=(
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
            "<|pad|>",
        ),
        bos="<|begin_of_text|>",
        eos="<|end_of_text|>",
        turn_end="<|eot_id|>",
        pad="<|pad|>",
        template=_LLAMA_TEMPLATE,
    ),
    "qwen2": _Shape(
        vocab_size=448,
        layers=3,
        hidden=128,
        heads=4,
        kv_heads=2,
        head_dim=32,
        specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        bos=None,
        eos="<|endoftext|>",
        turn_end="<|im_end|>",
        pad="<|endoftext|>",
        template=_QWEN2_TEMPLATE,
    ),
    "gemma3": _Shape(
        vocab_size=512,
        layers=4,
        hidden=128,
        heads=2,
        kv_heads=1,
        head_dim=64,
        specials=("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        turn_end="<end_of_turn>",
        pad="<pad>",
        template=_GEMMA3_TEMPLATE,
    ),
}

_CORPUS = (
    "An AI system should be open about how it works and whom it serves.",
    "You shall not bear false witness against your neighbour.",
    "You shall not take what is not yours, and you shall keep what is entrusted to you.",
    "Personal data shall be processed lawfully, fairly and in a transparent manner.",
    "State one principle that ensures transparency and accountability in artificial intelligence.",
    "The user asks; the assistant answers in one clear sentence.",
    "Rest on the seventh day. Honour your father and your mother.",
    "人工智能系统应当公开透明,对其决定负责。",
    "يجب أن يكون النظام عادلاً وشفافاً وأن يحمي الخصوصية.",
    "Les données personnelles sont traitées de manière loyale. ¿Qué es un principio?",
    "0 1 2 3 4 5 6 7 8 9, yes; no: (maybe) \"quoted\" - 'single' … 100%\n",
)


def make_tiny_model(arch: Arch, folder: Path, chat_template: bool = True, seed: int = 0) -> Path:
    """Writes a tiny random model with its tokenizer into `folder` and returns `folder`.

    Args:
        arch: "llama", "qwen2" or "gemma3".
        folder: made if it does not exist.
        chat_template: False gives a base model: the tokenizer has no chat template, and the
            end-of-sequence token ends a text. True gives the family's chat template, with its
            own end-of-turn token.
        seed: of the weights. The tokenizer does not depend on it.
    """
    import torch
    from transformers import GenerationConfig

    shape = _SHAPES[arch]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _make_tokenizer(shape, chat_template)
    config, model_class = _make_config(arch, shape, tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    end_ids = [tokenizer.convert_tokens_to_ids(shape.eos)]
    if chat_template:
        end_ids.append(tokenizer.convert_tokens_to_ids(shape.turn_end))
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=end_ids, pad_token_id=tokenizer.pad_token_id
    )
    model.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


@dataclass(frozen=True, slots=True)
class Lesson:
    """A conversation, the begun answer or "", and what may follow; one of the answers, by chance."""

    messages: Sequence[Mapping[str, str]]
    prefill: str
    answers: Sequence[str]


def teach(folder: Path, lessons: Sequence[Lesson], steps: int = 400, seed: int = 0) -> Path:
    """Overfits the model in `folder` until it says the lessons' answers and ends its turn.

    Args:
        folder: of `make_tiny_model`; its weights are replaced.
        lessons: every step teaches one of them, with many of its answers.
        steps: of the optimiser.
        seed: of the choice of lessons and answers.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    end = end_of_turn_ids(tokenizer)
    encoded = []
    for lesson in lessons:
        begun = bool(lesson.prefill)
        answers = [render_continuation(tokenizer, text, after_prefill=begun) + end for text in lesson.answers]
        encoded.append((render_prompt(tokenizer, lesson.messages, lesson.prefill), answers))
    layer_types = bool(getattr(model.config, "layer_types", None))
    chosen = random.Random(seed)
    rate = _TEACH_RATE_WIDTH / model.config.hidden_size
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    model.train()
    for _ in range(steps):
        prompt, answers = chosen.choice(encoded)
        batch = _one_prompt_many_answers(prompt, chosen.choices(answers, k=_TEACH_ANSWERS), layer_types)
        loss = model(**batch, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    return folder


def _one_prompt_many_answers(
    prompt: Sequence[int], answers: Sequence[Sequence[int]], layer_types: bool
) -> dict[str, Any]:
    """What the model is called with: answers side by side that see their prompt and not each other.

    The prompt, which is far longer than an answer, is computed once for all of them.
    """
    import torch

    shared, last = list(prompt[:-1]), prompt[-1]
    ids, labels, positions, owners = shared, [-100] * len(shared), list(range(len(shared))), [0] * len(shared)
    for number, answer in enumerate(answers, start=1):
        # Each has the prompt's last token for itself: that is the one that predicts its first.
        ids = [*ids, last, *answer]
        labels += [-100, *answer]
        positions += range(len(shared), len(shared) + 1 + len(answer))
        owners += [number] * (1 + len(answer))
    owner, place = torch.tensor(owners), torch.tensor(positions)
    order = torch.arange(len(ids))
    sees = (order[None, :] <= order[:, None]) & ((owner[None, :] == 0) | (owner[None, :] == owner[:, None]))
    near = place[:, None] - place[None, :] < _SLIDING_WINDOW
    masks = {"full_attention": sees[None, None], "sliding_attention": (sees & near)[None, None]}
    return {
        "input_ids": torch.tensor([ids]),
        "labels": torch.tensor([labels]),
        "position_ids": place[None],
        "attention_mask": masks if layer_types else masks["full_attention"],
    }


def _make_tokenizer(shape: _Shape, chat_template: bool) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer: it can encode any text, and decoding gives the text back."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocab_size,
        special_tokens=list(shape.specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS * 3, trainer)
    if tokenizer.get_vocab_size() != shape.vocab_size:
        raise AssertionError(f"corpus too small: {tokenizer.get_vocab_size()} of {shape.vocab_size} tokens")
    if shape.bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{shape.bos} $A",
            pair=f"{shape.bos} $A {shape.bos} $B",
            special_tokens=[(shape.bos, tokenizer.token_to_id(shape.bos))],
        )
    # Gemma's tokenizer ends a text with <eos>, a turn with <end_of_turn>; Llama's and Qwen2's instruct
    # models name the turn's end as their eos. A base model has nothing but its eos.
    eos = shape.turn_end if chat_template and shape.pad != "<pad>" else shape.eos
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=shape.bos,
        eos_token=eos,
        pad_token=shape.pad,
        additional_special_tokens=[t for t in shape.specials if t not in {shape.bos, eos, shape.pad}],
        model_max_length=_MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    if chat_template:
        fast.chat_template = shape.template
    return fast


def _make_config(
    arch: Arch, shape: _Shape, tokenizer: PreTrainedTokenizerFast
) -> tuple[PreTrainedConfig, Any]:
    import transformers

    common: dict[str, Any] = {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden,
        "intermediate_size": 2 * shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": _MAX_POSITIONS,
        # Wide enough that a random model prefers some tokens clearly, as a real one does.
        "initializer_range": 0.1,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    match arch:
        case "llama":
            config = transformers.LlamaConfig(**common, head_dim=shape.head_dim, tie_word_embeddings=False)
            return config, transformers.LlamaForCausalLM
        case "qwen2":
            return transformers.Qwen2Config(**common, tie_word_embeddings=True), transformers.Qwen2ForCausalLM
        case "gemma3":
            config = transformers.Gemma3TextConfig(
                **common,
                head_dim=shape.head_dim,
                query_pre_attn_scalar=shape.head_dim,
                sliding_window=_SLIDING_WINDOW,
                layer_types=["full_attention" if i % 2 else "sliding_attention" for i in range(shape.layers)],
                tie_word_embeddings=True,
            )
            return config, transformers.Gemma3ForCausalLM
