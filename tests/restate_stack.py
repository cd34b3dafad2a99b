"""The shop as real processes, with its sagas on a Restate server of the test's own."""

import random
import time
from pathlib import Path

from restate_server import RestateServer
from stack import Stack, free_ports
from waiting import eventually


class RestateStack(Stack):
    """`engine` is the adapter, beside the processes that a Stack knows."""

    def __init__(self, data_dir: Path, server: RestateServer) -> None:
        super().__init__(data_dir)
        self.server = server
        # As a local mesh counts them: the admin port of the adapter follows those of the services.
        self._engine, *of_services = free_ports(1 + len(self.services))
        self._service_admin["engine"] = self._admin + 1 + len(self.services)
        self._grpc = dict(zip(self.services, of_services, strict=True))
        self.reached = dict(self._grpc)

    def environment(self, name: str) -> dict[str, str]:
        return {
            **super().environment(name),
            **self.server.environment,
            "SAGAGEN_ENGINE_ADDR": f"127.0.0.1:{self._engine}",
        }

    def start_each(self) -> None:
        self.start(*self.services, "engine", "gateway")

    def kill_and_start(self, name: str) -> None:
        """kill -9 of one process, or of the server, and back again after a moment."""
        if name == "restate":
            self.server.kill()
            time.sleep(random.uniform(0.0, 0.5))
            self.server.start()
        else:
            self.kill(name)
            time.sleep(random.uniform(0.0, 0.5))
            self.start(name)

    def all_invocations_end(self) -> None:
        """None is left unfinished."""
        eventually("all invocations to end", self.server.unfinished, lambda count: count == 0)
