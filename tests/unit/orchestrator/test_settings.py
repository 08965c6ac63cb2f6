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
