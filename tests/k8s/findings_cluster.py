"""Whether pods find room: the namespace's quota, Kueue's, and a node that their volumes leave them."""

from collections.abc import Iterator

from tests.k8s.pods import Pod, pods, quantity, selects
from tests.k8s.rendering import Object, get, name_of, of_kind, read

GPU = "nvidia.com/gpu"
QUEUE = "kueue.x-k8s.io/queue-name"
_HOST = "kubernetes.io/hostname"


def quota(objects: list[Object]) -> Iterator[str]:
    """A quota that the overlay's own pods do not fit into, at their largest number."""
    hard = get(objects, "ResourceQuota", "valign")["spec"]["hard"]
    for name in (f"{kind}.{what}" for kind in ("requests", "limits") for what in ("cpu", "memory", GPU)):
        if name in hard and (asked := sums(objects, *name.split(".", 1))) > quantity(hard[name]):
            yield f"the quota of {name} is {hard[name]}, and {asked:g} are asked for"
    if sum(pod.most for pod in pods(objects)) > int(hard["pods"]):
        yield f"the quota is {hard['pods']} pods, and there can be {sum(pod.most for pod in pods(objects))}"


def sums(objects: list[Object], kind: str, what: str) -> float:
    """What all pods together ask for (requests) or may have (limits), at their largest number."""
    return sum(
        pod.most * quantity(one["resources"].get(kind, {}).get(what, 0))
        for pod in pods(objects)
        for one in pod.containers
    )


def queue(objects: list[Object]) -> Iterator[str]:
    """Workloads that Kueue never lets in, since its quota is less, or lets in where no node takes them."""
    queued = [one for one in objects if QUEUE in one["metadata"].get("labels", {})]
    both = [*read("cluster/kueue"), *objects]
    there = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in both if "spec" in one}
    for name in {one["metadata"]["labels"][QUEUE] for one in queued}:
        local = there.get(("LocalQueue", name))
        if local is None:
            yield f"there is no LocalQueue {name}"
            continue
        of_it = [one for one in queued if one["metadata"]["labels"][QUEUE] == name]
        for group in there["ClusterQueue", local["clusterQueue"]]["resourceGroups"]:
            for flavor in group["flavors"]:
                for one in flavor["resources"]:
                    asked = sums(of_it, "requests", one["name"])
                    if asked > quantity(one["nominalQuota"]):
                        yield f"Kueue has {one['nominalQuota']} of {one['name']}, and {asked:g} are asked for"
                spec = there["ResourceFlavor", flavor["name"]]
                tolerated = {(one["key"], one["effect"]) for one in spec.get("tolerations", ())}
                if (
                    any(key.startswith(GPU) for key in spec["nodeLabels"])
                    and (GPU, "NoSchedule") not in tolerated
                ):
                    yield f"{flavor['name']} puts pods on GPU nodes, whose taint keeps them off"


def one_node(objects: list[Object]) -> Iterator[str]:
    """Pods that share a volume of one node, and may be put on several."""
    for claim in of_kind(objects, "PersistentVolumeClaim"):
        if claim["spec"]["accessModes"] != ["ReadWriteOnce"]:
            continue
        name = claim["metadata"]["name"]
        sharing = [pod for pod in pods(objects) if name in _claims(pod)]
        if sum(pod.most for pod in sharing) > 1:
            for pod in sharing:
                if not any(_keeps(term, pod, sharing) for term in _affinity(pod)):
                    yield f"{pod.owner} may be on another node than others with its {name_of(claim)}"


def _claims(pod: Pod) -> set[str]:
    volumes = pod.spec.get("volumes", ())
    return {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v}


def _affinity(pod: Pod) -> list[Object]:
    affinity = pod.spec.get("affinity", {}).get("podAffinity", {})
    return list(affinity.get("requiredDuringSchedulingIgnoredDuringExecution", ()))


def _keeps(term: Object, pod: Pod, sharing: list[Pod]) -> bool:
    """Whether it takes the pod to the others. A term that selects its own pod lets it be the first of them.

    What serves must be kept with all else that does; a job follows any of them.
    """
    lasting = [selects(term["labelSelector"], one.labels) for one in sharing if one.serves]
    kept = all(lasting) if pod.serves else any(lasting)
    return kept and term["topologyKey"] == _HOST and selects(term["labelSelector"], pod.labels)
