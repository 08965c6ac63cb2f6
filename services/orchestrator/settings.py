"""Settings of the orchestrator (``VALIGN_ORCHESTRATOR_*``)."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.common.errors import InvalidInputError
from services.common.settings import ArtifactRoot, ServiceSettings, is_loopback
from services.orchestrator.access.limits import parse_rate
from services.orchestrator.clients.discovery import parse_targets

MIN_KEY_CHARACTERS = 32
"""Of webhook_key: a shorter one could be guessed from a secret that was made from it."""


class OrchestratorSettings(ServiceSettings):
    """Where it listens, where it keeps its state, and where the other services are."""

    model_config = SettingsConfigDict(env_prefix="VALIGN_ORCHESTRATOR_", extra="forbid", frozen=True)

    port: int = Field(50050, description="Port of the gRPC server.", ge=0, le=65535)
    http_port: int = Field(8080, description="Port of the REST API, with /metrics.", ge=0, le=65535)
    home: Path = Field(Path(".valign"), description="Folder of whatever has no place of its own below.")
    database_url: str = Field(
        "", description="SQLAlchemy URL of runs, events and completions. Empty: SQLite in the home folder."
    )
    system_database_url: str = Field(
        "",
        description="URL of DBOS's records of the workflows. Empty: beside the runs, in PostgreSQL's schema"
        ' "dbos" of the same database, or in an SQLite file next to the other.',
    )
    artifacts: ArtifactRoot = Field(
        "", description="Root of the artifact store: a folder or an fsspec URI. Empty: in the home folder."
    )
    generator_target: str = Field(
        "127.0.0.1:50051",
        description="host:port of the generator; of several a comma-separated list, or dns:///host:port for a"
        " name with an address for each replica.",
        min_length=1,
    )
    embedder_target: str = Field(
        "127.0.0.1:50052",
        description="host:port of the embedder; of several replicas with commas between, or dns:///name:port"
        " for every address of a headless name.",
        min_length=1,
    )
    trainer_target: str = Field("127.0.0.1:50053", description="host:port of the trainer.")
    second_embedder_target: str = Field(
        "",
        description="An embedder with an encoder of another family, written like the first. Empty: none.",
    )
    embedding_cache_mib: int = Field(
        1024,
        description="MiB of embeddings that are kept in the database, by text and encoder. 0: none.",
        ge=0,
        le=1 << 20,
    )
    endpoint_keys: dict[str, SecretStr] = Field(
        default_factory=dict,
        description='API keys of OpenAI-compatible endpoints by host, as JSON: {"api.example.org": "…"}.',
    )
    generator_replicas: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="The same, for replicas that are to be reached by other addresses than generator_target:"
        " runs, routes and adapters go to each of them, never through a load balancer. Empty:"
        " generator_target.",
    )
    generator_window: int = Field(
        256,
        description="Most items of one call in flight on one of several replicas: what is asked again if it"
        " dies. Set it to what its engine computes at once: max_num_seqs times data_parallel_size.",
        ge=1,
        le=65536,
    )
    reconcile_interval_s: float = Field(
        5.0, description="Seconds between two looks at the replicas, at most.", gt=0, le=3600
    )
    keep_adapters: int = Field(
        20, description="Adapters that are never pruned: the newest, by their last change.", ge=0
    )
    require_approval: bool = Field(
        False, description="A second person must approve every adapter, whatever its study says."
    )
    keep_adapters_days: float = Field(
        30.0, description="Days after its last change in which an adapter is never pruned.", ge=0
    )
    wait_for_services_s: float = Field(
        600.0, description="Seconds that a run waits for a service that is away, without progress.", ge=0
    )
    call_timeout_s: float = Field(30.0, description="Deadline of a short call in seconds.", gt=0)
    role: Literal["all", "api"] = Field(
        "all",
        description="api: serve the API alone, and leave the loop to others. all: campaign for it too.",
    )
    lease_timeout_s: float = Field(
        8.0,
        description="Seconds without a renewal after which another takes over. The same on all.",
        ge=1.0,
        le=600.0,
    )
    concurrent_runs: int = Field(1, description="Runs at once; more are queued.", ge=1, le=64)
    max_queued_runs: int = Field(
        100, description="Runs that may wait; more are refused as OVERLOADED. 0: no limit.", ge=0
    )
    endpoint_hosts: tuple[str, ...] = Field(
        (),
        description='Hosts that studies may name as endpoints, as JSON: ["api.example.org", "10.0.0.5:8000"].'
        " Those of endpoint_keys are allowed too. Empty: any, while no credential is asked for; else none.",
    )
    auth: Literal["auto", "required", "off"] = Field(
        "auto", description="Ask callers for a credential; auto: unless host is a loopback address."
    )
    http_tls_cert_file: Path | None = Field(None, description="Certificate chain (PEM) of the REST API.")
    http_tls_key_file: Path | None = Field(None, description="Private key (PEM) of that certificate.")
    oidc_issuer: str = Field("", description="URL of the OpenID Connect issuer. Empty: API keys alone.")
    oidc_audience: str = Field("", description="The audience (aud) that tokens must be for.")
    oidc_jwks_url: str = Field(
        "", description="URL of the issuer's keys. Empty: as its discovery document says."
    )
    oidc_scope_claim: str = Field(
        "scope", description="The claim whose words valign:<scope> are scopes.", min_length=1
    )
    rate_limit: str = Field(
        "600/minute", description="Calls of one principal, and of one address without a valid credential."
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses or networks of proxies whose X-Forwarded-For is believed, as JSON:"
        ' ["10.0.0.7", "10.244.0.0/16"]. Empty: nobody\'s.',
    )
    auth_failure_limit: str = Field(
        "30/minute", description="Credentials of one address that may be wrong before it has to wait."
    )
    max_event_streams: int = Field(20, description="Event streams that one principal may hold open.", ge=1)
    public_url: str = Field(
        "",
        description="URL under which others reach the REST API, without /v1: the source of the events that"
        " webhooks are told. Empty: urn:valign:installation.",
    )
    webhook_key: SecretStr = Field(
        SecretStr(""),
        description="What the secrets of webhooks are made from: 32 or more random characters, the same on"
        " every orchestrator. Empty: with SQLite a file webhook.key in the home folder, made at first use.",
    )
    webhook_former_keys: tuple[SecretStr, ...] = Field(
        (), description="Former values of webhook_key, as JSON: secrets made from them go on."
    )
    webhook_allowed_hosts: tuple[str, ...] = Field(
        (),
        description='Hosts that webhooks may name, as JSON: ["hooks.example.org", "10.0.0.5:8000"]; they may'
        " have private addresses and be spoken to over http. Empty: any host with public addresses, https.",
    )
    webhook_timeout_s: float = Field(
        10.0, description="Seconds that a webhook's receiver has to answer.", gt=0, le=120
    )
    webhook_concurrency: int = Field(16, description="Deliveries to webhooks at once.", ge=1, le=256)
    webhook_max_attempts: int = Field(
        30, description="Attempts after which a delivery becomes a dead letter.", ge=1, le=1000
    )
    webhook_give_up_after_s: float = Field(
        86_400.0, description="Seconds after the first attempt in which a delivery is tried again.", ge=0
    )
    keep_events_days: float = Field(
        7.0, description="Days that deliveries, and events that every reader has passed, are kept.", ge=0
    )
    monitor_concurrency: int = Field(2, description="Monitors that measure at once.", ge=1, le=64)
    monitor_wait_s: float = Field(
        60.0, description="Seconds that a measurement waits for a service that is away.", ge=0, le=3600
    )
    monitor_timeout_s: float = Field(
        1800.0, description="Seconds that one measurement of a monitor may take.", gt=0, le=86_400
    )
    live_redaction: str = Field(
        "services.orchestrator.monitor.live.redaction:redact",
        description="What people's texts go through before a monitor keeps them: package.module:function,"
        " which takes and gives a text.",
    )
    mlflow_tracking_uri: str = Field("", description="http(s):// URI of an MLflow server. Empty: none.")
    mlflow_registry_uri: str = Field(
        "", description="URI of MLflow's model registry. Empty: the tracking URI."
    )
    mlflow_experiment: str = Field(
        "valign", description="MLflow experiment that runs go to.", min_length=1, max_length=500
    )
    mlflow_model_prefix: str = Field(
        "valign",
        description="What the names of registered models begin with: <prefix>-<base model>.",
        pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
    )
    mlflow_token: SecretStr = Field(SecretStr(""), description="Bearer token for MLflow. Empty: none.")
    mlflow_username: str = Field("", description="User name for MLflow's basic authentication.")
    mlflow_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    mlflow_mirror_back: bool = Field(
        False,
        description="Take an alias that is moved in MLflow for a request to promote. Whoever may move aliases"
        " there may then promote what the gate let pass.",
    )
    mlflow_audit_bundle: bool = Field(
        False, description="Give MLflow the audit bundle of each run too; it holds every text."
    )
    mlflow_interval_s: float = Field(
        2.0, description="Seconds between two looks at what MLflow must be told.", gt=0, le=3600
    )
    mlflow_timeout_s: int = Field(
        10, description="Seconds that one call to MLflow may take, uploads left out.", ge=1, le=600
    )

    @property
    def credentials_required(self) -> bool:
        """Whether callers must show a credential."""
        return self.auth == "required" or (self.auth == "auto" and self.beyond_loopback)

    @property
    def allowed_endpoint_hosts(self) -> frozenset[str] | None:
        """The hosts that a study may name; None for any."""
        if not self.endpoint_hosts and not self.credentials_required:
            return None
        return frozenset({*self.endpoint_hosts, *self.endpoint_keys})

    @field_validator("generator_replicas", mode="before")
    @classmethod
    def _are_targets(cls, value: object) -> tuple[str, ...]:
        """A JSON list as well as a comma-separated one."""
        if isinstance(value, str):
            text = value.strip()
            value = json.loads(text) if text.startswith("[") else text.split(",") if text else ()
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise ValueError("is no list of addresses; write host:port,host:port or a JSON list of them")
        return _targets(",".join(value)) if value else ()

    @field_validator("generator_target", "embedder_target", "second_embedder_target")
    @classmethod
    def _is_a_target(cls, value: str) -> str:
        if value:
            _targets(value)
        return value

    @field_validator("rate_limit", "auth_failure_limit")
    @classmethod
    def _is_a_rate(cls, value: str) -> str:
        try:
            parse_rate(value)
        except ValueError:
            raise ValueError("is no rate; write it as 600/minute or 20/second") from None
        return value

    @field_validator("oidc_issuer", "oidc_jwks_url")
    @classmethod
    def _is_safe_url(cls, value: str) -> str:
        parts = urlsplit(value)
        local = parts.scheme == "http" and is_loopback(parts.hostname or "")
        if value and parts.scheme != "https" and not local:
            raise ValueError("must be an https:// URL: whoever can change what it answers can make tokens")
        return value

    @field_validator("public_url")
    @classmethod
    def _is_web_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("https", "http") or not parts.hostname or parts.query):
            raise ValueError("must be an http(s):// URL")
        return value.rstrip("/")

    @field_validator("webhook_key")
    @classmethod
    def _is_long(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < MIN_KEY_CHARACTERS:
            raise ValueError(f"must have {MIN_KEY_CHARACTERS} characters or more, at random")
        return value

    @field_validator("mlflow_tracking_uri", "mlflow_registry_uri")
    @classmethod
    def _is_an_mlflow_server(cls, value: str) -> str:
        # Never quoted: what is refused here may hold a password.
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("must be the http:// or https:// URI of an MLflow server")
        if parts.username is not None or parts.password is not None:
            raise ValueError("must hold no user or password; set MLFLOW_USERNAME and MLFLOW_PASSWORD")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _mlflow_is_whole(self) -> "OrchestratorSettings":
        prefix = self.variable_prefix
        given = (self.mlflow_registry_uri, self.mlflow_mirror_back, self._mlflow_credentials())
        if any(given) and not self.mlflow_tracking_uri:
            raise ValueError(f"settings of MLflow need {prefix}MLFLOW_TRACKING_URI")
        if bool(self.mlflow_username) != bool(self.mlflow_password.get_secret_value()):
            raise ValueError(f"{prefix}MLFLOW_USERNAME and {prefix}MLFLOW_PASSWORD belong together")
        for uri in (self.mlflow_tracking_uri, self.mlflow_registry_uri):
            parts = urlsplit(uri)
            clear = parts.scheme == "http" and not is_loopback(parts.hostname or "")
            if clear and self._mlflow_credentials() and not self.allow_insecure_network:
                raise ValueError(
                    "a credential for MLflow would cross the network in the clear: use https://, or set"
                    f" {prefix}ALLOW_INSECURE_NETWORK=true"
                )
        return self

    def _mlflow_credentials(self) -> dict[str, str]:
        found = {
            "MLFLOW_TRACKING_TOKEN": self.mlflow_token.get_secret_value(),
            "MLFLOW_TRACKING_USERNAME": self.mlflow_username,
            "MLFLOW_TRACKING_PASSWORD": self.mlflow_password.get_secret_value(),
        }
        return {name: value for name, value in found.items() if value}

    @model_validator(mode="after")
    def _access_is_whole(self) -> "OrchestratorSettings":
        prefix = self.variable_prefix
        if (self.http_tls_cert_file is None) != (self.http_tls_key_file is None):
            raise ValueError(f"{prefix}HTTP_TLS_CERT_FILE and {prefix}HTTP_TLS_KEY_FILE belong together")
        if bool(self.oidc_issuer) != bool(self.oidc_audience):
            raise ValueError(f"{prefix}OIDC_ISSUER and {prefix}OIDC_AUDIENCE belong together")
        if self.oidc_jwks_url and not self.oidc_issuer:
            raise ValueError(f"{prefix}OIDC_JWKS_URL needs {prefix}OIDC_ISSUER")
        return self

    def _missing_guards(self) -> Iterator[str]:
        """Credentials and TLS on both faces; client certificates are not asked for."""
        prefix = self.variable_prefix
        if not self.credentials_required:
            yield f"callers need no credential: leave {prefix}AUTH at auto, or set it to required"
        if self.tls_cert_file is None:
            yield f"gRPC has no TLS: set {prefix}TLS_CERT_FILE and {prefix}TLS_KEY_FILE"
        if self.http_tls_cert_file is None:
            yield f"REST has no TLS: set {prefix}HTTP_TLS_CERT_FILE and {prefix}HTTP_TLS_KEY_FILE"

    def secrets(self) -> Iterator[str]:
        """What no log line may hold: keys of endpoints, passwords of databases."""
        keys = (*self.endpoint_keys.values(), self.webhook_key, *self.webhook_former_keys)
        passwords = (self.mlflow_token, self.mlflow_password)
        yield from filter(None, (one.get_secret_value() for one in (*keys, *passwords)))
        for url in (self.database_url, self.system_database_url):
            if "://" in url and (password := urlsplit(url).password):
                yield password
                yield unquote(password)

    @property
    def database(self) -> str:
        """URL of the domain's database."""
        return self.database_url or f"sqlite:///{self._home() / 'orchestrator.db'}"

    @property
    def system_database(self) -> str:
        """URL of DBOS's database."""
        if self.system_database_url:
            return self.system_database_url
        if not self.database.startswith("sqlite"):
            return self.database
        sqlite = self.database.partition("sqlite:///")[2]
        folder = Path(sqlite).absolute().parent if sqlite else self._home()
        return f"sqlite:///{folder / 'workflows.db'}"

    @property
    def webhook_key_file(self) -> Path | None:
        """Where the key of webhooks is kept if no setting holds it; None where a file would not do."""
        return self._home() / "webhook.key" if self.database.startswith("sqlite") else None

    @property
    def replica_targets(self) -> tuple[str, ...]:
        """host:port, or dns:///host:port, of the generator's replicas, each once."""
        return self.generator_replicas or parse_targets(self.generator_target)

    @property
    def artifact_root(self) -> str:
        """Root of the artifact store."""
        return self.artifacts or str(self._home() / "artifacts")

    def _home(self) -> Path:
        return self.home.expanduser().absolute()


def _targets(text: str) -> tuple[str, ...]:
    try:
        return parse_targets(text)
    except InvalidInputError as error:
        raise ValueError(error.message) from None


def apply_mlflow_environment(settings: OrchestratorSettings) -> None:
    """Set what MLflow's client reads from the environment; to be called before it is imported.

    Its own retries are off: what fails is tried again as a whole. What an operator has set for the client
    itself (a proxy, a certificate) stays; a credential of ours replaces one that was there.
    """
    os.environ.update(settings._mlflow_credentials())
    fixed = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(settings.mlflow_timeout_s),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    os.environ.update(fixed)
