"""Pods of a built overlay as processes of this machine: their environment, Secrets and Services make a mesh that works.

What a kubelet does is done here by hand: Secrets become files, ports of pods become free ports, and the name of a
Service becomes the address of a pod that it selects.
"""

import base64
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import postgres_server
import pytest
from curl_lines import await_status, readme_curls, type_in
from kubernetes_build import (
    KUBERNETES,
    PROJECT,
    Object,
    build,
    container,
    labels,
    needs_kustomize,
    of_kind,
    pods,
    selects,
    variables,
)
from redis_server import RedisServer
from stack import free_ports, patient_client
from thorough import chosen
from waiting import LIMIT_S, eventually

from sagagen.runtime.trust.issuing import DevCa

pytestmark = [
    pytest.mark.slow,
    needs_kustomize(),
    pytest.mark.skipif(bool(postgres_server.missing()), reason=postgres_server.missing()),
]

PROCESSES = ("gateway", "order", "inventory", "payment")
OVERLAY = """\
namespace: shop
resources: [{kubernetes}/base]
components:
  - {kubernetes}/components/postgres/order
  - {kubernetes}/components/postgres/payment
  - {kubernetes}/components/redis
{more}  - {kubernetes}/components/cert-manager
  - {kubernetes}/components/encryption
"""
ON_POSTGRES = ("order", "payment", "gateway")
MORE = {"a log in a file": "", "a log in PostgreSQL": "  - {kubernetes}/components/postgres-log\n"}
SECRET = "0123456789abcdef" * 4


class Node:
    """A folder and free ports, in place of a cluster."""

    def __init__(self, objects: list[Object], secrets: Mapping[str, Mapping[str, str]], folder: Path) -> None:
        self.objects = objects
        self.pods = {name: pod for name, pod in pods(objects).items() if name in PROCESSES}
        self._secrets = secrets
        self.folder = folder
        wanted = [(name, each["name"]) for name, pod in self.pods.items() for each in container(pod)["ports"]]
        self._ports = dict(zip(wanted, free_ports(len(wanted)), strict=True))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def port(self, name: str, named: str) -> int:
        return self._ports[name, named]

    def database(self, name: str) -> str:
        return self._secrets[f"{name}-database"]["url"].rpartition("/")[2]

    def start(self, name: str) -> None:
        pod = self.pods[name]
        mounts = self._mounted(name, pod)
        environment = {"PATH": os.environ["PATH"]}
        for variable, value in variables(pod, self.objects).items():
            environment[variable] = self._here(name, value, mounts)
        command = container(pod)["command"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(Path(sys.executable).with_name(command[0])), *command[1:]],
                cwd=PROJECT,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def await_ready(self, name: str) -> None:
        probe = container(self.pods[name])["readinessProbe"]["httpGet"]
        with patient_client(f"http://127.0.0.1:{self.port(name, probe['port'])}") as client:

            def is_ready() -> bool:
                assert self.processes[name].poll() is None, (self.folder / f"{name}.log").read_text()
                return client.get(probe["path"]).status_code == 200

            eventually(f"{name} to be ready", is_ready, despite=(OSError, Exception))

    def stop(self, name: str) -> float:
        """Told to end as a kubelet does. Returns how long it took, in seconds."""
        process, begun = self.processes.pop(name), time.monotonic()
        process.terminate()
        process.wait(timeout=LIMIT_S)
        return time.monotonic() - begun

    def _mounted(self, name: str, pod: Object) -> dict[str, Path]:
        """Path in the container -> the folder that stands for it, with its Secret in it."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        found: dict[str, Path] = {}
        for mount in container(pod)["volumeMounts"]:
            folder = self.folder / name / mount["name"]
            folder.mkdir(parents=True, exist_ok=True)
            found[mount["mountPath"]] = folder
            volume = volumes.get(mount["name"], {})
            for secret, key, path in _files_of(volume, self._secrets):
                file = folder / path
                file.write_text(self._secrets[secret][key])
                file.chmod(volume.get("secret", volume.get("projected"))["defaultMode"])
        return found

    def _here(self, name: str, value: str, mounts: Mapping[str, Path]) -> str:
        for path, folder in mounts.items():
            if value.startswith(f"{path}/") or value == path:
                return f"{folder}{value.removeprefix(path)}"
        if found := re.fullmatch(r"0\.0\.0\.0:(\d+)", value):
            (named,) = (
                each["name"]
                for each in container(self.pods[name])["ports"]
                if each["containerPort"] == int(found[1])
            )
            return f"127.0.0.1:{self.port(name, named)}"
        if found := re.fullmatch(r"(dns:///)?([a-z-]+):(\d+)", value):
            return f"{found[1] or ''}localhost:{self._behind(found[2], int(found[3]))}"
        return value

    def _behind(self, service: str, port: int) -> int:
        """Where a pod listens that this Service selects."""
        spec = of_kind(self.objects, "Service")[service]["spec"]
        (named,) = (each["targetPort"] for each in spec["ports"] if each["port"] == port)
        (pod,) = (
            name for name, pod in self.pods.items() if selects({"matchLabels": spec["selector"]}, labels(pod))
        )
        return self.port(pod, named)


def _files_of(volume: Object, secrets: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Secret, its key, and the file's name."""
    if "secret" in volume:
        name = volume["secret"]["secretName"]
        yield from ((name, key, key) for key in secrets[name])
    for source in volume.get("projected", {}).get("sources", ()):
        for item in source["secret"]["items"]:
            yield source["secret"]["name"], item["key"], item["path"]


def _secrets(objects: list[Object], redis: RedisServer) -> dict[str, dict[str, str]]:
    server, number = postgres_server.shared_server(), redis.port
    ca = DevCa.new("mesh", timedelta(days=10))
    made: dict[str, dict[str, str]] = {
        "mesh-key": {"mesh-key": SECRET},
        "admin-token": {"token": SECRET},
        "redis": {"url": redis.url},
        "encryption-keys": {"keys": f"k1:{base64.b64encode(os.urandom(32)).decode()}"},
        **{f"{name}-database": {"url": server.database(f"pods_{name}_{number}")} for name in ON_POSTGRES},
    }
    for each in of_kind(objects, "Certificate").values():
        if "uris" in each["spec"]:
            issued = ca.issue(each["spec"]["uris"], [], timedelta(days=1))
            made[each["spec"]["secretName"]] = {
                "tls.crt": issued.certificate.decode(),
                "tls.key": issued.key.decode(),
                "ca.crt": ca.certificate.decode(),
            }
    return made


@pytest.fixture(scope="module", params=chosen([*MORE], first=1))
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Two services on PostgreSQL and one on SQLite, with certificates, encryption and a Redis."""
    folder = tmp_path_factory.mktemp("pods")
    overlay = folder / "overlay"
    overlay.mkdir()
    kubernetes = os.path.relpath(PROJECT / KUBERNETES, overlay)
    text = OVERLAY.replace("{more}", MORE[request.param]).replace("{kubernetes}", kubernetes)
    (overlay / "kustomization.yaml").write_text(text)
    objects = build(overlay)
    with RedisServer(folder) as redis:
        made = Node(objects, _secrets(objects, redis), folder)
        try:
            for name in reversed(PROCESSES):
                made.start(name)
            for name in reversed(PROCESSES):
                made.await_ready(name)
            yield made
        finally:
            for process in made.processes.values():
                process.kill()
                process.wait()


def test_both_orders_of_the_readme_go_through_pods_on_both_stores(node: Node) -> None:
    url = f"http://127.0.0.1:{node.port('gateway', 'http')}"
    good, bad = readme_curls()
    status, order = type_in(good, url)
    assert (status, order["status"]) == (201, "PENDING")
    await_status(url, order["order_id"], "CONFIRMED")
    status, refused = type_in(bad, url)
    assert status == 201
    await_status(url, refused["order_id"], "CANCELLED")
    counted = postgres_server.shared_server().sql("SELECT count(*) FROM orders", node.database("order"))
    assert int(counted) == 2
    assert (node.folder / "inventory" / "data" / "data").is_dir()


def test_pods_end_within_their_grace_period(node: Node) -> None:
    for name in PROCESSES:
        took_s = node.stop(name)
        assert took_s < node.pods[name]["spec"]["terminationGracePeriodSeconds"], name
