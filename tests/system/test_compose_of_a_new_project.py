"""A new project's own stack in a real container engine: what `sagagen init` leaves needs nothing but sagagen itself."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from release import at_hand, released
from stack import free_ports, patient_client
from waiting import eventually

pytestmark = pytest.mark.slow

OTHER_PORT = "services: { gateway: { ports: !override ['127.0.0.1:%d:8080'] } }\n"
"""Another test's stack may have 8080."""

IN_THE_CLEAR = """
import os, socket
host, _, port = os.environ["SAGAGEN_BOOKING_ADDR"].rpartition(":")
with socket.create_connection((host, int(port)), timeout=60) as called:
    called.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
    print(called.recv(1))
"""
"""The beginning of a call without TLS, and what is answered."""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("no container engine answers here")
    root = tmp_path / "counting"
    run(tmp_path, str(released(tmp_path)), "init", str(root), "--template", "minimal", PATH=at_hand()["PATH"])
    try:
        yield root
    finally:
        compose(root, "down", "-v", "--timeout", "5")
        # By name: `down --rmi local` also removes what has no name any more, and fails where that goes by itself.
        images = [f"{root.name}-{service}" for service in ("gateway", "booking")]
        subprocess.run(["docker", "image", "rm", *images], capture_output=True, check=False)


def run(folder: Path, *command: str, **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compose(root: Path, *words: str) -> str:
    """Without what watches the mesh."""
    return run(
        root,
        *("docker", "compose", *words),
        COMPOSE_PROFILES="mesh",
        SAGAGEN_ADMIN_TOKEN="only-for-this-test",
    )


def with_certificates(file: Path) -> None:
    """As generated/deploy/compose.tls.yaml says."""
    stack = "generated/deploy/compose.yaml"
    before = file.read_text()
    assert before.count(f"path: {stack}") == 1
    file.write_text(before.replace(stack, f"[{stack}, generated/deploy/compose.tls.yaml]"))


def test_the_stack_of_a_new_project_comes_up_and_runs_a_saga(project: Path) -> None:
    (port,) = free_ports(1)
    (project / "docker-compose.override.yml").write_text(OTHER_PORT % port)
    with_certificates(project / "docker-compose.yml")
    compose(project, "up", "--build", "-d", "--wait")
    make_key = ("sagagen", "keys", "new", "ada", "--scope", "bookings.write")
    (key,) = re.findall(r"sgk_\S+", compose(project, "exec", "-T", "gateway", *make_key))
    headers = {"Idempotency-Key": "seat-1", "X-Api-Key": key}
    with patient_client(f"http://127.0.0.1:{port}") as client:
        stranger = client.post("/bookings", json={"guest": "Eve"}, headers={"Idempotency-Key": "seat-1"})
        assert stranger.status_code == 401
        booked = eventually(
            "the key to be known",
            lambda: client.post("/bookings", json={"guest": "Ada"}, headers=headers),
            lambda answer: answer.status_code != 401,
        )
        assert booked.is_success, booked.text
        again = client.post("/bookings", json={"guest": "Ada"}, headers=headers)
        assert again.content == booked.content
        assert again.headers["idempotency-replayed"] == "true"
    sagas = compose(project, "exec", "-T", "gateway", "sagagen", "sagas", "list", "--status", "all", "--json")
    assert [saga["status"] for saga in json.loads(sagas)["sagas"]] == ["COMPLETED"]
    answer = compose(project, "exec", "-T", "gateway", "python", "-c", IN_THE_CLEAR)
    assert answer.strip() == "b''", "the service speaks to somebody who shows no certificate"
