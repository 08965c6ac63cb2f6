"""The embedder's settings."""

import pytest

from services.common.settings import load_settings
from services.embedder.settings import EmbedderSettings


def test_settings_without_variables_are_the_papers_encoder() -> None:
    settings = load_settings(EmbedderSettings)
    assert settings.model == "sentence-transformers/all-mpnet-base-v2"
    assert (settings.port, settings.metrics_port, settings.precision) == (50052, 9052, "float32")


def test_settings_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALIGN_EMBEDDER_MODEL", "/models/x")
    monkeypatch.setenv("VALIGN_EMBEDDER_BATCH_SIZE", "64")
    settings = load_settings(EmbedderSettings)
    assert (settings.model, settings.batch_size) == ("/models/x", 64)


@pytest.mark.parametrize(("name", "value"), [("BATCH_SIZE", "0"), ("PRECISION", "int3"), ("BATCHSIZE", "8")])
def test_settings_wrong_variable_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(f"VALIGN_EMBEDDER_{name}", value)
    with pytest.raises(SystemExit):
        load_settings(EmbedderSettings)
    assert f"VALIGN_EMBEDDER_{name}" in capsys.readouterr().err
