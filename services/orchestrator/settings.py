"""Settings of the orchestrator (``VALIGN_ORCHESTRATOR_*``)."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServiceSettings


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
    artifacts: str = Field(
        "", description="Root of the artifact store: a folder or an fsspec URI. Empty: in the home folder."
    )
    generator_target: str = Field("127.0.0.1:50051", description="host:port of the generator.")
    embedder_target: str = Field("127.0.0.1:50052", description="host:port of the embedder.")
    trainer_target: str = Field("127.0.0.1:50053", description="host:port of the trainer.")
    second_embedder_target: str = Field(
        "", description="host:port of an embedder with an encoder of another family. Empty: none."
    )
    endpoint_keys: dict[str, SecretStr] = Field(
        default_factory=dict,
        description='API keys of OpenAI-compatible endpoints by host, as JSON: {"api.example.org": "…"}.',
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
    def artifact_root(self) -> str:
        """Root of the artifact store."""
        return self.artifacts or str(self._home() / "artifacts")

    def _home(self) -> Path:
        return self.home.expanduser().absolute()
