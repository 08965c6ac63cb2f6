"""Whole jobs on tiny models."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.common.artifacts import ArtifactStore
from services.common.base_model import fingerprint_base_model
from services.common.errors import InvalidInputError, NotFoundError, PreconditionError
from services.trainer.lora.train import run_job
from services.trainer.types import LoraSpec, Progress, TrainedAdapter, TrainingSpec
from tests.tiny_models import make_tiny_model
from tests.unit.trainer.specs import make_examples, make_spec


class KilledError(Exception):
    """Stands for a kill -9 between two steps."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model("llama", tmp_path_factory.mktemp("llama"))


class Lab:
    """Runs jobs in folders of their own against one store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = ArtifactStore(str(root / "store"))
        self.curve: list[Progress] = []

    def run(self, spec: TrainingSpec, job: str = "job", die_after: int = 0) -> TrainedAdapter:
        def report(point: Progress) -> None:
            self.curve.append(point)
            if point.step == die_after:
                raise KilledError

        folder = self.root / job
        folder.mkdir(exist_ok=True)
        return run_job(
            spec, work=folder / "work", checkpoints=folder / "c", store=self.store, report=report, threads=1
        )

    def fetch(self, adapter: TrainedAdapter) -> tuple[Path, dict[str, Any]]:
        dest = self.root / "fetched" / adapter.name
        return dest, dict(self.store.fetch_folder(adapter.uri, adapter.sha256, dest).meta)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.mark.parametrize("arch", ["llama", "qwen2", "gemma3"])
@pytest.mark.parametrize("chat_template", [True, False])
def test_run_job_on_each_architecture_lowers_the_loss_and_publishes(
    arch: Any, chat_template: bool, lab: Lab, tmp_path: Path
) -> None:
    base = make_tiny_model(arch, tmp_path / "base", chat_template)
    spec = make_spec(base, dtype="bfloat16", learning_rate=1e-2, epochs=5)
    adapter = lab.run(spec)
    folder, meta = lab.fetch(adapter)
    assert lab.curve[-1].loss < 0.75 * lab.curve[0].loss
    assert [p.step for p in lab.curve] == list(range(1, 11))
    assert adapter.name == f"run-i1-{adapter.sha256[:8]}"
    assert sorted(p.name for p in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
    ]
    assert meta["format"] == "peft-lora"
    assert meta["base_fingerprint"] == fingerprint_base_model(base)
    assert meta["training_spec_sha256"] == spec.sha256
    assert (meta["rank"], meta["alpha"]) == (8, 16.0)
    assert len(meta["canaries"]) == 2
    for canary in meta["canaries"]:
        assert canary["logprob_adapter"] > canary["logprob_base"] + canary["tokens"]


def test_run_job_artifact_loads_with_peft_and_gives_the_canaries(lab: Lab, base: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from services.common.prompting import render_continuation, render_prompt

    folder, meta = lab.fetch(lab.run(make_spec(base, dtype="bfloat16", epochs=5)))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(base)

    def log_probability(model: Any, canary: dict[str, Any]) -> float:
        prompt = render_prompt(tokenizer, canary["messages"])
        answer = render_continuation(tokenizer, canary["continuation"])
        assert len(answer) == canary["tokens"]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        return float(logits.float().log_softmax(-1)[range(len(answer)), answer].sum())

    before = [log_probability(model, canary) for canary in meta["canaries"]]
    adapted = PeftModel.from_pretrained(model, folder).to(torch.bfloat16).eval()
    after = [log_probability(adapted, canary) for canary in meta["canaries"]]
    assert before == pytest.approx([c["logprob_base"] for c in meta["canaries"]], rel=5e-3)
    assert after == pytest.approx([c["logprob_adapter"] for c in meta["canaries"]], rel=5e-3)
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(base)


@pytest.mark.parametrize("die_after", [1, 3, 4])
def test_run_job_resumed_after_a_kill_gives_the_same_adapter(lab: Lab, base: Path, die_after: int) -> None:
    spec = make_spec(base)
    undisturbed = lab.run(spec, "undisturbed")
    with pytest.raises(KilledError):
        lab.run(spec, "killed", die_after=die_after)
    lab.curve.clear()
    resumed = lab.run(spec, "killed")
    assert lab.curve[0].step == die_after // 2 * 2 + 1
    assert resumed == undisturbed


def test_run_job_with_a_torn_checkpoint_resumes_from_the_one_before(lab: Lab, base: Path) -> None:
    spec = make_spec(base)
    with pytest.raises(KilledError):
        lab.run(spec, "torn", die_after=5)
    newest = sorted((lab.root / "torn" / "c").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    lab.curve.clear()
    assert lab.run(spec, "torn") == lab.run(spec, "undisturbed")
    assert lab.curve[0].step == 3


def test_run_job_keeps_two_checkpoints(lab: Lab, base: Path) -> None:
    lab.run(make_spec(base, checkpoint_every_steps=1))
    assert [p.name for p in sorted((lab.root / "job" / "c").iterdir())] == [
        "step-00000005.safetensors",
        "step-00000006.safetensors",
    ]


def test_run_job_whose_loss_is_not_finite_fails_and_publishes_nothing(lab: Lab, tmp_path: Path) -> None:
    base = make_tiny_model("llama", tmp_path / "broken")
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidInputError, match=r"the loss is nan at step 1.*lower learning_rate"):
        lab.run(make_spec(base))
    assert not (lab.root / "store" / "adapters").exists()


def test_run_job_with_all_weights_zero_trains_nothing(lab: Lab, base: Path) -> None:
    lab.run(make_spec(base, group_weights={"a": 0.0, "b": 0.0}))
    assert [p.loss for p in lab.curve] == [0.0] * 6


def test_run_job_from_an_adapter_continues_it(lab: Lab, base: Path) -> None:
    first = lab.run(make_spec(base, epochs=6), "first")
    end_of_first = lab.curve[-1].loss
    lab.curve.clear()
    spec = make_spec(
        base, adapter_name_prefix="run-i2", init_adapter_uri=first.uri, init_adapter_sha256=first.sha256
    )
    second = lab.run(spec, "second")
    assert lab.curve[0].loss < 1.5 * end_of_first
    assert lab.curve[0].learning_rate == spec.learning_rate
    assert second.name.startswith("run-i2-")
    assert second.sha256 != first.sha256


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        (
            {"lora": LoraSpec(4, 16.0, 0.05, ("q_proj", "k_proj", "v_proj", "o_proj"))},
            InvalidInputError,
            "'r': 8",
        ),
        ({"lora": LoraSpec(8, 16.0, 0.05, ("q_proj",))}, InvalidInputError, "target_modules"),
        ({"init_adapter_sha256": "0" * 64}, PreconditionError, "sha256"),
        ({"init_adapter_uri": "file:///etc/passwd"}, InvalidInputError, "not inside"),
    ],
)
def test_run_job_from_an_adapter_that_does_not_fit_is_refused(
    lab: Lab, base: Path, changes: dict[str, Any], error: type[Exception], match: str
) -> None:
    first = lab.run(make_spec(base, epochs=1), "first")
    init = {"init_adapter_uri": first.uri, "init_adapter_sha256": first.sha256}
    with pytest.raises(error, match=match):
        lab.run(make_spec(base, **{**init, **changes}), "second")


def test_run_job_from_an_adapter_of_another_model_is_refused(lab: Lab, base: Path, tmp_path: Path) -> None:
    first = lab.run(make_spec(base, epochs=1), "first")
    other = make_tiny_model("qwen2", tmp_path / "other")
    with pytest.raises(InvalidInputError, match="does not fit this base model"):
        lab.run(make_spec(other, init_adapter_uri=first.uri, init_adapter_sha256=first.sha256), "second")


def test_run_job_with_another_base_fingerprint_is_refused(lab: Lab, base: Path) -> None:
    with pytest.raises(PreconditionError, match="fingerprint"):
        lab.run(make_spec(base, base_fingerprint="0" * 64))


def test_run_job_with_no_such_model_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NotFoundError, match="neither a folder"):
        lab.run(make_spec("nobody/no-such-model"))


def test_run_job_with_examples_in_the_store_trains_as_with_inline_ones(lab: Lab, base: Path) -> None:
    lines = [
        json.dumps(
            {
                "messages": [{"role": m.role, "content": m.content} for m in e.messages],
                "answer": e.answer,
                "group": e.group,
            }
        )
        for e in make_examples()
    ]
    data = lab.store.put_bytes("datasets/examples.jsonl", "\n".join(lines).encode())
    inline = lab.run(make_spec(base), "inline")
    stored = lab.run(
        make_spec(base, examples=(), examples_uri=data.uri, examples_sha256=data.sha256), "stored"
    )
    weights = [load_file(lab.fetch(a)[0] / "adapter_model.safetensors") for a in (inline, stored)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
