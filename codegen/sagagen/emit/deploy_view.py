"""What generated/deploy/ prints: one image, and a container each for the gateway and every service."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import sagagen
from sagagen.contract.loading import SAGA_YAML
from sagagen.contract.model import Mesh, Service
from sagagen.emit.header import header

HTTP_PORT = 8080
ADMIN_PORT = 8081
"""Inside a container every process has its admin listener here."""
SECOND_HTTP_PORT = 8082
"""Where compose.distributed.yaml publishes its second gateway."""
DATA_DIR = "/var/lib/sagagen"
RELEASE = f"sagagen=={sagagen.__version__}"
KEYS_DIR = "/run/sagagen"
"""Where the volumes with keys are."""
_ASK = "r.urlopen('http://' + os.environ['SAGAGEN_ADMIN_ADDR'] + '/readyz', timeout=4)"
_PROBE = f"import os, urllib.request as r; {_ASK}"
_PROBE_OF_ONE = (
    "import os, socket, urllib.request as r; host, _, port = os.environ['SAGAGEN_ADMIN_ADDR'].rpartition(':'); "
    "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect((host, 1)); "
    "r.urlopen(f'http://{s.getsockname()[0]}:{port}/readyz', timeout=4)"
)
"""Of several behind one name: asks at the address that this container has in that network. Nothing is sent by UDP."""
CONNECTIONS = 24
"""To a server from one process of a service, at most: its pools, manual methods, and what is done once at a start."""
SPARE_CONNECTIONS = 30
"""For people, backups and the server itself."""
_TAKEN = {
    *("gateway", "keys", "redis", "prometheus", "tempo", "loki", "grafana"),
    *("postgres", "postgres-key", "databases"),
    *("gateway-2", "engine", "restate-key", "restate-1", "restate-2", "restate-3"),
}
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
    service: str
    """The service's name, which is its database's too."""
    url_variable: str
    """Names the file with the database's URL."""
    replicas: int
    is_on_postgres: bool
    """Where PostgreSQL is there for it."""


@dataclass(frozen=True, slots=True)
class Images:
    """Versions that were tested together. Which digest each had is not known here: `make pin` asks a registry."""

    python: str = "python:3.13-slim"
    redis: str = "redis:8.2-alpine"
    postgres: str = "postgres:17-alpine"
    restate: str = "restatedev/restate:1.7.12"
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
    probe_of_one: str
    http_port: int
    admin_port: int
    data_dir: str
    keys_dir: str
    processes: tuple[ProcessView, ...]
    on_postgres: tuple[ProcessView, ...]
    """Those that can have their data there."""
    on_sqlite: tuple[ProcessView, ...]
    """Those that can't."""
    max_connections: int
    second_port: int
    files: str
    """Options of docker compose, for a stack with all that goes below compose.distributed.yaml."""


@dataclass(frozen=True, slots=True)
class ImageView:
    header: str
    source: str
    python: str
    data_dir: str
    keys_dir: str


def has_postgres(mesh: Mesh) -> bool:
    """A service can have its data in PostgreSQL."""
    return any(service.has_postgres_sql for service in mesh.services)


def compose_view(mesh: Mesh) -> ComposeView:
    on_postgres = [service for service in mesh.services if service.has_postgres_sql]
    return ComposeView(
        header=header([SAGA_YAML]),
        project=json.dumps(mesh.project),
        images=Images(),
        source=json.dumps(f"${{SAGAGEN_SOURCE:-{RELEASE}}}"),
        probe=json.dumps(_PROBE),
        probe_of_one=json.dumps(_PROBE_OF_ONE),
        http_port=HTTP_PORT,
        admin_port=ADMIN_PORT,
        data_dir=DATA_DIR,
        keys_dir=KEYS_DIR,
        processes=tuple(_process_view(service) for service in mesh.services),
        on_postgres=tuple(map(_process_view, on_postgres)),
        on_sqlite=tuple(_process_view(each) for each in mesh.services if not each.has_postgres_sql),
        max_connections=SPARE_CONNECTIONS + CONNECTIONS * sum(each.replicas for each in on_postgres),
        second_port=SECOND_HTTP_PORT,
        files="".join(f" -f {file}" for file in _files(bool(on_postgres))),
    )


def _files(has_postgres: bool) -> Iterator[str]:
    yield "docker-compose.yml"
    if has_postgres:
        yield "generated/deploy/compose.postgres.yaml"
    yield "generated/deploy/compose.distributed.yaml"


def image_view() -> ImageView:
    return ImageView(header([SAGA_YAML]), RELEASE, Images().python, DATA_DIR, KEYS_DIR)


def _process_view(service: Service) -> ProcessView:
    return ProcessView(
        key=_host_name(service.name),
        name=json.dumps(service.name),
        variable=f"SAGAGEN_{service.name.upper()}_ADDR",
        port=service.port,
        service=service.name,
        url_variable=f"SAGAGEN_{service.name.upper()}_DATABASE_URL_FILE",
        replicas=service.replicas,
        is_on_postgres=service.has_postgres_sql,
    )


def _host_name(service: str) -> str:
    """A key that YAML reads as text and that can be a host name; none of another container."""
    name = re.sub(r"[^a-z0-9-]", "-", service.lower()).strip("-")
    return f"{name}-service" if name in {*_YAML_WORDS, *_TAKEN, ""} or name.isdigit() else name
