"""Settings from the environment."""

import os

import pytest

from services.common.errors import PreconditionError
from services.common.settings import load_settings
from services.generator.engine import check_workers
from services.generator.settings import GeneratorSettings, apply_engine_environment


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("VALIGN_GENERATOR_", "VLLM_")):
            monkeypatch.delenv(name)


def test_settings_model_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALIGN_GENERATOR_MODEL", "m")
    settings = load_settings(GeneratorSettings)
    assert (settings.port, settings.metrics_port, settings.max_model_len) == (50051, 9051, 2048)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_LORA_RANK", "17"),
        ("MODELL", "x"),
        ("MAX_CPU_LORAS", "1"),
        ("GPU_MEMORY_UTILIZATION", "1.5"),
        ("LORA_TARGET_MODULES", "[]"),
    ],
)
def test_settings_bad_value_exits_with_the_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv("VALIGN_GENERATOR_MODEL", "m")
    monkeypatch.setenv(f"VALIGN_GENERATOR_{name}", value)
    with pytest.raises(SystemExit) as exit_:
        load_settings(GeneratorSettings)
    assert exit_.value.code == 2
    assert name.lower() in capsys.readouterr().err.lower()


MUTUAL_TLS = {
    "HOST": "192.0.2.1",
    "TLS_CERT_FILE": "c.pem",
    "TLS_KEY_FILE": "k.pem",
    "TLS_CA_FILE": "ca.pem",
    "HTTP_PORT": "8100",
}
GUARDED = {
    **MUTUAL_TLS,
    "HTTP_TLS_CERT_FILE": "c.pem",
    "HTTP_TLS_KEY_FILE": "k.pem",
    "AUTH_URL": "https://orchestrator:8080",
}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (MUTUAL_TLS, "callers of the HTTP face need no credential: set VALIGN_GENERATOR_AUTH_URL"),
        (MUTUAL_TLS, "the HTTP face has no TLS"),
        ({**GUARDED, "TLS_CA_FILE": None}, "mutual TLS"),
        ({**GUARDED, "AUTH_URL": "http://orchestrator:8080"}, "in the clear"),
        ({**GUARDED, "AUTH_URL": "orchestrator:8080"}, "is no http:// or https:// URL"),
        ({**GUARDED, "HTTP_TLS_KEY_FILE": None}, "belong together"),
    ],
)
def test_settings_http_face_beyond_loopback_is_guarded_or_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: dict[str, str | None],
    says: str,
) -> None:
    for name, value in {"MODEL": "m", **given}.items():
        if value is not None:
            monkeypatch.setenv(f"VALIGN_GENERATOR_{name}", value)
    with pytest.raises(SystemExit):
        load_settings(GeneratorSettings)
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        GUARDED,
        {**MUTUAL_TLS, "HTTP_PORT": "0"},
        {"HTTP_PORT": "8100"},
        {"HTTP_PORT": "8100", "AUTH_URL": "http://127.0.0.1:8080"},
        {"HOST": "192.0.2.1", "HTTP_PORT": "8100", "ALLOW_INSECURE_NETWORK": "true"},
    ],
)
def test_settings_http_face_that_is_guarded_or_local_starts(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in {"MODEL": "m", **given}.items():
        monkeypatch.setenv(f"VALIGN_GENERATOR_{name}", value)
    assert not load_settings(GeneratorSettings).allow_traffic_sampling


def test_apply_engine_environment_binds_all_cores_and_keeps_the_operators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "VLLM_WORKER_MULTIPROC_METHOD",
        "VLLM_NO_USAGE_STATS",
        "VLLM_CPU_OMP_THREADS_BIND",
        "VLLM_CONFIGURE_LOGGING",
        "TOKENIZERS_PARALLELISM",
    ):
        monkeypatch.setenv(name, "mine")
        monkeypatch.delenv(name)
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    apply_engine_environment(GeneratorSettings(model="m", tensor_parallel_size=2))
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "0,1|2,3"
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "7"
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"


def test_workers_are_tensor_times_pipeline_times_copies() -> None:
    settings = GeneratorSettings(
        model="m", tensor_parallel_size=4, pipeline_parallel_size=2, data_parallel_size=3
    )
    assert settings.workers == 24


def test_more_workers_than_gpus_are_refused_with_both_numbers() -> None:
    check_workers(8, 8, "GPUs")
    with pytest.raises(PreconditionError, match=r"8 workers.*shows 4 GPUs"):
        check_workers(8, 4, "GPUs")
