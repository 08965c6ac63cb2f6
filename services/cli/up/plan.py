"""What ``valign up`` starts: commands, environments, ports and probes. Nothing runs in here."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from services.cli.errors import CliError
from services.cli.settings import child_environment
from services.cli.up.child import ChildSpec
from services.cli.up.home import Home
from services.cli.up.ports import free_ports, holder, is_free
from services.cli.up.probes import grpc_probe, http_probe

SERVICES = ("generator", "embedder", "trainer", "orchestrator")
# The embedder once more, with an encoder of another family; only where one is asked for.
SECOND_EMBEDDER = "second_embedder"
_STARTED_IN_ORDER = ("generator", "embedder", SECOND_EMBEDDER, "trainer", "orchestrator")
HOST = "127.0.0.1"
_KIND = re.compile(r"_(metrics|grpc|http)$")
# Each needs one for calls and one for metrics; the orchestrator serves metrics on its REST port, and the
# generator its model to people on one more.
DEFAULT_PORTS = {
    "generator": 50051,
    "generator_metrics": 9051,
    "generator_http": 8100,
    "embedder": 50052,
    "embedder_metrics": 9052,
    "trainer": 50053,
    "trainer_metrics": 9053,
    "second_embedder": 50054,
    "second_embedder_metrics": 9054,
    "orchestrator": 8080,
    "orchestrator_grpc": 50050,
}


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the user asked of ``valign up``; None leaves a service's own default."""

    home: Home
    model: str
    encoder: str
    port: int | None = None
    serve_port: int | None = None
    only: tuple[str, ...] = SERVICES
    any_ports: bool = False
    max_lora_rank: int | None = None
    max_model_len: int | None = None
    gpu_memory_utilization: float | None = None
    second_encoder: str = ""
    mlflow: str = ""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of what is to be started, in order."""
        names = {*self.only, SECOND_EMBEDDER} if self.second_encoder and self.only == SERVICES else self.only
        return tuple(name for name in _STARTED_IN_ORDER if name in names)


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One service: how to start it, how to ask for its health, and where people find it."""

    spec: ChildSpec
    probe: Callable[[], str]
    address: str
    metrics: str


@dataclass(frozen=True, slots=True)
class UpPlan:
    """All of them, and the addresses of the REST API and of the model ("" if it is not among them)."""

    services: list[ServicePlan]
    url: str
    model_url: str = ""
    ports: dict[str, int] = field(default_factory=dict)


def choose_ports(options: UpOptions) -> dict[str, int]:
    """Return a port per role, checked to be free.

    Raises ``CliError`` that names each taken port and who holds it.
    """
    roles = roles_of(options.wanted)
    if options.any_ports:
        ports = dict(zip(roles, free_ports(HOST, len(roles)), strict=True))
    else:
        ports = {role: DEFAULT_PORTS[role] for role in roles}
    if options.port is not None and "orchestrator" in ports:
        ports["orchestrator"] = options.port
    if options.serve_port is not None and "generator_http" in ports:
        ports["generator_http"] = options.serve_port
    taken = {role: port for role, port in ports.items() if not is_free(HOST, port)}
    if taken:
        lines = [
            f"  {port} ({role.replace('_', ' ')}): held by {holder(port) or 'a process of another user'}"
            for role, port in taken.items()
        ]
        raise CliError(
            "Ports that are needed are taken:\n" + "\n".join(lines),
            remedy="Stop those processes (valign down, if they are ours), or use --any-ports or --port.",
            code="CONFLICT",
        )
    return {**DEFAULT_PORTS, **ports}


def roles_of(services: tuple[str, ...]) -> list[str]:
    """Return the roles of these services that need a port."""
    return [role for role in DEFAULT_PORTS if _KIND.sub("", role) in services]


def make_plan(options: UpOptions, ports: Mapping[str, int]) -> UpPlan:
    """Return what to start, in order.

    Every service shares one artifact store, the folder ``artifacts`` of the home.
    """
    home = options.home.path.resolve()
    artifacts = home / "artifacts"
    # The user's own variables win over these, for example to keep artifacts on S3.
    defaults: dict[str, dict[str, object]] = {
        "generator": {"ARTIFACTS": artifacts},
        "embedder": {},
        SECOND_EMBEDDER: {},
        "trainer": {"ARTIFACTS_URI": artifacts, "STATE_DIR": home / "trainer"},
        "orchestrator": {"ARTIFACTS": artifacts, "HOME": home},
    }
    settings: dict[str, dict[str, object]] = {
        "generator": {
            "MODEL": options.model,
            "HTTP_PORT": ports["generator_http"],
            "MAX_LORA_RANK": options.max_lora_rank,
            "MAX_MODEL_LEN": options.max_model_len,
            "GPU_MEMORY_UTILIZATION": options.gpu_memory_utilization,
        },
        "embedder": {"MODEL": options.encoder},
        SECOND_EMBEDDER: {"MODEL": options.second_encoder},
        "trainer": {},
        "orchestrator": {},
    }
    for name in _STARTED_IN_ORDER[:-1]:
        settings[name] |= {"HOST": HOST, "PORT": ports[name], "METRICS_PORT": ports[f"{name}_metrics"]}
        if name in options.wanted:
            settings["orchestrator"][f"{name.upper()}_TARGET"] = f"{HOST}:{ports[name]}"
    settings["orchestrator"] |= {
        "HOST": HOST,
        "PORT": ports["orchestrator_grpc"],
        "HTTP_PORT": ports["orchestrator"],
        "MLFLOW_TRACKING_URI": options.mlflow or None,
    }
    url = f"http://{HOST}:{ports['orchestrator']}"
    planned = [
        _service(
            name, _variables(name, settings[name]), _variables(name, defaults[name]), ports, options.home
        )
        for name in options.wanted
    ]
    model_url = f"http://{HOST}:{ports['generator_http']}/v1"
    return UpPlan(
        planned,
        url if "orchestrator" in options.wanted else "",
        model_url if "generator" in options.wanted else "",
        dict(ports),
    )


def _variables(service: str, settings: Mapping[str, object]) -> dict[str, str]:
    prefix = f"VALIGN_{_module(service).upper()}_"
    return {f"{prefix}{key}": str(value) for key, value in settings.items() if value is not None}


def _module(service: str) -> str:
    return "embedder" if service == SECOND_EMBEDDER else service


def _service(
    name: str, extra: Mapping[str, str], defaults: Mapping[str, str], ports: Mapping[str, int], home: Home
) -> ServicePlan:
    environment = child_environment(extra, defaults)
    if name == SECOND_EMBEDDER:
        # Of the user's settings of the embedder all hold for both, but this one speaks of the first encoder.
        environment.pop("VALIGN_EMBEDDER_REVISION", None)
    spec = ChildSpec(
        name=name,
        command=(sys.executable, "-m", f"services.{_module(name)}"),
        environment=environment,
        log=home.logs / f"{name}.log",
    )
    address = f"{HOST}:{ports[name]}"
    if name == "orchestrator":
        url = f"http://{address}"
        return ServicePlan(spec, http_probe(f"{url}/readyz"), url, f"{url}/metrics")
    metrics = f"http://{HOST}:{ports[f'{name}_metrics']}/metrics"
    return ServicePlan(spec, grpc_probe(address), address, metrics)
