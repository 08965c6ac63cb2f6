"""What is wrong with the pods of rendered objects: one function a rule, each giving sentences."""

import math
import re
from collections.abc import Iterator

from tests.k8s.pods import Pod, environment, pods, quantity
from tests.k8s.rendering import Object, of_kind

TAGGED = re.compile(r"^[a-z0-9./:-]+/[a-z]+:\d+\.\d+\.\d+(-cpu|-cuda)?$")
GPU = "nvidia.com/gpu"


def images(objects: list[Object]) -> Iterator[str]:
    """An image without a version, or one that may change under its name."""
    for pod in pods(objects):
        for one in pod.containers:
            if not TAGGED.match(one["image"]):
                yield f"{pod.owner}: image {one['image']} has no version"


def root(objects: list[Object]) -> Iterator[str]:
    """Anything that could act as root, gain rights, or write where it must not."""
    for pod in pods(objects):
        spec = pod.spec.get("securityContext", {})
        if not (spec.get("runAsNonRoot") and spec.get("runAsUser", 0) > 0 and spec.get("runAsGroup", 0) > 0):
            yield f"{pod.owner} may run as root"
        if spec.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{pod.owner} has no seccomp profile"
        for word in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            if pod.spec.get(word):
                yield f"{pod.owner} has {word}"
        yield from (f"{pod.owner} mounts the host's {v['name']}" for v in _volumes(pod) if "hostPath" in v)
        for one in pod.containers:
            held = one.get("securityContext", {})
            where = f"{pod.owner}/{one['name']}"
            if held.get("allowPrivilegeEscalation") is not False or held.get("privileged"):
                yield f"{where} may gain rights"
            if held.get("readOnlyRootFilesystem") is not True:
                yield f"{where} can write its root file system"
            if held.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{where} keeps capabilities"
            if held.get("runAsUser", 1) == 0 or held.get("runAsNonRoot", True) is False:
                yield f"{where} runs as root"


def tokens(objects: list[Object]) -> Iterator[str]:
    """A pod that is given a token of the cluster, an account with rights, or one that is shared."""
    for pod in pods(objects):
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.owner} mounts a token"
        if pod.spec.get("serviceAccountName", "default") == "default":
            yield f"{pod.owner} has no account of its own"
    for one in of_kind(objects, "ServiceAccount"):
        if one.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount/{one['metadata']['name']} mounts a token"
    for one in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        yield f"{one['metadata']['name']} gives rights in the cluster, which no service needs"


def resources(objects: list[Object]) -> Iterator[str]:
    """A container that asks for nothing, or has no bound. CPUs are not bounded: idle ones help."""
    for pod in pods(objects):
        for one in pod.containers:
            asked = one.get("resources", {}).get("requests", {})
            bound = one.get("resources", {}).get("limits", {})
            where = f"{pod.owner}/{one['name']}"
            yield from (f"{where} asks for no {word}" for word in ("cpu", "memory") if word not in asked)
            if "memory" not in bound:
                yield f"{where} has no limit of memory"
            elif quantity(asked.get("memory", 0)) > quantity(bound["memory"]):
                yield f"{where} asks for more memory than its limit"
            if asked.get(GPU) != bound.get(GPU):
                yield f"{where} asks for other GPUs than its limit"


def probes(objects: list[Object]) -> Iterator[str]:
    """A container that serves and is not probed, or is probed where it does not listen."""
    for pod in pods(objects):
        if not pod.serves:
            continue
        for one in pod.containers:
            where = f"{pod.owner}/{one['name']}"
            opened = {port["containerPort"] for port in one.get("ports", ())}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = one.get(kind)
                if probe is None:
                    yield f"{where} has no {kind}"
                elif "grpc" in probe and probe["grpc"]["port"] not in opened:
                    yield f"{where}: {kind} asks port {probe['grpc']['port']}, which is not open"


def time_to_load(objects: list[Object]) -> Iterator[str]:
    """A startup probe that gives up before a model of tens of gigabytes is fetched and loaded."""
    least_s = {"generator": 1200, "embedder": 600, "orchestrator": 600 + 30}
    for pod in pods(objects):
        for one in pod.containers:
            probe, least = one.get("startupProbe"), least_s.get(one["name"], 0)
            if probe and probe["periodSeconds"] * probe.get("failureThreshold", 3) < least:
                yield f"{pod.owner} has less than {least} s to start"


def drain(objects: list[Object]) -> Iterator[str]:
    """A pod that is killed while it still answers calls in flight."""
    for pod in pods(objects):
        for one in pod.containers:
            told = environment(one, objects)
            given = [float(v) for k, v in told.items() if k.endswith("_DRAIN_TIMEOUT_S")]
            if pod.serves and one["image"].partition(":")[0].endswith(f"/{one['name']}") and not given:
                yield f"{pod.owner} has no drain time"
            pause = one.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            grace = pod.spec.get("terminationGracePeriodSeconds", 30)
            if pod.serves and grace <= sum(given) + pause:
                yield f"{pod.owner} is killed after {grace} s, and drains for {sum(given)} s after {pause} s"


def writable(objects: list[Object]) -> Iterator[str]:
    """A folder that a service is told to write to and that is on its root file system, or read-only."""
    told_names = re.compile(r"^(HOME|HF_HOME|XDG_\w+|VALIGN_\w+_(HOME|STATE_DIR|ADAPTER_CACHE))$")
    for pod in pods(objects):
        for one in pod.containers:
            mounts = {m["mountPath"]: m.get("readOnly", False) for m in one.get("volumeMounts", ())}
            where = f"{pod.owner}/{one['name']}"
            if mounts.get("/tmp", True):
                yield f"{where} has no /tmp to write to"
            for name, value in environment(one, objects).items():
                # An artifact store may be a bucket.
                stored = re.match(r"^VALIGN_(ORCHESTRATOR|TRAINER)_ARTIFACTS(_URI)?$", name)
                if not (told_names.match(name) or (stored and "://" not in value and pod.serves)):
                    continue
                above = [path for path in mounts if f"{value}/".startswith(f"{path}/")]
                if not above or mounts[max(above, key=len)]:
                    yield f"{where} cannot write to {name}={value}"


def shared_memory(objects: list[Object]) -> Iterator[str]:
    """vLLM or a training without shared memory, or with more of it than the pod may use."""
    for pod in pods(objects):
        in_memory = {
            volume["name"]: quantity(volume["emptyDir"]["sizeLimit"])
            for volume in _volumes(pod)
            if volume.get("emptyDir", {}).get("medium") == "Memory"
        }
        for one in pod.containers:
            mounted = {mount["name"]: mount["mountPath"] for mount in one.get("volumeMounts", ())}
            held = [name for name in in_memory if name in mounted]
            model = one["name"] in ("generator", "trainer", "ray-worker", "ray-head", "ray-node")
            if model and "/dev/shm" not in [mounted[name] for name in held]:
                yield f"{pod.owner}/{one['name']} has no shared memory"
            limit = quantity(one.get("resources", {}).get("limits", {}).get("memory", 0))
            if sum(in_memory[name] for name in held) > limit / 2:
                yield f"{pod.owner}/{one['name']}: shared memory is more than half of its limit"


def gpus(objects: list[Object]) -> Iterator[str]:
    """A model that is spread over another number of GPUs than the pod has, or GPUs taken without asking."""
    for pod in pods(objects):
        for one in pod.containers:
            told = environment(one, objects)
            held = int(one.get("resources", {}).get("limits", {}).get(GPU, 0))
            where = f"{pod.owner}/{one['name']}"
            parts = math.prod(
                int(told.get(f"VALIGN_GENERATOR_{kind}_PARALLEL_SIZE", 1))
                for kind in ("TENSOR", "PIPELINE", "DATA")
            )
            if held and one["name"] == "generator" and held != parts:
                yield f"{where} has {held} GPUs, and its model is spread over {parts}"
            if held and not any(t["key"] == GPU for t in pod.spec.get("tolerations", ())):
                yield f"{where} has GPUs, and is kept off their nodes"
            # The CUDA images ask for all GPUs of a node, which NVIDIA's runtime grants without a request.
            if one["image"].endswith("-cuda") and not held and told.get("NVIDIA_VISIBLE_DEVICES") != "void":
                yield f"{where} sees GPUs that it has not asked for"


def disruption(objects: list[Object]) -> Iterator[str]:
    """A workload without a budget, with two, or with one that no node's drain ever gets past."""
    budgets = of_kind(objects, "PodDisruptionBudget")
    for pod in pods(objects):
        if pod.kind not in ("Deployment", "StatefulSet"):
            continue
        found = [
            one for one in budgets if one["spec"]["selector"]["matchLabels"].items() <= pod.labels.items()
        ]
        if len(found) != 1:
            yield f"{pod.owner} has {len(found)} disruption budgets"
        for one in found:
            if one["spec"].get("maxUnavailable", 0) < 1:
                yield f"{pod.owner} never lets a node be drained"


def spread(objects: list[Object]) -> Iterator[str]:
    """Replicas that may all lie on one node."""
    for pod in pods(objects):
        if pod.kind in ("Deployment", "StatefulSet") and not any(
            one["topologyKey"] == "kubernetes.io/hostname"
            and one["labelSelector"]["matchLabels"].items() <= pod.labels.items()
            for one in pod.spec.get("topologySpreadConstraints", ())
        ):
            yield f"{pod.owner} is not spread over nodes"


def _volumes(pod: Pod) -> list[Object]:
    return list(pod.spec.get("volumes", ()))
