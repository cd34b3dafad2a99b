"""What generated/deploy/ prints: one image, and a container each for the gateway and every service."""

import json
import re
from dataclasses import dataclass

import sagagen
from sagagen.contract.loading import SAGA_YAML
from sagagen.contract.model import Mesh, Service
from sagagen.emit.header import header

HTTP_PORT = 8080
ADMIN_PORT = 8081
"""Inside a container every process has its admin listener here."""
DATA_DIR = "/var/lib/sagagen"
RELEASE = f"sagagen=={sagagen.__version__}"
KEYS_DIR = "/run/sagagen"
"""Where the volumes with keys are."""
_ASK = "r.urlopen('http://' + os.environ['SAGAGEN_ADMIN_ADDR'] + '/readyz', timeout=4)"
_PROBE = f"import os, urllib.request as r; {_ASK}"
_TAKEN = {"gateway", "keys", "redis", "prometheus", "tempo", "loki", "grafana"}
"""Names of other containers."""
_YAML_WORDS = {"false", "n", "no", "null", "off", "on", "true", "y", "yes"}
"""YAML 1.1 does not read these as text."""


@dataclass(frozen=True, slots=True)
class ProcessView:
    key: str
    """The container's name, and with it its host name."""
    name: str
    variable: str
    port: int


@dataclass(frozen=True, slots=True)
class Images:
    """Versions that were tested together. Which digest each had is not known here: `make pin` asks a registry."""

    python: str = "python:3.13-slim"
    redis: str = "redis:8.2-alpine"
    prometheus: str = "prom/prometheus:v3.5.0"
    tempo: str = "grafana/tempo:2.8.2"
    loki: str = "grafana/loki:3.5.3"
    grafana: str = "grafana/grafana:12.1.1"


@dataclass(frozen=True, slots=True)
class ComposeView:
    header: str
    project: str
    images: Images
    source: str
    probe: str
    http_port: int
    admin_port: int
    data_dir: str
    keys_dir: str
    processes: tuple[ProcessView, ...]


@dataclass(frozen=True, slots=True)
class ImageView:
    header: str
    source: str
    python: str
    data_dir: str
    keys_dir: str


def compose_view(mesh: Mesh) -> ComposeView:
    return ComposeView(
        header=header([SAGA_YAML]),
        project=json.dumps(mesh.project),
        images=Images(),
        source=json.dumps(f"${{SAGAGEN_SOURCE:-{RELEASE}}}"),
        probe=json.dumps(_PROBE),
        http_port=HTTP_PORT,
        admin_port=ADMIN_PORT,
        data_dir=DATA_DIR,
        keys_dir=KEYS_DIR,
        processes=tuple(_process_view(service) for service in mesh.services),
    )


def image_view() -> ImageView:
    return ImageView(header([SAGA_YAML]), RELEASE, Images().python, DATA_DIR, KEYS_DIR)


def _process_view(service: Service) -> ProcessView:
    return ProcessView(
        key=_host_name(service.name),
        name=json.dumps(service.name),
        variable=f"SAGAGEN_{service.name.upper()}_ADDR",
        port=service.port,
    )


def _host_name(service: str) -> str:
    """A key that YAML reads as text and that can be a host name; none of another container."""
    name = re.sub(r"[^a-z0-9-]", "-", service.lower()).strip("-")
    return f"{name}-service" if name in {*_YAML_WORDS, *_TAKEN, ""} or name.isdigit() else name
