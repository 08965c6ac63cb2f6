"""The overlays that the guide tells people to write render, and keep to the rules."""

import re
from typing import Any

import pytest
import yaml

from tests.k8s.rendering import OVERLAYS, ROOT, Object, get, of_kind, own_overlay
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
    from tests.k8s import schemas

    assert schemas.problems(_block("metadata", "spec")) == []
