from pathlib import Path

import pytest

from services.common.settings import load_settings
from services.orchestrator.settings import OrchestratorSettings


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
