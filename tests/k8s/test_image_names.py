"""What `make images images-push` names is what the overlays name."""

import subprocess
from pathlib import Path

import pytest

from tests.k8s.rendering import ROOT, of_kind, read

ENGINE = """#!/bin/sh
[ "$1" = info ] || echo "$@" >>"$0.log"
"""


@pytest.mark.parametrize(
    ("overlay", "variant"), [("cpu-demo", "cpu"), ("gpu", "cuda"), ("gpu-multinode", "cuda")]
)
def test_images_are_built_and_pushed_under_the_names_of_the_overlay(
    overlay: str, variant: str, tmp_path: Path
) -> None:
    """The container engine is a program that notes what it was asked for."""
    engine = tmp_path / "engine"
    engine.write_text(ENGINE, encoding="utf-8")
    engine.chmod(0o755)
    command = ["make", "-C", str(ROOT), "images", "images-push", f"VARIANT={variant}", f"ENGINE={engine}"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    asked = [line.split() for line in Path(f"{engine}.log").read_text(encoding="utf-8").splitlines()]
    built = {line[line.index("-t") + 1] for line in asked if line[0] == "build"}
    pushed = {line[1] for line in asked if line[0] == "push"}
    objects = read(overlay)
    named = {
        container["image"]
        for workload in of_kind(objects, "StatefulSet", "Deployment", "Job")
        for container in workload["spec"]["template"]["spec"]["containers"]
    }
    assert {name.rpartition("/")[2].partition(":")[0] for name in named} == {
        "orchestrator",
        "embedder",
        "trainer",
        "generator",
    }
    assert built == pushed == named
