"""A real Prometheus of the tests' own, which scrapes a stack each second."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML
from stack import Stack, free_ports


class Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, query: str) -> list[Any]:
        """The series of an instant query. Raises AssertionError, with what Prometheus says, where it is wrong."""
        answer = httpx.post(f"{self._url}/api/v1/query", data={"query": query}, timeout=10).json()
        assert answer["status"] == "success", f"{query}: {answer}"
        return answer["data"]["result"]

    def exemplars(self, query: str) -> list[Any]:
        asked = {"query": query, "start": time.time() - 600, "end": time.time()}
        answer = httpx.get(f"{self._url}/api/v1/query_exemplars", params=asked, timeout=10).json()
        return answer["data"]

    def await_answer(self, within_s: float = 20.0) -> None:
        give_up_at = time.monotonic() + within_s
        while True:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self._url}/-/ready", timeout=2).status_code == 200:
                    return
            assert time.monotonic() < give_up_at
            time.sleep(0.1)

    def await_targets(self, count: int, within_s: float = 30.0) -> None:
        give_up_at = time.monotonic() + within_s
        while len(self.ask("up == 1")) < count:
            assert time.monotonic() < give_up_at, self.ask("up")
            time.sleep(0.3)

    def firing(self) -> set[str]:
        """The names of alerts that fire now."""
        return {alert["metric"]["alertname"] for alert in self.ask('ALERTS{alertstate="firing"}')}


@contextmanager
def prometheus_of(stack: Stack, folder: Path, rules: Path) -> Iterator[Prometheus]:
    """One of the machine's own, with these rules, that scrapes every admin listener each second."""
    admins = [stack.admin_url, *(stack.service_admin_url(service) for service in stack.services)]
    targets = [url.removeprefix("http://") for url in admins]
    (port,) = free_ports(1)
    with (folder / "prometheus.yaml").open("w") as file:
        YAML().dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(rules)],
                "scrape_configs": [{"job_name": "shop", "static_configs": [{"targets": targets}]}],
            },
            file,
        )
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
    ]
    listening = [f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, *listening], stdout=log, stderr=log)
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        prometheus.await_answer()
        yield prometheus
    finally:
        process.terminate()
        process.wait(10)
