"""What does not fit together in rendered objects: one function a rule, each giving sentences."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.k8s.pods import SECRET, Pod, environment, pods, selects
from tests.k8s.rendering import Object, get, name_of, of_kind, render
from tests.metric_table import series

# Made by the operator (docs/guides/kubernetes.md), not by anything here.
GIVEN_SECRETS = {
    "valign-database": {"url"},
    "valign-webhooks": {"key"},
    "valign-s3": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "valign-ray": {"token"},
    "valign-hub": {"HF_TOKEN"},
}
NODE_CACHE = "169.254.20.10/32"
_SECRET_NAME = re.compile(r"(KEY|KEYS|TOKEN|PASSWORD|SECRET|DATABASE_URL)$")


def policies(objects: list[Object]) -> Iterator[str]:
    """A port that is open and in no NetworkPolicy; a pod that all may reach, or that reaches all."""
    rules = of_kind(objects, "NetworkPolicy")
    for pod in pods(objects):
        over = [one["spec"] for one in rules if selects(one["spec"]["podSelector"], pod.labels)]
        for direction in ("Ingress", "Egress"):
            if not any(direction in one["policyTypes"] for one in over):
                yield f"{pod.owner}: no policy of {direction}"
        let_in = [rule for one in over for rule in one.get("ingress", ())]
        yield from (f"{pod.owner} lets in everybody" for rule in let_in if not rule.get("from"))
        covered = {port["port"] for rule in let_in for port in rule.get("ports", ())}
        for one in pod.containers:
            declared = {port["containerPort"]: port["name"] for port in one.get("ports", ())}
            told = environment(one, objects)
            listens = {int(v) for k, v in told.items() if re.match(r"^VALIGN_\w+_PORT$", k) and v != "0"}
            if pod.serves:
                yield from (f"{pod.owner}: {n} is open and not declared" for n in listens - declared.keys())
            # Probes come from the node, which no policy keeps out: nobody else is to reach these ports.
            probed = {name for name in declared.values() if name == "health"}
            any_port = any("ports" not in rule for rule in let_in)
            for port, name in declared.items():
                if name not in probed and port not in covered and not any_port:
                    yield f"{pod.owner}: no policy lets anybody to its port {port}"
                if name in probed and port in covered:
                    yield f"{pod.owner}: its port for probes, {port}, is let out of the node"


def selectors(objects: list[Object]) -> Iterator[str]:
    """A selector that takes nothing, a port that is not there, a Service that reaches two kinds of pods."""
    there = pods(objects)
    for one in of_kind(objects, "Deployment", "StatefulSet"):
        labels = one["spec"]["template"]["metadata"]["labels"]
        if not selects(one["spec"]["selector"], labels):
            yield f"{name_of(one)} does not select its own pods"
        if one["kind"] == "StatefulSet":
            service = get(objects, "Service", one["spec"]["serviceName"])
            if not selects({"matchLabels": service["spec"]["selector"]}, labels):
                yield f"{name_of(one)}: its Service selects others"
    for one in of_kind(objects, "Service"):
        found = [pod for pod in there if selects({"matchLabels": one["spec"]["selector"]}, pod.labels)]
        if len(found) != 1:
            yield f"{name_of(one)} selects {len(found)} workloads"
        for port in one["spec"]["ports"]:
            yield from (
                f"{name_of(one)}: {pod.owner} has no port {port['targetPort']} that is {port['port']}"
                for pod in found
                if port["targetPort"] not in _ports(pod, port["port"])
            )
    for one in of_kind(objects, "NetworkPolicy", "PodDisruptionBudget"):
        chosen = one["spec"]["podSelector" if one["kind"] == "NetworkPolicy" else "selector"]
        if not any(selects(chosen, pod.labels) for pod in there):
            yield f"{name_of(one)} selects no pod"
    services = of_kind(objects, "Service")
    for one in of_kind(objects, "ServiceMonitor"):
        wanted = one["spec"]["selector"]
        found = [s for s in services if selects(wanted, s["metadata"].get("labels", {}))]
        # Several: the two embedders are one job.
        ports = {port["name"] for s in found for port in s["spec"]["ports"]}
        if not found or not {end["port"] for end in one["spec"]["endpoints"]} <= ports:
            yield f"{name_of(one)} finds nothing to read"


def _ports(pod: Pod, number: int) -> set[str]:
    return {
        port["name"]
        for one in pod.containers
        for port in one.get("ports", ())
        if port["containerPort"] == number
    }


def references(objects: list[Object]) -> Iterator[str]:
    """Something named that is not there."""
    there = {(one["kind"], one["metadata"]["name"]) for one in objects}
    classes = {one["metadata"]["name"] for one in of_kind(render("cluster"), "PriorityClass")}
    secrets = {one["spec"]["secretName"] for one in of_kind(objects, "Certificate")} | GIVEN_SECRETS.keys()
    base_names = {name.rpartition("-")[0] for kind, name in there if kind == "ConfigMap"}
    for pod in pods(objects):
        if pod.spec.get("priorityClassName") not in classes:
            yield f"{pod.owner}: no priority class {pod.spec.get('priorityClassName')}"
        if ("ServiceAccount", pod.spec["serviceAccountName"]) not in there:
            yield f"{pod.owner}: no account {pod.spec['serviceAccountName']}"
        for kind, name, optional in _referred(pod):
            if kind == "Secret":
                if name not in secrets:
                    yield f"{pod.owner}: no Secret {name}"
            elif (kind, name) not in there and not (optional and name not in base_names):
                yield f"{pod.owner}: no {kind} {name}"
        mounted = {m["name"] for one in pod.containers for m in one.get("volumeMounts", ())}
        declared = {volume["name"] for volume in pod.spec.get("volumes", ())}
        declared |= _claims(objects, pod)
        yield from (f"{pod.owner}: volume {name} is mounted and not there" for name in mounted - declared)
        yield from (f"{pod.owner}: volume {name} is not mounted" for name in declared - mounted)
    issuers = {name for kind, name in there if kind == "Issuer"}
    for one in of_kind(objects, "Certificate"):
        if one["spec"]["issuerRef"]["name"] not in issuers:
            yield f"{name_of(one)}: no issuer {one['spec']['issuerRef']['name']}"
    for one in of_kind(objects, "ScaledObject", "HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) not in there:
            yield f"{name_of(one)} scales nothing"
        elif "replicas" in get(objects, target["kind"], target["name"])["spec"]:
            yield f"{name_of(one)}: applying again sets {target['name']} back to its replicas"


def _referred(pod: Pod) -> Iterator[tuple[str, str, bool]]:
    for one in pod.containers:
        for source in one.get("envFrom", ()):
            for word, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if word in source:
                    yield kind, source[word]["name"], source[word].get("optional", False)
        for variable in one.get("env", ()):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield "Secret", reference["name"], reference.get("optional", False)
    for volume in pod.spec.get("volumes", ()):
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], False
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"], False
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"], False


def _claims(objects: list[Object], pod: Pod) -> set[str]:
    if pod.kind != "StatefulSet":
        return set()
    spec = get(objects, "StatefulSet", pod.owner.partition("/")[2])["spec"]
    return {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", ())}


def secrets(objects: list[Object]) -> Iterator[str]:
    """A secret that is written down in a manifest, instead of a reference to one."""
    yield from (f"{name_of(one)} is written down" for one in of_kind(objects, "Secret"))
    for one in of_kind(objects, "ConfigMap"):
        yield from (f"{name_of(one)}: {said}" for said in _told(one.get("data", {})))
    for pod in pods(objects):
        for one in pod.containers:
            literal = {e["name"]: e["value"] for e in one.get("env", ()) if "value" in e}
            yield from (f"{pod.owner}: {said}" for said in _told(literal))
            for variable in one.get("env", ()):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if reference and reference["key"] not in GIVEN_SECRETS.get(reference["name"], ()):
                    yield f"{pod.owner}: {reference['name']} has no key {reference['key']}"


def _told(values: dict[str, str]) -> Iterator[str]:
    for name, value in values.items():
        if _SECRET_NAME.search(name) and value:
            yield f"{name} is written down"
        if re.search(r"://[^/@\s]+:[^/@\s]+@", value):
            yield f"{name} holds a password"


def targets(objects: list[Object]) -> Iterator[str]:
    """A service that the orchestrator is told of and that is not there, or has another name."""
    told = _orchestrator(objects)
    services = {one["metadata"]["name"]: one["spec"] for one in of_kind(objects, "Service")}
    certified = bool(of_kind(objects, "Certificate"))
    asked = {
        name: value
        for name, value in told.items()
        if name.endswith("_TARGET") and name.startswith("VALIGN_ORCHESTRATOR_")
    }
    for name in ("GENERATOR", "EMBEDDER", "TRAINER"):
        if f"VALIGN_ORCHESTRATOR_{name}_TARGET" not in asked:
            yield f"the orchestrator is not told where the {name.lower()} is"
    for name, value in asked.items():
        host, _, port = value.removeprefix("dns:///").partition(":")
        found: dict[str, Any] = services.get(host, {})
        if int(port) not in {one["port"] for one in found.get("ports", ())}:
            yield f"{name}={value}: no such Service"
        elif value.startswith("dns:///") != (found.get("clusterIP") == "None"):
            yield f"{name}={value}: a name with every replica is that of a headless Service"
        if certified and host not in _certified(objects, found.get("selector", {})):
            yield f"{name}={value}: the certificate of {host} has another name"
    callers = json.loads(_told_of(objects, "trainer").get("VALIGN_TRAINER_TLS_CLIENT_NAMES", "[]"))
    if certified and not set(callers) & _certified(objects, {"app.kubernetes.io/name": "orchestrator"}):
        yield f"the trainer takes calls of {callers} alone, and the orchestrator is none of them"


def _certified(objects: list[Object], selector: dict[str, str]) -> set[str]:
    """The names in the certificates that all of these pods have."""
    shown = [
        {
            name
            for volume in pod.spec.get("volumes", ())
            for one in of_kind(objects, "Certificate")
            if volume.get("secret", {}).get("secretName") == one["spec"]["secretName"]
            for name in one["spec"].get("dnsNames", ())
        }
        for pod in pods(objects)
        if selects({"matchLabels": selector}, pod.labels)
    ]
    return set.intersection(*shown) if shown else set()


def second_encoder(objects: list[Object]) -> Iterator[str]:
    """An installation whose verdicts are holds at most, or whose second encoder is the first."""
    if "VALIGN_ORCHESTRATOR_SECOND_EMBEDDER_TARGET" not in _orchestrator(objects):
        yield "there is no second embedder, so that every verdict is a hold at most"
    models = [environment(one, objects).get("VALIGN_EMBEDDER_MODEL") for one in _all(objects, "embedder")]
    if len(set(models)) != len(models):
        yield f"the embedders have one encoder: {models}"


def hub(objects: list[Object]) -> Iterator[str]:
    """A container that fetches models and is not given the token of the model hub."""
    for name in ("generator", "embedder", "trainer", "ray-worker"):
        for one in _all(objects, name):
            if environment(one, objects).get("HF_TOKEN") != SECRET:
                yield f"{name} cannot fetch a gated model: it has no HF_TOKEN of a Secret"


def jobs(objects: list[Object]) -> Iterator[str]:
    """A Job that reads a ConfigMap: another setting is another name of that, and a Job cannot be changed."""
    for pod in pods(objects):
        if pod.kind == "Job":
            yield from (
                f"{pod.owner} cannot be applied again once {name} has changed"
                for kind, name, _ in _referred(pod)
                if kind == "ConfigMap"
            )


def names(objects: list[Object]) -> Iterator[str]:
    """A policy that lets pods ask the cluster's DNS and not a cache of it on the node."""
    for one in of_kind(objects, "NetworkPolicy"):
        for rule in one["spec"].get("egress", ()):
            asks = any(port["port"] == 53 for port in rule.get("ports", ()))
            if asks and {"ipBlock": {"cidr": NODE_CACHE}} not in rule["to"]:
                yield f"{name_of(one)} keeps pods from the DNS cache of their node"


def _all(objects: list[Object], container: str) -> list[dict[str, Any]]:
    return [one for pod in pods(objects) for one in pod.containers if one["name"] == container]


def _orchestrator(objects: list[Object]) -> dict[str, str]:
    return _told_of(objects, "orchestrator")


def _told_of(objects: list[Object], service: str) -> dict[str, str]:
    for pod in pods(objects):
        for one in pod.containers:
            if one["name"] == service:
                return {k: v for k, v in environment(one, objects).items() if v != SECRET}
    raise LookupError(f"no container {service}")


def queries(objects: list[Object]) -> Iterator[str]:
    """A trigger of autoscaling that asks for a series that nothing exposes."""
    for one in of_kind(objects, "ScaledObject"):
        for trigger in one["spec"]["triggers"]:
            names = set(re.findall(r"\b(?:valign|vllm)[a-z_:]+", trigger["metadata"]["query"]))
            if not names or names - series().keys() - {"valign"}:
                yield f"{name_of(one)}: no such series: {sorted(names - series().keys())}"
