"""A store of objects as S3 has it, for snapshots of a Restate cluster: moto's server, where it is installed."""

import shutil
import subprocess
import tempfile
from typing import Self

import httpx
from stack import free_ports
from waiting import eventually

BUCKET = "snapshots"


def is_there() -> bool:
    return shutil.which("moto_server") is not None


class ObjectStore:
    """A server process that keeps its objects in memory. Used by `with`."""

    def __init__(self) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._port = port

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["moto_server", "-H", "127.0.0.1", "-p", str(self._port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=tempfile.gettempdir(),
        )
        eventually("the object store to have a bucket", self._has_bucket, bool)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def configuration(self) -> str:
        """Of Restate's section `worker.snapshots`."""
        return f"""
destination = "s3://{BUCKET}/restate"
aws-endpoint-url = "{self.url}"
aws-allow-http = true
aws-region = "local"
aws-access-key-id = "tests"
aws-secret-access-key = "tests"
"""

    def count(self) -> int:
        """Objects that are there."""
        return httpx.get(f"{self.url}/{BUCKET}?list-type=2", timeout=30).text.count("<Key>")

    def _has_bucket(self) -> bool:
        try:
            return httpx.put(f"{self.url}/{BUCKET}", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False
