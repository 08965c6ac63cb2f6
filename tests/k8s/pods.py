"""The pods of rendered objects, whatever keeps them, and what their containers are told."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.k8s.rendering import Object, name_of, of_kind

SECRET = "<from a secret>"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod template. ``owner`` is Kind/name of what keeps it; ``most`` is how many there can be at once."""

    owner: str
    kind: str
    labels: dict[str, str]
    spec: dict[str, Any]
    most: int
    scaled: bool = False

    @property
    def containers(self) -> list[dict[str, Any]]:
        """All of them: sidecars first."""
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def serves(self) -> bool:
        """Whether it runs for ever."""
        return self.kind not in ("Job", "CronJob")


def pods(objects: list[Object]) -> list[Pod]:
    """Every pod template."""
    return list(_pods(objects))


def _pods(objects: list[Object]) -> Iterator[Pod]:
    largest = {
        (one["spec"]["scaleTargetRef"]["kind"], one["spec"]["scaleTargetRef"]["name"]): one["spec"].get(
            "maxReplicaCount", one["spec"].get("maxReplicas")
        )
        for one in of_kind(objects, "ScaledObject", "HorizontalPodAutoscaler")
    }
    for one in of_kind(objects, "Deployment", "StatefulSet", "Job", "DaemonSet"):
        scaled = largest.get((one["kind"], one["metadata"]["name"]))
        most = scaled or one["spec"].get("replicas", 1)
        # A rolling update of a Deployment has one more for a while.
        surge = one["kind"] == "Deployment" and one["spec"]["strategy"]["type"] == "RollingUpdate"
        template = one["spec"]["template"]
        labels = template["metadata"]["labels"]
        yield Pod(name_of(one), one["kind"], labels, template["spec"], most + surge, scaled is not None)
    for one in of_kind(objects, "CronJob"):
        template = one["spec"]["jobTemplate"]["spec"]["template"]
        yield Pod(name_of(one), one["kind"], template["metadata"]["labels"], template["spec"], 1)
    for one in of_kind(objects, "RayCluster"):
        head = one["spec"]["headGroupSpec"]["template"]
        yield Pod(f"{name_of(one)}/head", one["kind"], head["metadata"]["labels"], head["spec"], 1)
        for group in one["spec"]["workerGroupSpecs"]:
            template, owner = group["template"], f"{name_of(one)}/{group['groupName']}"
            labels = template["metadata"]["labels"]
            yield Pod(owner, one["kind"], labels, template["spec"], group["maxReplicas"])


def environment(container: dict[str, Any], objects: list[Object]) -> dict[str, str]:
    """What the container sees; ``SECRET`` for a value of a Secret. What leads nowhere is left out."""
    maps = {one["metadata"]["name"]: one.get("data", {}) for one in of_kind(objects, "ConfigMap")}
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        if "configMapRef" in source:
            found |= maps.get(source["configMapRef"]["name"], {})
    for one in container.get("env", ()):
        found[one["name"]] = one.get("value", SECRET)
    return found


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels; an empty one takes all. ValueError: operator unknown."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for one in selector.get("matchExpressions", ()):
        if one["operator"] != "In":
            raise ValueError(f"operator {one['operator']} is not read here")
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True


def quantity(text: str | int) -> float:
    """A number of Kubernetes: 500m, 64Gi, 2. ValueError if it is none."""
    word = str(text)
    for unit, factor in {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "m": 1e-3}.items():
        if word.endswith(unit):
            return float(word.removesuffix(unit)) * factor
    return float(word)
