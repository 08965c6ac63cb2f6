"""All checks, in the order in which a person would solve them."""

from collections.abc import Iterable, Iterator

from services.cli.api import Api
from services.cli.doctor.check import Check
from services.cli.doctor.machine import cores_check, disk_check, gpu_check, gpus, memory_check
from services.cli.doctor.models import model_check
from services.cli.doctor.packages import (
    companion_checks,
    package_checks,
    python_check,
    torch_check,
    vllm_check,
)
from services.cli.errors import CliError, UnreachableError
from services.cli.settings import CliSettings
from services.cli.up.home import Home
from services.cli.up.plan import DEFAULT_PORTS, HOST, SECOND_EMBEDDER, SERVICES, roles_of
from services.cli.up.ports import holder, is_free


def run_checks(
    settings: CliSettings, *, model: str, encoder: str, second_encoder: str, home: Home, url: str
) -> list[Check]:
    """Run every check; those of the second encoder if one is named."""
    found = gpus()
    return [
        python_check(),
        *package_checks(),
        torch_check(bool(found)),
        vllm_check(bool(found)),
        *companion_checks(),
        gpu_check(found),
        cores_check(),
        memory_check(),
        disk_check(home.path),
        model_check("model", model, settings.hub_cache),
        model_check("encoder", encoder, settings.hub_cache),
        *([model_check("second encoder", second_encoder, settings.hub_cache)] if second_encoder else []),
        *service_checks(url, settings, home, second=bool(second_encoder)),
    ]


def service_checks(url: str, settings: CliSettings, home: Home, *, second: bool = False) -> Iterator[Check]:
    """Check the services if an orchestrator answers, else that their ports are free to start them."""
    try:
        with Api(url, settings.timeout_s, api_key=settings.api_key, ca_file=settings.ca_file) as api:
            body = api.get("/system")
    except UnreachableError:
        remedy = "Start it with `valign up`, or set VALIGN_URL."
        yield Check("orchestrator", "warn", f"nothing answers at {url}", remedy)
        yield from port_checks(home, second=second)
        return
    except CliError as error:
        remedy = error.remedy or f"Is that valign's orchestrator at {url}?"
        yield Check("orchestrator", "fail", error.message, remedy)
        return
    yield Check("orchestrator", "ok", url)
    for one in body["services"]:
        name = str(one.get("name"))
        if one.get("serving"):
            yield Check(name, "ok", f"serving {one.get('model') or ''}".strip())
        else:
            state = (
                "loading or draining" if one.get("reachable") else f"unreachable: {one.get('error') or ''}"
            )
            yield Check(name, "fail", state, f"Look into {home.logs / (name + '.log')}, or wherever it runs.")


def port_checks(home: Home, *, second: bool = False) -> Iterable[Check]:
    """Check the ports that ``valign up`` would take; ``second``: also those of a second encoder."""
    services = (*SERVICES, SECOND_EMBEDDER) if second else SERVICES
    ports = {role: DEFAULT_PORTS[role] for role in roles_of(services)}
    taken = {role: port for role, port in ports.items() if not is_free(HOST, port)}
    for role, port in taken.items():
        who = holder(port) or "a process of another user"
        remedy = f"`valign down --home {home.path}`, stop it, or `valign up --any-ports`."
        yield Check(f"port {port}", "fail", f"({role.replace('_', ' ')}) held by {who}", remedy)
    if not taken:
        yield Check("ports", "ok", ", ".join(str(port) for port in ports.values()) + " are free")
