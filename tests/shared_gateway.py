"""A gateway whose saga log is in PostgreSQL, as a process: one of several, for tests."""

from base64 import b64encode
from pathlib import Path

from stack import Stack


class SharedGateway(Stack):
    """A gateway without a disk, on the services of another stack."""

    def __init__(self, folder: Path, services: Stack, url: str) -> None:
        super().__init__(folder)
        self.keys = folder / "keys"
        folder.mkdir(parents=True, exist_ok=True)
        self.keys.write_text(f"k1:{b64encode(b'1' * 32).decode()}\n")
        self.reached = services.reached
        self.engine = url

    def environment(self, name: str) -> dict[str, str]:
        return {
            **super().environment(name),
            "SAGAGEN_ENGINE_URL": self.engine,
            "SAGAGEN_DATA_DIR": "/proc/no-such-folder",
            "SAGAGEN_ENCRYPTION_KEYS_FILE": str(self.keys),
        }
