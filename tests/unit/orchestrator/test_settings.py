import os
from pathlib import Path

import pytest

from services.common.settings import load_settings
from services.orchestrator.settings import OrchestratorSettings, apply_mlflow_environment


def test_defaults_state_lies_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_HOME", str(tmp_path))
    settings = load_settings(OrchestratorSettings)
    assert settings.database == f"sqlite:///{tmp_path}/orchestrator.db"
    assert settings.system_database == f"sqlite:///{tmp_path}/workflows.db"
    assert settings.artifact_root == str(tmp_path / "artifacts")
    assert (settings.http_port, settings.port) == (8080, 50050)


def test_database_elsewhere_workflows_lie_beside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_DATABASE_URL", f"sqlite:///{tmp_path}/valign.sqlite")
    assert load_settings(OrchestratorSettings).system_database == f"sqlite:///{tmp_path}/workflows.db"


def test_misspelt_name_exits_and_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_HTTP_PROT", "1")
    with pytest.raises(SystemExit):
        load_settings(OrchestratorSettings)
    assert "HTTP_PROT" in capsys.readouterr().err


def test_key_of_webhooks_is_long_and_redacted_and_else_a_file_beside_sqlite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_HOME", str(tmp_path))
    assert load_settings(OrchestratorSettings).webhook_key_file == tmp_path / "webhook.key"
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_DATABASE_URL", "postgresql+psycopg://somewhere/valign")
    assert load_settings(OrchestratorSettings).webhook_key_file is None
    key, former = "k" * 32, "f" * 32
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_WEBHOOK_KEY", key)
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_WEBHOOK_FORMER_KEYS", f'["{former}"]')
    settings = load_settings(OrchestratorSettings)
    assert {key, former} <= set(settings.secrets())
    assert key not in repr(settings)
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_WEBHOOK_KEY", "short")
    with pytest.raises(SystemExit):
        load_settings(OrchestratorSettings)
    assert "32 characters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://valign.example.org/", "https://valign.example.org"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
    ],
)
def test_public_url_is_kept_without_a_slash_at_its_end(
    monkeypatch: pytest.MonkeyPatch, url: str, kept: str
) -> None:
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_PUBLIC_URL", url)
    assert load_settings(OrchestratorSettings).public_url == kept


def test_public_url_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_PUBLIC_URL", "valign.example.org")
    with pytest.raises(SystemExit):
        load_settings(OrchestratorSettings)
    assert "http(s)://" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}, "must be the http:// or https:// URI"),
        (
            {"MLFLOW_TRACKING_URI": "https://ana:pass-word@mlflow.example.org"},
            "must hold no user or password",
        ),
        ({"MLFLOW_MIRROR_BACK": "true"}, "need VALIGN_ORCHESTRATOR_MLFLOW_TRACKING_URI"),
        ({"MLFLOW_TRACKING_URI": "https://m.example.org", "MLFLOW_USERNAME": "ana"}, "belong together"),
        ({"MLFLOW_TRACKING_URI": "http://m.example.org", "MLFLOW_TOKEN": "pass-word"}, "in the clear"),
        ({"MLFLOW_TRACKING_URI": "https://m.example.org", "MLFLOW_MODEL_PREFIX": "a/b"}, "MODEL_PREFIX"),
    ],
)
def test_mlflow_settings_that_do_not_fit_are_refused_without_a_secret(
    given: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"VALIGN_ORCHESTRATOR_{name}", value)
    with pytest.raises(SystemExit):
        load_settings(OrchestratorSettings)
    told = capsys.readouterr().err
    assert said in told
    assert "pass-word" not in told


def test_mlflow_environment_holds_the_credential_and_no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("TRACKING_USERNAME", "TRACKING_PASSWORD", "HTTP_REQUEST_MAX_RETRIES", "HTTP_REQUEST_TIMEOUT")
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_MLFLOW_PASSWORD", "pass-word")
    for name in (*names, "DISABLE_TELEMETRY", "ENABLE_ARTIFACTS_PROGRESS_BAR"):
        monkeypatch.setenv(f"MLFLOW_{name}", "before")
    settings = OrchestratorSettings(mlflow_tracking_uri="https://m.example.org", mlflow_username="ana")
    apply_mlflow_environment(settings)
    assert [os.environ[f"MLFLOW_{name}"] for name in names] == ["ana", "pass-word", "0", "10"]
    assert "pass-word" in set(settings.secrets())
    assert "pass-word" not in repr(settings)


@pytest.mark.parametrize(
    ("target", "replicas", "found"),
    [
        ("a:1", "", ("a:1",)),
        ("a:1, b:2,a:1", "", ("a:1", "b:2")),
        ("dns:///g:1", "", ("dns:///g:1",)),
        ("balancer:1", '["a:1", "b:2"]', ("a:1", "b:2")),
        ("balancer:1", "a:1,b:2", ("a:1", "b:2")),
    ],
)
def test_generator_targets_list_name_or_json(
    monkeypatch: pytest.MonkeyPatch, target: str, replicas: str, found: tuple[str, ...]
) -> None:
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_GENERATOR_TARGET", target)
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_GENERATOR_REPLICAS", replicas)
    assert load_settings(OrchestratorSettings).replica_targets == found


@pytest.mark.parametrize("wrong", ["a:1,", "host", "http://host:1", "a:1,b"])
def test_generator_target_that_is_no_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    monkeypatch.setenv("VALIGN_ORCHESTRATOR_GENERATOR_TARGET", wrong)
    with pytest.raises(SystemExit):
        load_settings(OrchestratorSettings)
    assert "host:port" in capsys.readouterr().err
