"""Whether each service would start with what the manifests tell it: its own settings class reads them."""

import os
import re
from collections.abc import Iterator
from unittest import mock

from pydantic import ValidationError

from services.common.settings import ServiceSettings
from services.embedder.settings import EmbedderSettings
from services.generator.settings import GeneratorSettings
from services.orchestrator.settings import OrchestratorSettings
from services.trainer.settings import TrainerSettings
from tests.k8s.pods import SECRET, environment, pods
from tests.k8s.rendering import Object

CLASSES: dict[str, type[ServiceSettings]] = {
    "orchestrator": OrchestratorSettings,
    "generator": GeneratorSettings,
    "embedder": EmbedderSettings,
    "trainer": TrainerSettings,
}
STAND_INS = {
    "VALIGN_ORCHESTRATOR_DATABASE_URL": "postgresql+psycopg://valign:secret@database/valign",
    "VALIGN_ORCHESTRATOR_WEBHOOK_KEY": "k" * 32,
}


def settings(objects: list[Object]) -> Iterator[str]:
    """A variable that is no setting, a value that its setting does not take, or settings that do not fit."""
    for pod in pods(objects):
        for one in pod.containers:
            service = re.sub(r"^.*/|:.*$", "", one["image"])
            told = {k: v for k, v in environment(one, objects).items() if k.startswith("VALIGN_")}
            yield from (f"{pod.owner}: {said}" for said in _said(service, told))


def known(service: str) -> set[str]:
    """The variables of a service."""
    cls = CLASSES[service]
    return {f"{cls.model_config['env_prefix']}{name}".upper() for name in cls.model_fields}


def _said(service: str, told: dict[str, str]) -> Iterator[str]:
    cls = CLASSES[service]
    there = known(service)
    yield from (f"{name} is no setting of the {service}" for name in told.keys() - there)
    given = {k: STAND_INS[k] if v == SECRET else v for k, v in told.items() if k in there}
    if not given:
        return
    # The process's own environment must not help, nor stand in the way.
    bare = {k: v for k, v in os.environ.items() if not k.startswith("VALIGN_")}
    with mock.patch.dict(os.environ, bare | given, clear=True):
        try:
            cls()
        except ValidationError as error:
            yield from (f"{'_'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
