"""Strict validation: unknown fields are refused, as a misspelt one is ignored or refused by the cluster only.

Kubernetes' own kinds by the schemas of kubernetes-validate. Of cert-manager, KEDA and the Prometheus Operator
the schemas are those of the packages ``cloudcoil-models-*``, generated from the CRDs. No package index has
the CRDs of KubeRay and Kueue: of them the schemas below are our own reading of their documented API, closed
to every field that we do not use, with pod templates checked as Kubernetes' own.
"""

import json
from functools import cache
from importlib import import_module, resources
from importlib.util import find_spec
from typing import Any

import jsonschema
from referencing import Registry, Resource

from tests.k8s.rendering import Object

NEWEST = "1.37"
OLDEST = "1.31"
"""The oldest that the guide promises."""

_PACKAGED = {
    "cert-manager.io/v1": "cloudcoil.models.cert_manager.v1",
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}
REMEDY = "the schemas of cert-manager, KEDA and the Prometheus Operator are missing: make setup"


def _closed(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {**required, **(optional or {})},
    }


_NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}
_QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|Ki|Mi|Gi|Ti)?$"}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_COUNT = {"type": "integer", "minimum": 0}
_TEMPLATE = {"type": "object", "required": ["metadata", "spec"]}
_POLICIES = {"enum": ["Never", "Any", "LowerPriority"]}
_FLAVOR = _closed(
    {
        "name": _NAME,
        "resources": {
            "type": "array",
            "items": _closed({"name": {"type": "string"}, "nominalQuota": _QUANTITY}),
        },
    }
)
OUR_READING = {
    ("ray.io/v1", "RayCluster"): _closed(
        {
            "rayVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
            "headGroupSpec": _closed({"rayStartParams": _TEXTS, "template": _TEMPLATE}),
            "workerGroupSpecs": {
                "type": "array",
                "items": _closed(
                    {
                        "groupName": _NAME,
                        "replicas": _COUNT,
                        "minReplicas": _COUNT,
                        "maxReplicas": _COUNT,
                        "rayStartParams": _TEXTS,
                        "template": _TEMPLATE,
                    }
                ),
            },
        }
    ),
    ("kueue.x-k8s.io/v1beta2", "LocalQueue"): _closed({"clusterQueue": _NAME}),
    ("kueue.x-k8s.io/v1beta2", "ResourceFlavor"): _closed(
        {
            "nodeLabels": _TEXTS,
            "tolerations": {
                "type": "array",
                "items": _closed(
                    {
                        "key": {"type": "string"},
                        "operator": {"enum": ["Exists", "Equal"]},
                        "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
                    }
                ),
            },
        }
    ),
    ("kueue.x-k8s.io/v1beta2", "ClusterQueue"): _closed(
        {
            "namespaceSelector": _closed({"matchLabels": _TEXTS}),
            "queueingStrategy": {"enum": ["StrictFIFO", "BestEffortFIFO"]},
            "preemption": _closed({"withinClusterQueue": _POLICIES, "reclaimWithinCohort": _POLICIES}),
            "resourceGroups": {
                "type": "array",
                "items": _closed(
                    {
                        "coveredResources": {"type": "array", "items": {"type": "string"}},
                        "flavors": {"type": "array", "items": _FLAVOR},
                    }
                ),
            },
        }
    ),
}


def packaged(api_version: str) -> bool:
    """Whether the kinds of this group come with a package's schemas."""
    return api_version in _PACKAGED


def packages_are_here() -> bool:
    """Whether those packages are installed."""
    return find_spec("cloudcoil") is not None


def problems(one: Object, version: str = NEWEST) -> list[str]:
    """What a strict reader says against an object; empty if nothing. LookupError: a kind without a schema."""
    api_version, kind = one["apiVersion"], one["kind"]
    if packaged(api_version):
        return _by_package(one)
    ours = OUR_READING.get((api_version, kind))
    if ours is None:
        return _said(_kubernetes(api_version, kind, version), one)
    whole = _closed(
        {"apiVersion": {"const": api_version}, "kind": {"const": kind}, "metadata": {}, "spec": ours}
    )
    found = _said(jsonschema.Draft202012Validator(whole), one)
    return found or [
        said for pod in _templates(one) for said in _said(_kubernetes("v1", "PodTemplate", version), pod)
    ]


def _templates(one: Object) -> list[Object]:
    if one["kind"] != "RayCluster":
        return []
    groups = [one["spec"]["headGroupSpec"], *one["spec"]["workerGroupSpecs"]]
    return [{"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]} for group in groups]


def _said(validator: jsonschema.Draft202012Validator, one: Object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(one)]


def _by_package(one: Object) -> list[str]:
    from pydantic import ValidationError

    model = getattr(import_module(_PACKAGED[one["apiVersion"]]), one["kind"])
    try:
        model.model_validate(one, extra="forbid")
    except ValidationError as error:
        return [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
    return []


@cache
def _definitions(version: str) -> Resource[Any]:
    return Resource.from_contents(_file(version, "_definitions"))


@cache
def _kubernetes(api_version: str, kind: str, version: str) -> jsonschema.Draft202012Validator:
    group, slash, rest = api_version.partition("/")
    name = f"{kind.lower()}-{group.partition('.')[0]}{'-' if slash else ''}{rest}"
    try:
        schema = _file(version, name)
    except FileNotFoundError as error:
        raise LookupError(f"no schema of {api_version} {kind} in Kubernetes {version}") from error
    registry: Registry[Any] = Resource.from_contents(schema) @ Registry()
    return jsonschema.Draft202012Validator(schema, registry=_definitions(version) @ registry)


def _file(version: str, name: str) -> Any:
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
