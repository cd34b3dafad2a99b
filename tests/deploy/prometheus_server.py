"""A real Prometheus of the tests' own, which scrapes a stack each second."""

import math
import operator
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from stack import Stack, free_ports, patient_client
from waiting import LIMIT_S, eventually, under_load
from yaml_files import write_yaml


def interval_s() -> int:
    """Between scrapes, in seconds: a busy machine does not answer within one, and then a target seems to be down."""
    return math.ceil(under_load(1.0))


class Prometheus:
    def __init__(self, url: str) -> None:
        self._client = patient_client(url)

    def ask(self, query: str) -> list[Any]:
        """The series of an instant query. Raises AssertionError, with what Prometheus says, where it is wrong."""
        answer = self._client.post("/api/v1/query", data={"query": query}).json()
        assert answer["status"] == "success", f"{query}: {answer}"
        return answer["data"]["result"]

    def exemplars(self, query: str) -> list[Any]:
        asked = {"query": query, "start": time.time() - 600, "end": time.time()}
        answer = self._client.get("/api/v1/query_exemplars", params=asked).json()
        return answer["data"]

    def await_answer(self) -> None:
        eventually(
            "Prometheus to be ready",
            lambda: self._client.get("/-/ready").status_code == 200,
            despite=(httpx.TransportError,),
        )

    def await_targets(self, count: int) -> None:
        eventually(f"{count} targets to be up", lambda: self.ask("up == 1"), lambda up: len(up) >= count)

    def await_scrapes(self) -> None:
        """Wait until every target has been scraped twice from now on."""
        for _ in range(2):
            now_s = time.time()
            eventually("a scrape of every target", self._oldest_scrape_s, partial(operator.lt, now_s))

    def _oldest_scrape_s(self) -> float:
        """When the target was scraped that has not been for the longest time."""
        return float(self.ask("min(timestamp(up))")[0]["value"][1])

    def firing(self) -> set[str]:
        """The names of alerts that fire now."""
        return {alert["metric"]["alertname"] for alert in self.ask('ALERTS{alertstate="firing"}')}


@contextmanager
def prometheus_of(stack: Stack, folder: Path, rules: Path, interval_s: int) -> Generator[Prometheus]:
    """One of the machine's own, with these rules, that scrapes every admin listener so often."""
    seconds = f"{interval_s}s"
    admins = [stack.admin_url, *(stack.service_admin_url(service) for service in stack.services)]
    targets = [url.removeprefix("http://") for url in admins]
    (port,) = free_ports(1)
    configuration = {
        "global": {"scrape_interval": seconds, "evaluation_interval": seconds},
        "rule_files": [str(rules)],
        "scrape_configs": [{"job_name": "shop", "static_configs": [{"targets": targets}]}],
    }
    command = [
        "prometheus",
        f"--config.file={write_yaml(folder / 'prometheus.yaml', configuration)}",
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
        process.wait(LIMIT_S)
