from pathlib import Path
from typing import Literal

import pytest
from transformers import AutoTokenizer

from services.common.prompting import end_of_turn_ids, render_continuation, render_prompt
from tests.tiny_models import make_tiny_model

TURNS = [{"role": "user", "content": "State a principle."}]


@pytest.fixture(scope="module", params=["llama", "qwen2", "gemma3"])
def arch(request: pytest.FixtureRequest) -> Literal["llama", "qwen2", "gemma3"]:
    return request.param


def test_render_prompt_with_template_is_the_templates_text(
    arch: Literal["llama", "qwen2", "gemma3"], tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(arch, tmp_path / arch))
    text = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(render_prompt(tokenizer, TURNS, "You shall")) == text + "You shall"


def test_render_prompt_without_template_is_plain_text(
    arch: Literal["llama", "qwen2", "gemma3"], tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(arch, tmp_path / arch, chat_template=False))
    turns = [{"role": "system", "content": "Be brief."}, *TURNS]
    ids = render_prompt(tokenizer, turns)
    if tokenizer.bos_token_id is not None:
        assert ids[0] == tokenizer.bos_token_id
        ids = ids[1:]
    assert tokenizer.decode(ids) == "Be brief.\nUser: State a principle.\nAssistant:"
    assert tokenizer.decode(render_continuation(tokenizer, "Yes.")) == " Yes."
    assert tokenizer.decode(render_continuation(tokenizer, "Yes.", after_prefill=True)) == "Yes."


def test_end_of_turn_is_special_tokens_that_stop_generation(
    arch: Literal["llama", "qwen2", "gemma3"], tmp_path: Path
) -> None:
    for chat_template in (True, False):
        folder = make_tiny_model(arch, tmp_path / f"{arch}{chat_template}", chat_template=chat_template)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        ids = end_of_turn_ids(tokenizer)
        assert ids
        assert ids[-1] in tokenizer.all_special_ids
