"""The HTTP face as the settings say."""

from collections.abc import Callable

from starlette.types import ASGIApp

from services.generator.service import Generator
from services.generator.serving.callers import Callers, OrchestratorAuthority
from services.generator.serving.face import Face, FaceLimits
from services.generator.serving.names import PublicNames, base_name
from services.generator.serving.server import HttpServer
from services.generator.serving.traffic import Traffic
from services.generator.settings import GeneratorSettings


def build_server(
    settings: GeneratorSettings,
    generator: Generator,
    app: ASGIApp,
    traffic: Traffic,
    check: Callable[[], None],
) -> HttpServer:
    """The face in front of ``app``, on its port; it does not listen yet.

    ``check`` raises NotReadyError while ``app`` answers nothing.

    Raises:
        PreconditionError: the authority of the orchestrator's certificate cannot be read.
    """
    authority = OrchestratorAuthority(settings.auth_url, settings.tls_ca_file) if settings.auth_url else None
    face = Face(
        PublicNames(generator, base_name(settings.model, settings.base_model_name), settings.public_names),
        app,
        FaceLimits(settings.max_http_requests, settings.max_http_body_bytes, settings.max_http_sequences),
        traffic,
        callers=Callers(authority, grace_s=settings.auth_grace_s) if authority else None,
        loopback=not settings.beyond_loopback,
        check=check,
    )
    return HttpServer(face, settings, on_stop=authority.aclose if authority else None)
