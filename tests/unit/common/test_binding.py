"""No service listens beyond loopback without what guards it, unless it is told in so many words."""

import pytest

from services.common.settings import ServiceSettings, is_loopback, load_settings
from services.embedder.settings import EmbedderSettings
from services.generator.settings import GeneratorSettings
from services.orchestrator.settings import OrchestratorSettings
from services.trainer.settings import TrainerSettings

INNER = [GeneratorSettings, EmbedderSettings, TrainerSettings]
TLS = {"TLS_CERT_FILE": "/c", "TLS_KEY_FILE": "/k", "TLS_CA_FILE": "/a"}
PUBLIC = {"TLS_CERT_FILE": "/c", "TLS_KEY_FILE": "/k", "HTTP_TLS_CERT_FILE": "/c", "HTTP_TLS_KEY_FILE": "/k"}


def load(monkeypatch: pytest.MonkeyPatch, cls: type[ServiceSettings], **variables: str) -> ServiceSettings:
    prefix = str(cls.model_config.get("env_prefix"))
    more = {"MODEL": "fake"} if cls is GeneratorSettings else {}
    for name, value in {**more, **variables}.items():
        monkeypatch.setenv(f"{prefix}{name}", value)
    return load_settings(cls)


def refusal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cls: type[ServiceSettings],
    **variables: str,
) -> str:
    with pytest.raises(SystemExit) as stopped:
        load(monkeypatch, cls, **variables)
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("cls", INNER)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "generator.local"])  # noqa: S104
def test_inner_service_beyond_loopback_without_mutual_tls_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cls: type[ServiceSettings],
    host: str,
) -> None:
    message = refusal(monkeypatch, capsys, cls, HOST=host)
    prefix = cls.model_config.get("env_prefix")
    for name in ("HOST", "TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CA_FILE", "ALLOW_INSECURE_NETWORK=true"):
        assert f"{prefix}{name}" in message
    # TLS without client certificates guards nothing: whoever reaches the port may use it.
    without_ca = {name: value for name, value in TLS.items() if name != "TLS_CA_FILE"}
    assert f"{prefix}TLS_CA_FILE" in refusal(monkeypatch, capsys, cls, HOST=host, **without_ca)


@pytest.mark.parametrize("cls", INNER)
def test_inner_service_with_mutual_tls_or_told_so_starts(
    monkeypatch: pytest.MonkeyPatch, cls: type[ServiceSettings]
) -> None:
    with monkeypatch.context() as insecure:
        assert load(insecure, cls, HOST="0.0.0.0", ALLOW_INSECURE_NETWORK="true").beyond_loopback  # noqa: S104
    assert load(monkeypatch, cls, HOST="0.0.0.0", **TLS).beyond_loopback  # noqa: S104


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, ["TLS_CERT_FILE", "HTTP_TLS_CERT_FILE"]),
        ({"AUTH": "off", **PUBLIC}, ["AUTH"]),
        ({"TLS_CERT_FILE": "/c", "TLS_KEY_FILE": "/k"}, ["HTTP_TLS_CERT_FILE"]),
        ({"HTTP_TLS_CERT_FILE": "/c", "HTTP_TLS_KEY_FILE": "/k"}, ["TLS_CERT_FILE"]),
        ({"HTTP_TLS_CERT_FILE": "/c", **TLS}, ["HTTP_TLS_KEY_FILE"]),
    ],
)
def test_orchestrator_beyond_loopback_needs_credentials_and_tls_on_both_faces(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    named: list[str],
) -> None:
    message = refusal(monkeypatch, capsys, OrchestratorSettings, HOST="0.0.0.0", **variables)  # noqa: S104
    for name in named:
        assert f"VALIGN_ORCHESTRATOR_{name}" in message


def test_orchestrator_asks_for_credentials_beyond_loopback_and_where_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loaded(**variables: str) -> OrchestratorSettings:
        with monkeypatch.context() as here:
            found = load(here, OrchestratorSettings, **variables)
        assert isinstance(found, OrchestratorSettings)
        return found

    assert not loaded().credentials_required
    assert loaded(AUTH="required").credentials_required
    assert loaded(HOST="0.0.0.0", **PUBLIC).credentials_required  # noqa: S104
    told = loaded(HOST="0.0.0.0", ALLOW_INSECURE_NETWORK="true", AUTH="off")  # noqa: S104
    assert not told.credentials_required


def test_endpoint_hosts_default_to_those_with_keys_where_credentials_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keys = '{"api.example.org": "sk-1"}'
    open_to_all = OrchestratorSettings.model_validate({"endpoint_keys": {"api.example.org": "sk-1"}})
    assert open_to_all.allowed_endpoint_hosts is None
    closed = load(monkeypatch, OrchestratorSettings, AUTH="required", ENDPOINT_KEYS=keys)
    assert isinstance(closed, OrchestratorSettings)
    assert closed.allowed_endpoint_hosts == {"api.example.org"}
    named = load(monkeypatch, OrchestratorSettings, ENDPOINT_HOSTS='["10.0.0.5:8000"]')
    assert isinstance(named, OrchestratorSettings)
    assert named.allowed_endpoint_hosts == {"api.example.org", "10.0.0.5:8000"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RATE_LIMIT", "often"),
        ("AUTH_FAILURE_LIMIT", ""),
        ("OIDC_ISSUER", "http://issuer.example"),
        ("OIDC_ISSUER", "https://issuer.example"),
        ("OIDC_JWKS_URL", "https://issuer.example/keys"),
        ("AUTH", "no"),
    ],
)
def test_orchestrator_settings_of_access_that_cannot_be_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    message = refusal(monkeypatch, capsys, OrchestratorSettings, **{name: value})
    assert name in message


def test_settings_that_are_refused_show_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variables in (
        {"ENDPOINT_KEYS": '{"a.example": {"x": "hunter2-secret"}}'},
        {"ENDPOINT_KEYS": "hunter2-secret"},
        {"ENDPOINT_KEYS": '{"a.example": "hunter2-secret"}', "HOST": "0.0.0.0"},  # noqa: S104
        {"DATABASE_URL": "postgresql://u:hunter2-secret@db/x", "HOST": "0.0.0.0"},  # noqa: S104
        {"HOME": "postgresql://u:hunter2-secret@db/x", "PORT": "postgresql://u:hunter2-secret@db/x"},
    ):
        with monkeypatch.context() as here:
            assert "hunter2" not in refusal(here, capsys, OrchestratorSettings, **variables)


def test_secrets_of_the_orchestrator_are_its_keys_and_passwords() -> None:
    settings = OrchestratorSettings.model_validate(
        {
            "endpoint_keys": {"a.example": "sk-1"},
            "database_url": "postgresql+psycopg://u:p%40ss@db/x",
            "system_database_url": "sqlite:///x",
        }
    )
    assert set(settings.secrets()) == {"sk-1", "p%40ss", "p@ss"}


def test_is_loopback_of_names_and_addresses() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "", "localhost.example", "10.0.0.1"))  # noqa: S104
