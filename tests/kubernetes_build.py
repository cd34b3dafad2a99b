"""Overlays of generated/deploy/kubernetes as `kubectl kustomize` builds them, and what a cluster would make of them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

Object = dict[str, Any]
"""One object, as its manifest has it."""
KUBERNETES = Path("generated", "deploy", "kubernetes")
PROJECT = Path(__file__).parents[1]
WORKLOADS = ("Deployment", "StatefulSet")


@cache
def _kustomize() -> tuple[str, ...] | str:
    """The command that builds a folder, or why there is none. Components need kubectl 1.21 (kustomize 3.7)."""
    beside = Path(sys.executable).with_name("kubectl")
    kubectl = str(beside) if beside.exists() else shutil.which("kubectl")
    if kubectl is None:
        alone = shutil.which("kustomize")
        return (alone, "build") if alone else "neither kubectl nor kustomize is installed here"
    told = subprocess.run(
        [kubectl, "version", "--client", "-o", "json"], capture_output=True, text=True, check=True
    ).stdout
    version = json.loads(told)["clientVersion"]
    if int("".join(filter(str.isdigit, version["minor"]))) < 21:
        return f"{kubectl} is older than 1.21"
    return (kubectl, "kustomize")


def needs_kustomize() -> pytest.MarkDecorator:
    found = _kustomize()
    return pytest.mark.skipif(isinstance(found, str), reason=str(found))


@cache
def build(folder: Path) -> list[Object]:
    """The objects of a kustomization, to be read only. Fails where it can't be built, or where kustomize warns."""
    command = _kustomize()
    assert not isinstance(command, str), command
    done = subprocess.run([*command, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return [*_documents(done.stdout)]


def _documents(text: str) -> Iterator[Object]:
    loaded: Iterable[Object] = YAML(typ="safe").load_all(text)  # pyright: ignore[reportUnknownMemberType] - ruamel's stream has no type
    return iter(loaded)


def overlay(name: str, root: Path = PROJECT) -> list[Object]:
    """An emitted one: dev, stage or prod."""
    return build(root / KUBERNETES / "overlays" / name)


def of_kind(objects: Iterable[Object], *kinds: str) -> dict[str, Object]:
    """By name."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] in kinds}


def pods(objects: Iterable[Object]) -> dict[str, Object]:
    """The pod templates of all workloads, by the workload's name."""
    return {name: each["spec"]["template"] for name, each in of_kind(objects, *WORKLOADS).items()}


def container(pod: Object) -> Object:
    """The one container of a pod."""
    (only,) = pod["spec"]["containers"]
    return only


def variables(pod: Object, objects: Sequence[Object]) -> dict[str, str]:
    """A process's environment: settings from ConfigMaps first, then its own."""
    maps, one = of_kind(objects, "ConfigMap"), container(pod)
    found: dict[str, str] = {}
    for source in one.get("envFrom", ()):
        found |= maps[source["configMapRef"]["name"]]["data"]
    return found | {
        each["name"]: each["value"] if "value" in each else f"$({each['valueFrom']['fieldRef']['fieldPath']})"
        for each in one.get("env", ())
    }


def labels(pod: Object) -> Mapping[str, str]:
    return pod["metadata"]["labels"]


def selects(selector: Mapping[str, Any], of: Mapping[str, str]) -> bool:
    """A label selector (meta/v1); the empty one selects all."""
    equal = selector.get("matchLabels", {}).items() <= of.items()
    return equal and all(
        of.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ())
    )


def may_reach(objects: Sequence[Object], source: Object, target: Object, port: int) -> bool:
    """Whether the policies let one pod of this namespace open a connection to another one's port."""
    leaves = _admits(objects, "Egress", source, target, port)
    return leaves and _admits(objects, "Ingress", target, source, port)


def _admits(objects: Sequence[Object], direction: str, of: Object, other: Object, port: int) -> bool:
    policies = [
        policy["spec"]
        for policy in of_kind(objects, "NetworkPolicy").values()
        if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], labels(of))
    ]
    peers = {"Egress": "to", "Ingress": "from"}[direction]
    rules = [rule for policy in policies for rule in policy.get(direction.lower()) or ()]
    return not policies or any(
        any(each["port"] == port for each in rule["ports"])
        and (
            peers not in rule
            or any(
                "podSelector" in peer and selects(peer["podSelector"], labels(other)) for peer in rule[peers]
            )
        )
        for rule in rules
    )
