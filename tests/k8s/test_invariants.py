"""What holds of every overlay and component; each rule is also shown to find what breaks it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.k8s import findings_cluster as of_cluster
from tests.k8s import findings_pods as of_pods
from tests.k8s import findings_settings as of_settings
from tests.k8s import findings_wiring as of_wiring
from tests.k8s.rendering import OVERLAYS, RENDERED, Object, get, read, render

Rule = Callable[[list[Object]], Iterator[str]]

RULES: tuple[Rule, ...] = (
    of_pods.images,
    of_pods.root,
    of_pods.tokens,
    of_pods.resources,
    of_pods.probes,
    of_pods.time_to_load,
    of_pods.drain,
    of_pods.writable,
    of_pods.shared_memory,
    of_pods.disruption,
    of_pods.spread,
    of_wiring.selectors,
    of_wiring.references,
    of_wiring.secrets,
    of_wiring.targets,
    of_wiring.queries,
    of_wiring.hub,
    of_wiring.jobs,
    of_wiring.names,
    of_settings.settings,
)
# With the component that they are about.
OF_OVERLAYS: tuple[Rule, ...] = (
    of_pods.gpus,
    of_cluster.quota,
    of_cluster.queue,
    of_cluster.one_node,
    of_wiring.policies,
    of_wiring.second_encoder,
)


@pytest.mark.parametrize("what", RENDERED)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_finds_nothing(rule: Rule, what: str) -> None:
    assert list(rule(read(what))) == []


@pytest.mark.parametrize("what", OVERLAYS)
@pytest.mark.parametrize("rule", OF_OVERLAYS, ids=lambda rule: rule.__name__)
def test_rule_of_overlays_finds_nothing(rule: Rule, what: str) -> None:
    assert list(rule(read(what))) == []


def _pod(objects: list[Object], kind: str, name: str) -> dict[str, Any]:
    spec = get(objects, kind, name)["spec"]
    if kind == "RayCluster":
        return dict(spec["workerGroupSpecs"][0]["template"]["spec"])
    return dict(spec["template"]["spec"])


def _container(objects: list[Object], name: str) -> dict[str, Any]:
    kind = {"orchestrator": "Deployment", "migrations": "Job", "trainer-ray": "RayCluster"}.get(
        name, "StatefulSet"
    )
    return dict(_pod(objects, kind, name))["containers"][0]  # type: ignore[no-any-return]


def _set(container: str, *place: str, to: Any) -> Callable[[list[Object]], None]:
    def change(objects: list[Object]) -> None:
        inner = _container(objects, container)
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = to

    return change


def _data(name: str, **values: str) -> Callable[[list[Object]], None]:
    return lambda objects: get(objects, "ConfigMap", name)["data"].update(values)


def _in(kind: str, name: str, *place: str, to: Any) -> Callable[[list[Object]], None]:
    def change(objects: list[Object]) -> None:
        inner = get(objects, kind, name)
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = to

    return change


def _without(kind: str, name: str) -> Callable[[list[Object]], None]:
    return lambda objects: objects.remove(get(objects, kind, name))


def _without_key(container: str, *place: str) -> Callable[[list[Object]], None]:
    def change(objects: list[Object]) -> None:
        inner = _container(objects, container)
        for step in place[:-1]:
            inner = inner[step]
        del inner[place[-1]]

    return change


def _open_port(objects: list[Object]) -> None:
    _container(objects, "embedder")["ports"].append({"name": "debug", "containerPort": 5678})


def _mount_the_host(objects: list[Object]) -> None:
    _pod(objects, "StatefulSet", "trainer")["volumes"].append({"name": "x", "hostPath": {"path": "/"}})


def _let_all_in(objects: list[Object]) -> None:
    get(objects, "NetworkPolicy", "trainer")["spec"]["ingress"].append({"ports": [{"port": 50053}]})


def _let_probes_out(objects: list[Object]) -> None:
    rule = get(objects, "NetworkPolicy", "trainer")["spec"]["ingress"][0]
    rule["ports"].append({"port": 8086})


def _write_a_secret(objects: list[Object]) -> None:
    objects.append({"kind": "Secret", "metadata": {"name": "s"}, "data": {}})


def _bind(objects: list[Object]) -> None:
    objects.append({"kind": "RoleBinding", "metadata": {"name": "too-much"}})


def _replicas_too(objects: list[Object]) -> None:
    get(objects, "StatefulSet", "generator")["spec"]["replicas"] = 2


def _flavor_without_tolerations(objects: list[Object]) -> None:
    flavor = get(render("cluster/kueue"), "ResourceFlavor", "valign-gpu")
    del flavor["spec"]["tolerations"]
    objects.append(flavor)


def _let_the_job_read_settings(objects: list[Object]) -> None:
    name = get(objects, "ConfigMap", "orchestrator")["metadata"]["name"]
    _container(objects, "migrations")["envFrom"] = [{"configMapRef": {"name": name}}]


def _without_node_cache(policy: str) -> Callable[[list[Object]], None]:
    def change(objects: list[Object]) -> None:
        for rule in get(objects, "NetworkPolicy", policy)["spec"]["egress"]:
            rule["to"] = [one for one in rule["to"] if "ipBlock" not in one]

    return change


BREAKS: list[tuple[Rule, Callable[[list[Object]], None], str]] = [
    (of_pods.images, _set("trainer", "image", to="valign/trainer:latest"), "has no version"),
    (of_pods.images, _set("trainer-ray", "image", to="valign/trainer"), "has no version"),
    (of_pods.root, _set("trainer", "securityContext", "readOnlyRootFilesystem", to=False), "can write its"),
    (of_pods.root, _set("trainer-ray", "securityContext", "capabilities", to={}), "keeps capabilities"),
    (of_pods.root, _set("embedder", "securityContext", "runAsUser", to=0), "runs as root"),
    (of_pods.root, _set("embedder", "securityContext", "privileged", to=True), "may gain rights"),
    (
        of_pods.root,
        _in("Deployment", "orchestrator", "spec", "template", "spec", "securityContext", to={}),
        "may run as root",
    ),
    (
        of_pods.root,
        _in("Deployment", "orchestrator", "spec", "template", "spec", "securityContext", to={}),
        "no seccomp profile",
    ),
    (of_pods.root, _in("Job", "migrations", "spec", "template", "spec", "hostPID", to=True), "hostPID"),
    (of_pods.root, _mount_the_host, "mounts the host's"),
    (
        of_pods.tokens,
        _in("Job", "migrations", "spec", "template", "spec", "automountServiceAccountToken", to=True),
        "mounts a token",
    ),
    (
        of_pods.tokens,
        _in("Job", "migrations", "spec", "template", "spec", "serviceAccountName", to="default"),
        "no account of its own",
    ),
    (of_pods.tokens, _bind, "gives rights"),
    (
        of_pods.tokens,
        _in("ServiceAccount", "trainer", "automountServiceAccountToken", to=True),
        "ServiceAccount/trainer mounts a token",
    ),
    (of_pods.resources, _set("embedder", "resources", to={}), "asks for no cpu"),
    (of_pods.resources, _without_key("generator", "resources", "limits", "memory"), "no limit of memory"),
    (of_pods.resources, _set("generator", "resources", "limits", "memory", to="1Gi"), "more memory than"),
    (of_pods.resources, _without_key("generator", "resources", "requests", of_pods.GPU), "other GPUs"),
    (of_pods.probes, _without_key("embedder", "startupProbe"), "no startupProbe"),
    (of_pods.probes, _without_key("trainer-ray", "livenessProbe"), "no livenessProbe"),
    (of_pods.probes, _set("embedder", "readinessProbe", "grpc", "port", to=50052 + 1), "is not open"),
    (of_pods.time_to_load, _set("generator", "startupProbe", "failureThreshold", to=3), "1200 s to start"),
    (of_pods.drain, _data("generator", VALIGN_GENERATOR_DRAIN_TIMEOUT_S="175"), "is killed after"),
    (
        of_pods.drain,
        lambda objects: get(objects, "ConfigMap", "trainer")["data"].pop("VALIGN_TRAINER_DRAIN_TIMEOUT_S"),
        "no drain time",
    ),
    (of_pods.writable, _data("trainer", VALIGN_TRAINER_STATE_DIR="/opt/state"), "cannot write to"),
    (
        of_pods.writable,
        _set("embedder", "volumeMounts", to=[{"name": "cache", "mountPath": "/var/cache/valign"}]),
        "no /tmp",
    ),
    (of_pods.shared_memory, _set("generator", "volumeMounts", to=[]), "no shared memory"),
    (of_pods.shared_memory, _set("generator", "resources", "limits", "memory", to="20Gi"), "more than half"),
    (of_pods.gpus, _data("generator", VALIGN_GENERATOR_TENSOR_PARALLEL_SIZE="4"), "spread over 4"),
    (of_pods.gpus, _data("generator", VALIGN_GENERATOR_DATA_PARALLEL_SIZE="3"), "spread over 6"),
    (
        of_pods.gpus,
        _in("StatefulSet", "generator", "spec", "template", "spec", "tolerations", to=[]),
        "kept off",
    ),
    (of_pods.gpus, _set("embedder", "image", to="valign/embedder:0.1.0-cuda"), "has not asked for"),
    (of_pods.disruption, _without("PodDisruptionBudget", "embedder"), "0 disruption budgets"),
    (
        of_pods.disruption,
        _in("PodDisruptionBudget", "embedder", "spec", "maxUnavailable", to=0),
        "never lets a node be drained",
    ),
    (
        of_pods.spread,
        _in("StatefulSet", "embedder", "spec", "template", "spec", "topologySpreadConstraints", to=[]),
        "not spread",
    ),
    (
        of_cluster.quota,
        _in("ResourceQuota", "valign", "spec", "hard", "requests.nvidia.com/gpu", to="23"),
        "the quota of requests.nvidia.com/gpu is 23, and 24",
    ),
    (of_cluster.quota, _in("ResourceQuota", "valign", "spec", "hard", "pods", to="9"), "9 pods"),
    (
        of_cluster.queue,
        _set("trainer-ray", "resources", "requests", "memory", to="128Gi"),
        "Kueue has 896Gi of memory",
    ),
    (of_cluster.queue, _without("LocalQueue", "training"), "no LocalQueue training"),
    (of_cluster.queue, _flavor_without_tolerations, "whose taint keeps them off"),
    (
        of_cluster.one_node,
        _in("StatefulSet", "trainer", "spec", "template", "spec", "affinity", to={}),
        "StatefulSet/trainer may be on another node than others with its PersistentVolumeClaim/artifacts",
    ),
    (
        of_cluster.one_node,
        _in("Job", "migrations", "spec", "template", "spec", "affinity", to={}),
        "Job/migrations may be on another node",
    ),
    (of_wiring.policies, _open_port, "no policy lets anybody to its port 5678"),
    (of_wiring.policies, _let_all_in, "lets in everybody"),
    (of_wiring.policies, _let_probes_out, "is let out of the node"),
    (of_wiring.policies, _data("generator", VALIGN_GENERATOR_METRICS_PORT="9999"), "9999 is open and not"),
    (of_wiring.policies, _without("NetworkPolicy", "deny"), "no policy of"),
    (
        of_wiring.selectors,
        _in("Service", "trainer", "spec", "selector", to={"a": "b"}),
        "selects 0 workloads",
    ),
    (
        of_wiring.selectors,
        _in("Deployment", "orchestrator", "spec", "selector", "matchLabels", to={"a": "b"}),
        "does not select its own",
    ),
    (
        of_wiring.selectors,
        _in("Service", "trainer", "spec", "ports", to=[{"name": "a", "port": 1, "targetPort": "grpc"}]),
        "has no port grpc that is 1",
    ),
    (
        of_wiring.selectors,
        _in(
            "NetworkPolicy",
            "database",
            "spec",
            "podSelector",
            "matchExpressions",
            to=[{"key": "a", "operator": "In", "values": ["b"]}],
        ),
        "selects no pod",
    ),
    (
        of_wiring.selectors,
        _in("ServiceMonitor", "trainer", "spec", "endpoints", to=[{"port": "http"}]),
        "nothing to read",
    ),
    (of_wiring.references, _without("ServiceAccount", "trainer"), "no account trainer"),
    (of_wiring.references, _without("ConfigMap", "trainer"), "no ConfigMap trainer"),
    (
        of_wiring.references,
        _set("trainer-ray", "envFrom", to=[{"configMapRef": {"name": "artifact-bucket", "optional": True}}]),
        "no ConfigMap artifact-bucket",
    ),
    (of_wiring.references, _without("Certificate", "trainer"), "no Secret trainer-tls"),
    (of_wiring.references, _without("Issuer", "valign-ca"), "no issuer valign-ca"),
    (
        of_wiring.references,
        _in("Job", "migrations", "spec", "template", "spec", "priorityClassName", to="first"),
        "no priority class first",
    ),
    (of_wiring.references, _in("StatefulSet", "trainer", "spec", "volumeClaimTemplates", to=[]), "not there"),
    (of_wiring.references, _replicas_too, "sets generator back"),
    (of_wiring.secrets, _write_a_secret, "Secret/s is written down"),
    (of_wiring.secrets, _data("orchestrator", VALIGN_ORCHESTRATOR_WEBHOOK_KEY="x" * 32), "is written down"),
    (of_wiring.secrets, _data("orchestrator", OTHER="postgresql://a:b@c/d"), "holds a password"),
    (
        of_wiring.targets,
        _data("orchestrator", VALIGN_ORCHESTRATOR_TRAINER_TARGET="trainers:50053"),
        "no such Service",
    ),
    (of_wiring.targets, _in("Service", "generator", "spec", "clusterIP", to=""), "headless"),
    (of_wiring.targets, _in("Certificate", "trainer", "spec", "dnsNames", to=["a"]), "another name"),
    (of_wiring.targets, _in("Certificate", "embedder", "spec", "dnsNames", to=["embedder"]), "another name"),
    (of_wiring.targets, _data("trainer", VALIGN_TRAINER_TLS_CLIENT_NAMES='["a"]'), "is none of them"),
    (
        of_wiring.queries,
        _in("ScaledObject", "generator", "spec", "triggers", to=[{"metadata": {"query": "valign_no"}}]),
        "no such series",
    ),
    (
        of_wiring.second_encoder,
        lambda objects: get(objects, "ConfigMap", "orchestrator")["data"].pop(
            "VALIGN_ORCHESTRATOR_SECOND_EMBEDDER_TARGET"
        ),
        "no second embedder",
    ),
    (of_wiring.second_encoder, _without("ConfigMap", "second-embedder"), "have one encoder"),
    (of_wiring.hub, _set("generator", "env", to=[]), "generator cannot fetch a gated model"),
    (of_wiring.hub, _set("trainer-ray", "env", to=[]), "ray-worker cannot fetch a gated model"),
    (of_wiring.jobs, _let_the_job_read_settings, "cannot be applied again once orchestrator-"),
    (of_wiring.names, _without_node_cache("names"), "NetworkPolicy/names keeps pods from the DNS cache"),
    (of_wiring.names, _without_node_cache("trainer-ray"), "NetworkPolicy/trainer-ray keeps pods"),
    (
        of_settings.settings,
        _data("trainer", VALIGN_TRAINER_TREADS="1"),
        "VALIGN_TRAINER_TREADS is no setting",
    ),
    (of_settings.settings, _data("embedder", VALIGN_EMBEDDER_BATCH_SIZE="many"), "batch_size"),
    (
        of_settings.settings,
        lambda objects: get(objects, "ConfigMap", "generator")["data"].pop("VALIGN_GENERATOR_TLS_CA_FILE"),
        "mutual TLS",
    ),
]


@pytest.mark.parametrize(
    ("rule", "change", "said"), BREAKS, ids=[f"{rule.__name__}-{said}" for rule, _, said in BREAKS]
)
def test_rule_finds_what_breaks_it(rule: Rule, change: Callable[[list[Object]], None], said: str) -> None:
    objects = render("cpu-demo" if rule is of_cluster.one_node else "gpu-multinode")
    change(objects)
    assert said in " | ".join(rule(objects))


def test_every_rule_is_shown_to_find_something() -> None:
    assert {rule for rule, _, _ in BREAKS} == {*RULES, *OF_OVERLAYS}
