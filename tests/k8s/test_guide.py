"""The overlays that the guide tells people to write render, and keep to the rules."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.orchestrator.maintenance.backup import FACTS
from services.orchestrator.settings import OrchestratorSettings
from services.orchestrator.store import SqlRunStore
from tests.k8s import schemas
from tests.k8s.findings_cluster import GPU, sums
from tests.k8s.findings_pods import root
from tests.k8s.rendering import OVERLAYS, ROOT, Object, get, of_kind, own_overlay, read
from tests.k8s.test_invariants import OF_OVERLAYS, RULES

GUIDE = ROOT / "docs" / "guides" / "kubernetes.md"
BLOCKS: list[Any] = [
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
]


def _block(*keys: str) -> Any:
    (found,) = [one for one in BLOCKS if set(keys) == set(one) - {"apiVersion", "kind"}]
    return found


def _images() -> Any:
    return _block("namespace", "resources", "images")["images"]


def _findings(objects: list[Object]) -> list[str]:
    return [said for rule in (*RULES, *OF_OVERLAYS) for said in rule(objects)]


def test_own_overlay_of_the_guide_is_the_demo_from_another_registry() -> None:
    written = _block("namespace", "resources", "images")
    assert written["resources"] == ["../k8s/overlays/cpu-demo"]
    objects = own_overlay("cpu-demo", namespace=written["namespace"], images=written["images"])
    assert _findings(objects) == []
    images = {
        one["image"]
        for workload in of_kind(objects, "StatefulSet", "Deployment", "Job")
        for one in workload["spec"]["template"]["spec"]["containers"]
    }
    assert {image.rpartition("/")[0] for image in images} == {"registry.example.org/valign"}
    assert {image.rpartition(":")[2] for image in images} == {"0.1.0", "0.1.0-cpu"}


@pytest.mark.parametrize("overlay", ["gpu", "gpu-multinode"])
def test_settings_of_the_guide_reach_the_services(overlay: str) -> None:
    objects = own_overlay(overlay, images=_images(), **_block("configMapGenerator"))
    assert _findings(objects) == []
    assert (
        get(objects, "ConfigMap", "generator")["data"]["VALIGN_GENERATOR_ARTIFACTS"]
        == "s3://my-bucket/valign"
    )
    assert (
        get(objects, "ConfigMap", "artifact-bucket")["data"]["AWS_ENDPOINT_URL"] == "https://s3.example.org"
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_tenant_is_one_other_word(overlay: str) -> None:
    objects = own_overlay(overlay, namespace="team-a")
    assert _findings(objects) == []
    assert {one["metadata"].get("namespace") for one in objects} <= {"team-a", None}
    assert [one["metadata"]["name"] for one in of_kind(objects, "Namespace")] == ["team-a"]


@pytest.mark.parametrize("overlay", ["gpu", "gpu-multinode"])
def test_air_gapped_overlay_reads_models_from_the_volume_and_speaks_to_private_addresses(
    overlay: str,
) -> None:
    written = _block("components", "configMapGenerator")
    assert written["components"] == ["../k8s/components/air-gapped"]
    objects = own_overlay(
        overlay, components=["air-gapped"], configMapGenerator=written["configMapGenerator"]
    )
    assert _findings(objects) == []
    for one in of_kind(objects, "StatefulSet"):
        (container,) = one["spec"]["template"]["spec"]["containers"]
        assert {"name": "models", "mountPath": "/models", "readOnly": True} in container["volumeMounts"]
        assert {"name": "HF_HUB_OFFLINE", "value": "1"} in container["env"]
    for policy in of_kind(objects, "NetworkPolicy"):
        assert "0.0.0.0/0" not in str(policy)


def test_policy_of_the_guide_is_one() -> None:
    assert schemas.problems(_object("NetworkPolicy")) == []


def _object(kind: str) -> Object:
    (found,) = [one for one in BLOCKS if one.get("kind") == kind]
    return dict(found)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_sizes_of_the_guide_are_what_is_asked_for(overlay: str) -> None:
    objects = read(overlay)
    (row,) = re.findall(rf"^\| `{overlay}` \|.*$", GUIDE.read_text(), re.MULTILINE)
    memory_gib = sums(objects, "requests", "memory") / 2**30
    assert f"{sums(objects, 'requests', 'cpu'):g} CPUs, {memory_gib:g} GiB" in row
    gpus = sums(objects, "requests", GPU)
    assert not gpus or f"{gpus:g} GPUs of" in row
    if overlay == "cpu-demo":
        assert f"may use {sums(objects, 'limits', 'memory') / 2**30:g} GiB" in row


def test_patches_of_the_guide_reach_all_that_they_are_for() -> None:
    objects = own_overlay("gpu-multinode", images=_images(), components=["air-gapped"], **_block("patches"))
    assert _findings(objects) == []
    assert all(one["imagePullSecrets"] for one in of_kind(objects, "ServiceAccount"))
    claims = {one["metadata"]["name"]: one["spec"] for one in of_kind(objects, "PersistentVolumeClaim")}
    assert {name: one["storageClassName"] for name, one in claims.items()} == dict.fromkeys(
        ("models", "trainer-state"), "my-shared-class"
    )
    read_by_prometheus = of_kind(objects, "ServiceMonitor", "PrometheusRule")
    assert len(read_by_prometheus) == 5
    assert {one["metadata"]["labels"]["release"] for one in read_by_prometheus} == {"kube-prometheus-stack"}


def test_pod_that_fills_the_models_is_restricted_and_writes_to_their_claim() -> None:
    pod = _object("Pod")
    assert schemas.problems(pod) == []
    (container,) = pod["spec"]["containers"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert container["image"].endswith(f"/orchestrator:{version}")
    template = {"metadata": {"labels": {}}, "spec": pod["spec"]}
    assert list(root([{"kind": "Job", "metadata": pod["metadata"], "spec": {"template": template}}])) == []
    objects = own_overlay("gpu", components=["air-gapped"])
    first = [one for one in objects if "valign/models" in one["metadata"].get("labels", {})]
    assert [one["metadata"]["name"] for one in first] == ["models"]
    (volume,) = pod["spec"]["volumes"]
    assert volume["persistentVolumeClaim"] == {"claimName": "models"}


def test_backup_and_restore_of_the_guide_bring_back_what_was_there(tmp_path: Path) -> None:
    objects = own_overlay("cpu-demo", components=["backup", "images-cpu"], images=_images())
    assert "[../k8s/components/backup, ../k8s/components/images-cpu]" in GUIDE.read_text()
    assert _findings(objects) == []
    job = get(objects, "CronJob", "backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = job["containers"]
    mounts = {one["mountPath"]: tmp_path / one["name"] for one in container["volumeMounts"]}
    del mounts["/tmp"]
    for folder in mounts.values():
        folder.mkdir()
    home, artifacts = mounts["/var/lib/valign/orchestrator"], mounts["/var/lib/valign/artifacts"]
    (artifacts / "lost+found").mkdir()
    (artifacts / "a.txt").write_text("a")
    store = SqlRunStore(OrchestratorSettings(home=home).database)
    store.migrate()
    store.create_run("r-1", "x", {"name": "x"})
    store.close()

    def there(text: str) -> str:
        for path in sorted(mounts, key=len, reverse=True):
            text = text.replace(path, str(mounts[path]))
        return text.replace("python -m", f"{sys.executable} -m")

    def run(command: list[str]) -> None:
        told = {one["name"]: there(one["value"]) for one in container["env"]}
        subprocess.run(
            [there(one) for one in command], check=True, env={"PATH": "/usr/bin:/bin", **told}, cwd=ROOT
        )

    # Kubernetes makes one dollar sign of two.
    run([one.replace("$$", "$") for one in container["command"]])
    (copy,) = mounts["/var/backups"].iterdir()
    assert (copy / FACTS).is_file()
    (artifacts / "a.txt").write_text("b")
    restore = _block("command")["command"]
    run([re.sub(r"/var/backups/\d[\dT-]+", f"/var/backups/{copy.name}", one) for one in restore])
    assert (artifacts / "a.txt").read_text() == "a"
    assert (mounts["/var/backups"] / "moved-away" / "a.txt").read_text() == "b"
    store = SqlRunStore(OrchestratorSettings(home=home).database)
    assert store.get_run("r-1").study == {"name": "x"}
    store.close()


def test_every_service_that_starts_is_waited_for() -> None:
    text = GUIDE.read_text()
    (loop,) = re.findall(r"for name in (.*); do\n  kubectl -n valign rollout status statefulset/", text)
    for overlay in OVERLAYS:
        there = {one["metadata"]["name"] for one in of_kind(read(overlay), "StatefulSet")}
        assert there == set(loop.split())


def test_names_of_services_in_the_guides_are_those_of_the_manifests() -> None:
    there = {one["metadata"]["name"] for one in of_kind(read("gpu"), "Service")}
    told = {
        name
        for path in GUIDE.parent.glob("*.md")
        for name in re.findall(r"_TARGET=dns:///([\w.-]+):", path.read_text())
    }
    assert told
    assert told <= there
