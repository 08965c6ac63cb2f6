import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServiceSettings, load_settings


class DemoSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="VALIGN_DEMO_")

    port: int = Field(1234)
    folder: str = Field()


def test_load_settings_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALIGN_DEMO_FOLDER", "/data")
    monkeypatch.setenv("VALIGN_DEMO_PORT", "99")
    settings = load_settings(DemoSettings)
    assert (settings.folder, settings.port, settings.host) == ("/data", 99, "127.0.0.1")


def test_load_settings_misspelt_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VALIGN_DEMO_FOLDER", "/data")
    monkeypatch.setenv("VALIGN_DEMO_PROT", "99")
    with pytest.raises(SystemExit) as stopped:
        load_settings(DemoSettings)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "VALIGN_DEMO_PROT: no such setting" in message
    assert "VALIGN_DEMO_PORT" in message


def test_load_settings_bad_and_missing_values_are_all_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VALIGN_DEMO_PORT", "seventy")
    with pytest.raises(SystemExit):
        load_settings(DemoSettings)
    message = capsys.readouterr().err
    assert "VALIGN_DEMO_PORT" in message
    assert "'seventy'" in message
    assert "VALIGN_DEMO_FOLDER: Field required" in message
