"""Every overlay and component renders, and each object is one that a strict reader takes."""

import tomllib

import pytest
import yaml

from scripts.write_prometheus_rules import document
from tests.k8s import schemas
from tests.k8s.pods import environment, pods
from tests.k8s.rendering import (
    CLUSTER,
    COMPONENTS,
    K8S,
    OVERLAYS,
    RENDERED,
    ROOT,
    Object,
    get,
    name_of,
    of_kind,
    own_overlay,
    read,
    render,
)

ALL = (*RENDERED, *CLUSTER)


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("version", [schemas.OLDEST, schemas.NEWEST])
def test_rendered_objects_are_valid_for_a_strict_reader(what: str, version: str) -> None:
    objects = [one for one in render(what) if not schemas.packaged(one["apiVersion"])]
    assert objects
    assert {name_of(one): schemas.problems(one, version) for one in objects} == {
        name_of(one): [] for one in objects
    }


@pytest.mark.parametrize("what", ["base+tls", "base+monitoring", "base+autoscaling", "gpu", "gpu-multinode"])
def test_rendered_custom_resources_are_valid_for_a_strict_reader(what: str) -> None:
    if not schemas.packages_are_here():
        pytest.skip(schemas.REMEDY)
    objects = [one for one in render(what) if schemas.packaged(one["apiVersion"])]
    assert objects
    assert {name_of(one): schemas.problems(one) for one in objects} == {name_of(one): [] for one in objects}


def test_custom_resources_are_where_they_are_looked_for() -> None:
    found = {
        what
        for what in RENDERED
        if any(schemas.packaged(one["apiVersion"]) for one in render(what)) and what.startswith("base+")
    }
    assert found == {"base+tls", "base+monitoring", "base+autoscaling"}


@pytest.mark.parametrize(
    ("what", "kind", "name", "place"),
    [
        ("cpu-demo", "StatefulSet", "generator", ("spec",)),
        ("cpu-demo", "StatefulSet", "generator", ("spec", "template", "spec", "containers", 0)),
        ("cpu-demo", "NetworkPolicy", "generator", ("spec", "ingress", 0)),
        ("gpu-multinode", "RayCluster", "trainer-ray", ("spec",)),
        ("gpu-multinode", "RayCluster", "trainer-ray", ("spec", "headGroupSpec", "template", "spec")),
        ("gpu-multinode", "LocalQueue", "training", ("spec",)),
        ("cluster/kueue", "ClusterQueue", "valign", ("spec", "resourceGroups", 0, "flavors", 0)),
        ("base+tls", "Certificate", "generator", ("spec",)),
        ("base+monitoring", "ServiceMonitor", "generator", ("spec", "endpoints", 0)),
        ("base+monitoring", "PrometheusRule", "valign", ("spec", "groups", 0)),
        ("base+autoscaling", "ScaledObject", "generator", ("spec", "triggers", 0)),
    ],
)
def test_misspelt_field_anywhere_is_found(
    what: str, kind: str, name: str, place: tuple[str | int, ...]
) -> None:
    one = get(render(what), kind, name)
    if schemas.packaged(one["apiVersion"]) and not schemas.packages_are_here():
        pytest.skip(schemas.REMEDY)
    inner = one
    for step in place:
        inner = inner[step]  # type: ignore[index]
    inner["relpicas"] = 1
    assert "relpicas" in " ".join(schemas.problems(one))


def test_kind_without_a_schema_is_an_error_and_no_pass() -> None:
    with pytest.raises(LookupError, match="no schema of example"):
        schemas.problems({"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "a"}})


def test_prometheus_rule_is_made_of_the_files_as_they_are() -> None:
    file = K8S / "components" / "monitoring" / "prometheus-rules.yaml"
    assert file.read_text() == document(), "make k8s-rules"
    groups = yaml.safe_load(file.read_text())["spec"]["groups"]
    sources = [
        group
        for name in ("recording.yaml", "alerts.yaml")
        for group in yaml.safe_load((file.parent / name).read_text())["groups"]
    ]
    assert groups == sources


def test_dashboards_are_all_in_the_config_map() -> None:
    there = {path.name for path in (K8S / "components" / "monitoring" / "dashboards").iterdir()}
    assert set(get(render("base+monitoring"), "ConfigMap", "dashboards")["data"]) == there


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_images_have_the_version_of_the_project(variant: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    file = K8S / "components" / f"images-{variant}" / "kustomization.yaml"
    images = yaml.safe_load(file.read_text())["images"]
    assert {one["newTag"].partition("-")[0] for one in images} == {version}
    assert {one["name"] for one in images} == {
        f"valign/{name}" for name in ("orchestrator", "generator", "embedder", "trainer")
    }


def test_no_file_but_those_of_the_images_holds_a_tag() -> None:
    for path in K8S.rglob("*.yaml"):
        if not path.parent.name.startswith("images-"):
            assert "newTag" not in path.read_text(), path
            assert ":0." not in path.read_text(), path


def test_every_component_is_named_in_the_guide() -> None:
    text = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()
    assert [name for name in COMPONENTS if f"`{name}`" not in text] == []


def test_namespace_is_one_word_to_change() -> None:
    """What lies in a namespace lies in the overlay's; no name that a service is called by has it in it."""
    objects = render("gpu-multinode")
    spaceless = {"Namespace", "PriorityClass"}
    assert {one["metadata"].get("namespace") for one in objects if one["kind"] not in spaceless} == {"valign"}
    for one in of_kind(objects, "ConfigMap"):
        if one["metadata"]["name"] != "dashboards":
            assert ".valign.svc" not in str(one["data"])
    for one in of_kind(objects, "Certificate"):
        assert ".valign" not in str(one["spec"].get("dnsNames", ""))


@pytest.mark.parametrize("what", OVERLAYS)
def test_label_of_an_upgrade_takes_the_job_alone(what: str) -> None:
    first = [one for one in read(what) if one["metadata"].get("labels", {}).get("valign/migrates") == "true"]
    assert [name_of(one) for one in first] == ["Job/migrations"]


@pytest.mark.parametrize("what", OVERLAYS)
def test_changed_setting_leaves_the_job_as_it_is(what: str) -> None:
    literals = ["VALIGN_ORCHESTRATOR_CONCURRENT_RUNS=2"]
    changed = own_overlay(
        what, configMapGenerator=[{"name": "orchestrator", "behavior": "merge", "literals": literals}]
    )
    assert get(changed, "ConfigMap", "orchestrator") != get(read(what), "ConfigMap", "orchestrator")
    assert get(changed, "Job", "migrations") == get(read(what), "Job", "migrations")


def test_job_and_backup_find_what_the_orchestrator_keeps() -> None:
    objects = read("base+backup")
    told = get(objects, "ConfigMap", "orchestrator")["data"]
    for pod in pods(objects):
        if pod.owner in ("Job/migrations", "CronJob/backup"):
            (one,) = pod.containers
            own = {k: v for k, v in environment(one, objects).items() if k.startswith("VALIGN_")}
            assert own
            assert own.items() <= told.items()


def test_second_embedder_is_the_first_with_another_model() -> None:
    def spec(name: str) -> Object:
        one = get(render("gpu"), "StatefulSet", name)["spec"]
        container = one["template"]["spec"]["containers"][0]
        for word in ("envFrom", "resources"):
            del container[word]
        del one["replicas"]
        text = yaml.safe_dump(one).replace("second-embedder", "embedder")
        return dict(yaml.safe_load(text))

    assert spec("second-embedder") == spec("embedder")


def test_new_generator_has_time_for_its_adapters_before_the_next_is_replaced() -> None:
    for what in OVERLAYS:
        spec = get(read(what), "StatefulSet", "generator")["spec"]
        assert spec["minReadySeconds"] >= 60
