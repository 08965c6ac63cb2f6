"""What kubectl makes of the overlays and components, as plain objects. kustomize reads files alone."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
KUBECTL = Path(sys.executable).with_name("kubectl")

Object = dict[str, Any]

OVERLAYS = tuple(sorted(path.name for path in (K8S / "overlays").iterdir()))
COMPONENTS = tuple(sorted(path.name for path in (K8S / "components").iterdir()))
RENDERED = (*OVERLAYS, *(f"base+{name}" for name in COMPONENTS))
CLUSTER = ("cluster", "cluster/kueue")


def _text(what: str) -> str:
    if not what.startswith("base+"):
        folder = K8S / ("overlays" if what in OVERLAYS else "") / what
        return _kustomize(folder)
    name = what.removeprefix("base+")
    # Of these an installation has one each, or its services do not start.
    secured = () if name in ("tls", "plaintext") else ("plaintext",)
    named = () if name.startswith("images-") else ("images-cpu",)
    components = (*secured, name, *named) if name not in secured else (name, *named)
    with tempfile.TemporaryDirectory() as place:
        # kustomize takes no absolute path.
        here = Path(place).resolve()
        overlay = {
            "namespace": "valign",
            "resources": [os.path.relpath(K8S / "base", here)],
            "components": [os.path.relpath(K8S / "components" / one, here) for one in components],
        }
        (here / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        return _kustomize(here)


def own_overlay(overlay: str, components: Sequence[str] = (), **fields: Any) -> list[Object]:
    """What somebody's own kustomization on top of an overlay makes, with these components and fields."""
    with tempfile.TemporaryDirectory() as place:
        here = Path(place).resolve()
        written = {
            "resources": [os.path.relpath(K8S / "overlays" / overlay, here)],
            "components": [os.path.relpath(K8S / "components" / one, here) for one in components],
            **fields,
        }
        (here / "kustomization.yaml").write_text(yaml.safe_dump(written))
        return [one for one in yaml.load_all(_kustomize(here), Loader=yaml.CSafeLoader) if one]


def _kustomize(folder: Path) -> str:
    done = subprocess.run(
        [str(KUBECTL), "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode != 0 or done.stderr:
        # A warning is an error too: kustomize tells of deprecated fields there.
        raise AssertionError(f"kubectl kustomize {folder}: {done.stderr}")
    return done.stdout


@cache
def read(what: str) -> list[Object]:
    """The objects of an overlay, of ``cluster`` or ``cluster/kueue``, or of the base with one component.

    The same ones for every caller: not to be changed.
    """
    return [one for one in yaml.load_all(_text(what), Loader=yaml.CSafeLoader) if one]


def render(what: str) -> list[Object]:
    """The same, of the caller's own."""
    return deepcopy(read(what))


def name_of(one: Object) -> str:
    """Kind/name."""
    return f"{one['kind']}/{one['metadata']['name']}"


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Those of the kinds."""
    return [one for one in objects if one["kind"] in kinds]


def get(objects: list[Object], kind: str, name: str) -> Object:
    """The one of this name; a generated name may carry a hash. LookupError if there is not exactly one."""
    same_kind = of_kind(objects, kind)
    found = [one for one in same_kind if one["metadata"]["name"] == name]
    if kind == "ConfigMap":
        found = found or [one for one in same_kind if one["metadata"]["name"].rpartition("-")[0] == name]
    if len(found) != 1:
        raise LookupError(f"{len(found)} of {kind}/{name}")
    return found[0]
