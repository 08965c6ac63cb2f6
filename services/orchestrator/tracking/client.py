"""The MLflow server, through MLflow's own client: the one module that imports it, late (it takes a second).

Every method blocks, for ``mlflow_timeout_s`` a request at most, and raises one of these:

    MlflowAwayError     it is away or broken, or a person must do something there first: everything waits
    NotFoundError       what was asked for is not there
    InvalidInputError   it will not have this one thing
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from services.common.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    NotReadyError,
    ValignError,
)
from services.common.redact import redact
from services.orchestrator.tracking.event_map import Metric, milliseconds


class MlflowAwayError(NotReadyError):
    """MLflow takes nothing now. The message says why, and what a person can do if one must."""


_MAX_METRICS = 1000
_MAX_PARAMS_AND_TAGS = 100
# MLflow refuses requests above a million bytes; JSON in ASCII makes six of one character.
_MAX_BYTES = 800_000
_MAX_MESSAGE_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class FoundRun:
    """An MLflow run. ``deleted``: somebody has put it into the bin."""

    mlflow_run_id: str
    deleted: bool
    parameters: frozenset[str]


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version of a registered model."""

    version: str
    created_ms: int
    source: str
    mlflow_run_id: str
    tags: Mapping[str, str]


class MlflowServer:
    """What the mirror asks of MLflow.

    Args:
        tracking_uri, registry_uri: http(s) URIs; the credential is in the environment (see ``settings``).
        experiment: name of the experiment that runs go to.
    """

    def __init__(self, tracking_uri: str, registry_uri: str, experiment: str) -> None:
        self.tracking_uri = tracking_uri
        self.experiment = experiment
        self._registry_uri = registry_uri or tracking_uri
        self._made: Any = None
        self._experiment_id = ""

    # Runs

    def find_run(self, tag: str, text: str) -> FoundRun | None:
        """The oldest run of the experiment with this tag, deleted ones too."""
        with _told("looking for a run"):
            from mlflow.entities import ViewType

            found = self._client().search_runs(
                [self._experiment()],
                f"tags.`{tag}` = '{text}'",
                run_view_type=ViewType.ALL,
                max_results=1,
                order_by=["attributes.start_time ASC"],
            )
        return _run_of(found[0]) if found else None

    def create_run(self, name: str, start: datetime, tags: Mapping[str, str]) -> FoundRun:
        """A new run of the experiment."""
        with _told("making a run"):
            made = self._client().create_run(
                self._experiment(), start_time=milliseconds(start), tags=dict(tags), run_name=name
            )
        return _run_of(made)

    def abandon_run(self, mlflow_run_id: str, tags: Mapping[str, str]) -> None:
        """Give a run other tags, and put it into the bin."""
        self.log(mlflow_run_id, tags=tags)
        with _told(f"deleting run {mlflow_run_id}"):
            self._client().delete_run(mlflow_run_id)

    def get_run(self, mlflow_run_id: str) -> FoundRun:
        """NotFoundError if it is not there any more."""
        with _told(f"reading run {mlflow_run_id}"):
            return _run_of(self._client().get_run(mlflow_run_id))

    def log(
        self,
        mlflow_run_id: str,
        metrics: Sequence[Metric] = (),
        parameters: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Metrics, parameters and tags, in as many requests as it takes."""
        with _told(f"writing to run {mlflow_run_id}"):
            from mlflow.entities import Metric as Point
            from mlflow.entities import Param, RunTag

            client = self._client()
            for part in _chunks(list((parameters or {}).items())):
                client.log_batch(mlflow_run_id, params=[Param(*item) for item in part])
            for part in _chunks(list((tags or {}).items())):
                client.log_batch(mlflow_run_id, tags=[RunTag(*item) for item in part])
            for start in range(0, len(metrics), _MAX_METRICS):
                points = [
                    Point(one.key, one.value, one.time_ms, one.step)
                    for one in metrics[start : start + _MAX_METRICS]
                ]
                client.log_batch(mlflow_run_id, metrics=points)

    def set_status(self, mlflow_run_id: str, status: str, end: datetime | None = None) -> None:
        """Its status in MLflow's words, and when it ended if it has."""
        with _told(f"setting the status of run {mlflow_run_id}"):
            if end is None:
                self._client().update_run(mlflow_run_id, status=status)
            else:
                self._client().set_terminated(mlflow_run_id, status, milliseconds(end))

    def upload(self, mlflow_run_id: str, folder: Path, place: str = "") -> None:
        """A local folder's files as artifacts; those of the same name are replaced."""
        with _told(f"uploading to run {mlflow_run_id}"):
            self._client().log_artifacts(mlflow_run_id, str(folder), place or None)

    def artifact_uri(self, mlflow_run_id: str, place: str) -> str:
        """Where an artifact of a run lies."""
        with _told(f"reading run {mlflow_run_id}"):
            root = str(self._client().get_run(mlflow_run_id).info.artifact_uri)
        return f"{root.rstrip('/')}/{place}"

    # Models

    def create_model(self, name: str, description: str) -> None:
        """A registered model; one that is there stays as it is."""
        with _told(f"making model {name}"), _unless_there():
            self._client().create_registered_model(name, {"valign": "1"}, description)

    def aliases(self, model: str) -> dict[str, str]:
        """Alias -> version. NotFoundError if the model is not there."""
        with _told(f"reading model {model}"):
            return {
                alias: str(version)
                for alias, version in self._client().get_registered_model(model).aliases.items()
            }

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Let an alias name a version, or, with "", nothing."""
        with _told(f"setting alias {alias} of model {model}"):
            if version:
                self._client().set_registered_model_alias(model, alias, version)
            else:
                self._client().delete_registered_model_alias(model, alias)

    def find_version(self, model: str, tag: str, text: str) -> list[FoundVersion]:
        """A model's versions with this tag."""
        with _told(f"looking for a version of model {model}"):
            found = self._client().search_model_versions(f"name = '{model}' AND tags.`{tag}` = '{text}'")
            return [_version_of(one) for one in found]

    def get_version(self, model: str, version: str) -> FoundVersion:
        """NotFoundError if it is not there."""
        with _told(f"reading version {version} of model {model}"):
            return _version_of(self._client().get_model_version(model, version))

    def create_version(
        self, model: str, source: str, mlflow_run_id: str, tags: Mapping[str, str], description: str
    ) -> FoundVersion:
        """A new version."""
        with _told(f"making a version of model {model}"):
            made = self._client().create_model_version(
                model, source, mlflow_run_id or None, tags=dict(tags), description=description
            )
            return _version_of(made)

    def tell_version(
        self, model: str, version: str, tags: Mapping[str, str], description: str | None = None
    ) -> None:
        """New tags, and another description if one is given. NotFoundError if it is not there."""
        with _told(f"writing to version {version} of model {model}"):
            client = self._client()
            for name, text in tags.items():
                client.set_model_version_tag(model, version, name, text)
            if description is not None:
                client.update_model_version(model, version, description)

    def _client(self) -> Any:
        if self._made is None:
            from mlflow import MlflowClient

            self._made = MlflowClient(self.tracking_uri, self._registry_uri)
        return self._made

    def _experiment(self) -> str:
        """Its id; made if it is not there."""
        if self._experiment_id:
            known = self._client().get_experiment(self._experiment_id)
            if known is not None and known.lifecycle_stage == "active":
                return self._experiment_id
            self._experiment_id = ""
        found = self._client().get_experiment_by_name(self.experiment)
        if found is None:
            with _unless_there():
                self._client().create_experiment(self.experiment)
            found = self._client().get_experiment_by_name(self.experiment)
        if found is None or found.lifecycle_stage != "active":
            raise MlflowAwayError(
                f"experiment {self.experiment!r} is deleted in MLflow; restore it there, or set"
                " VALIGN_ORCHESTRATOR_MLFLOW_EXPERIMENT to another one"
            )
        self._experiment_id = str(found.experiment_id)
        return self._experiment_id


def client_is_installed() -> bool:
    """Whether MLflow's client can be imported; found out without importing it."""
    return importlib.util.find_spec("mlflow") is not None


def _run_of(run: Any) -> FoundRun:
    return FoundRun(str(run.info.run_id), run.info.lifecycle_stage != "active", frozenset(run.data.params))


def _version_of(version: Any) -> FoundVersion:
    return FoundVersion(
        str(version.version),
        int(version.creation_timestamp),
        str(version.source or ""),
        str(version.run_id or ""),
        dict(version.tags),
    )


def _chunks(items: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    part: list[tuple[str, str]] = []
    size = 0
    for item in items:
        length = len(json.dumps(item)) + 40
        if part and (len(part) == _MAX_PARAMS_AND_TAGS or size + length > _MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += length
    if part:
        yield part


@contextmanager
def _unless_there() -> Iterator[None]:
    """Somebody else may have made it at the same time, or before."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Every error of MLflow's client inside becomes one of ours."""
    try:
        yield
    except ValignError:
        raise
    except Exception as error:
        raise _ours(error, what) from error


def _ours(error: Exception, what: str) -> Exception:
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    said = redact(str(getattr(error, "message", "") or error))[:_MAX_MESSAGE_CHARACTERS]
    told = f"MLflow, {what}: {said}"
    if not isinstance(error, MlflowException):
        return MlflowAwayError(told) if isinstance(error, RequestException | OSError) else error
    match error.error_code:
        case "RESOURCE_DOES_NOT_EXIST" | "ENDPOINT_NOT_FOUND":
            return NotFoundError(told)
        case "RESOURCE_ALREADY_EXISTS" | "ALREADY_EXISTS":
            return ConflictError(told)
        case "INVALID_PARAMETER_VALUE" | "BAD_REQUEST" | "INVALID_STATE":
            return InvalidInputError(told)
        case "UNAUTHENTICATED" | "PERMISSION_DENIED" | "CUSTOMER_UNAUTHORIZED":
            return MlflowAwayError(
                f"{told}. Set VALIGN_ORCHESTRATOR_MLFLOW_TOKEN, or _USERNAME and _PASSWORD, to a credential"
                " that may write there"
            )
    return MlflowAwayError(told)
