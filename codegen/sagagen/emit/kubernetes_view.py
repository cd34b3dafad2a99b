"""What generated/deploy/kubernetes prints: the processes of a mesh as objects of a cluster, and who may reach whom.

`base` has each service on SQLite, in a StatefulSet of one pod; `components/postgres` makes Deployments of those that
can be on PostgreSQL. Each process is a PodView, from which its environment, its volumes and its ports come.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from sagagen.contract.loading import SAGA_YAML
from sagagen.contract.model import Mesh, Service
from sagagen.contract.security_model import ApiKeyScheme, OidcScheme, Security
from sagagen.emit.deploy_view import (
    ADMIN_PORT,
    CONNECTIONS,
    DATA_DIR,
    HTTP_PORT,
    KEYS_DIR,
    SPARE_CONNECTIONS,
    Images,
)
from sagagen.emit.header import header
from sagagen.emit.kubernetes_names import HEADLESS, dns_labels
from sagagen.emit.rules_view import RuleGroupView, rules_view
from sagagen.runtime.model.security import GATEWAY

DRAIN_S = 10
"""How long a process takes to stop (P12), as `Settings.grace` has it, in seconds."""
FORCED_S = 1
"""How long after that it ends by force."""
LEAVES_S = 5
"""How long a pod still serves while others learn that it is gone: where another pod takes over."""
SPARE_S = 4
"""Between its own end and the kubelet's SIGKILL."""
GATEWAYS = 2
"""So that one may be away, or be changed, while the other serves."""
ENGINE = "engine"
ENGINE_PORT = 9080
"""Where Restate reaches an adapter."""
REPLIES_PORT = 9081
"""Where adapters reach a gateway."""
DEVELOPMENT_KEY = "sgk_for-development-only-known-to-everybody"
"""The API key of the overlay dev."""
_ABOUT = (
    "Name it in an overlay of yours, which says what only you know: namespace, image, host, where databases are",
    "(docs/kubernetes.md of sagagen).",
)
_TAKEN = frozenset(
    {
        *(
            "admin",
            "allow-dns",
            "allow-prometheus",
            "allow-redis",
            "allow-tracing",
            "default-deny",
            "engine",
            "from-engine",
            "gateway",
            "restate",
        ),
        *("kustomization", "mesh", "network-policies", "postgres", "redis", "to-postgres", "to-redis"),
    }
)
"""Names of other objects."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A Secret that is mounted as files."""

    volume: str
    secret: str
    key: str
    """The Secret's key, and the file's name."""
    folder: str

    @property
    def file(self) -> str:
        return f"{self.folder}/{self.key}"


@dataclass(frozen=True, slots=True)
class PodView:
    """One process of the mesh, and what its pod needs."""

    key: str
    """The name of its objects."""
    process: str
    """As `sagagen up --only` takes it."""
    role: str
    """`gateway`, `service`, or `engine`: an adapter that drives sagas on Restate."""
    store: str
    """Where it keeps what it keeps: `sqlite`, `postgres` or `restate`."""
    port: int
    """Where others reach it: HTTP of the gateway, gRPC of a service."""
    port_name: str
    variables: tuple[tuple[str, str], ...]
    mounts: tuple[Mount, ...]
    settings: tuple[str, ...] = ("settings",)
    """ConfigMaps whose literals it reads."""
    fields: tuple[tuple[str, str], ...] = ()
    """Variables, each with the field of the pod that its value comes from."""
    more_ports: tuple[tuple[str, int], ...] = ()
    """Names and numbers of ports beside its own and the admin listener's."""
    acts_as: str = ""
    """Whose certificate it has; empty: its own."""

    @property
    def certificate(self) -> str:
        return f"{self.acts_as or self.key}-tls"

    @property
    def keeps_data(self) -> bool:
        return self.store == "sqlite"

    @property
    def leaves_s(self) -> int:
        """Of a pod that is the only one nobody takes over, so it need not wait."""
        return 0 if self.keeps_data else LEAVES_S

    @property
    def grace_s(self) -> int:
        return self.leaves_s + DRAIN_S + FORCED_S + SPARE_S


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service, on whichever store."""

    key: str
    name: str
    variable: str
    """SAGAGEN_<SERVICE>_ADDR, by which the gateway reaches it."""
    port: int
    replicas: int
    at_most: int
    """Replicas that the component `autoscaling` lets it have."""
    callers: tuple[str, ...]
    """Keys of the processes that may call it."""
    calls: tuple[tuple[str, int], ...]
    """Keys and ports of other services that it may call."""
    sqlite: PodView
    postgres: PodView | None
    """None where it has no SQL for PostgreSQL."""

    @property
    def address(self) -> str:
        """One pod behind an address that stays when the pod is another one."""
        return f"{self.key}:{self.port}"

    @property
    def headless(self) -> str:
        return f"{self.key}{HEADLESS}"


@dataclass(frozen=True, slots=True)
class KubernetesView:
    """All that a template below kubernetes/ may print."""

    header: str
    project: str
    part_of: str
    """The label of all that belongs to this mesh; also the image's name."""
    images: Images
    http_port: int
    admin_port: int
    data_dir: str
    keys_dir: str
    trust_domain: str
    gateway: PodView
    gateways: PodView
    """One of several, whose saga log is in PostgreSQL."""
    restate_gateways: PodView
    """One of several, whose sagas are on Restate."""
    engine: PodView
    """An adapter that drives sagas on Restate."""
    services: tuple[ServiceView, ...]
    gateway_calls: tuple[ServiceView, ...]
    """Those that it may call."""
    pods: tuple[PodView, ...]
    """One of each process, on SQLite."""
    workloads: tuple[tuple[PodView, str], ...]
    """Each process, and the kinds of object that it can be."""
    postgres: tuple[ServiceView, ...]
    """Those that can be on PostgreSQL."""
    max_connections: int
    """Of the server that dev brings: while a roll-out has one pod more of each."""
    issuer_ports: tuple[int, ...]
    """Of OpenID providers, which the gateway asks for their keys."""
    has_api_keys: bool
    has_admin_token: bool
    development_key: str
    development_key_line: str
    """What the file of keys says of it."""


@dataclass(frozen=True, slots=True)
class PodFileView:
    """A file about one process."""

    header: str
    part_of: str
    admin_port: int
    data_dir: str
    keys_dir: str
    pod: PodView
    replicas: int
    """Where it is on PostgreSQL."""
    service: ServiceView | None


@dataclass(frozen=True, slots=True)
class ResourceComponentView:
    """A component that is one object."""

    header: str
    about: tuple[str, ...]
    resource: str


@dataclass(frozen=True, slots=True)
class OverlayView:
    """A kustomization of one stage."""

    header: str
    about: tuple[str, ...]
    namespace: str
    volume: str
    """Size of each process's volume."""
    has_postgres: bool


@dataclass(frozen=True, slots=True)
class OperatorRulesView:
    header: str
    part_of: str
    groups: tuple[RuleGroupView, ...]


@dataclass(frozen=True, slots=True)
class BoardsView:
    header: str
    part_of: str
    boards: tuple[tuple[str, str], ...]
    """Name of a ConfigMap, and the file in it."""


def kubernetes_view(mesh: Mesh) -> KubernetesView:
    keys = dns_labels((service.name for service in mesh.services), _TAKEN)
    services = tuple(_service(service, mesh, keys) for service in mesh.services)
    security = mesh.security
    gateway = _gateway(security)
    gateways = _on_postgres(gateway, "SAGAGEN_ENGINE_URL_FILE")
    restate_gateways, engine = _on_restate(gateway), _engine()
    return KubernetesView(
        header=header([SAGA_YAML]),
        project=json.dumps(mesh.project),
        part_of=_part_of(mesh),
        images=Images(),
        http_port=HTTP_PORT,
        admin_port=ADMIN_PORT,
        data_dir=DATA_DIR,
        keys_dir=KEYS_DIR,
        trust_domain=(security.trust_domain if security else "") or mesh.project,
        gateway=gateway,
        gateways=gateways,
        restate_gateways=restate_gateways,
        engine=engine,
        services=services,
        gateway_calls=tuple(service for service in services if GATEWAY in service.callers),
        pods=(gateway, *(service.sqlite for service in services)),
        workloads=tuple(_workloads(gateway, gateways, engine, services)),
        postgres=tuple(service for service in services if service.postgres is not None),
        max_connections=SPARE_CONNECTIONS + CONNECTIONS * _most_pods(services),
        issuer_ports=_issuer_ports(security),
        has_api_keys=_has_api_keys(security),
        has_admin_token=_has_admin_token(security),
        development_key=DEVELOPMENT_KEY,
        development_key_line=_key_line(mesh),
    )


def pod_file(view: KubernetesView, pod: PodView, service: ServiceView | None) -> PodFileView:
    return PodFileView(
        view.header,
        view.part_of,
        view.admin_port,
        view.data_dir,
        view.keys_dir,
        pod,
        service.replicas if service else GATEWAYS,
        service,
    )


def overlay_view(view: KubernetesView, name: str, about: str, volume: str) -> OverlayView:
    """An overlay that brings no server and no Secret of its own."""
    return OverlayView(view.header, (about, *_ABOUT), f"{view.part_of}-{name}", volume, bool(view.postgres))


def operator_rules_view(mesh: Mesh) -> OperatorRulesView:
    return OperatorRulesView(header([SAGA_YAML]), _part_of(mesh), rules_view(mesh).groups)


def boards_view(mesh: Mesh) -> BoardsView:
    files = [
        "overview",
        *(f"saga-{saga.name}" for saga in mesh.sagas),
        *(f"service-{service.name}" for service in mesh.services),
    ]
    names = dns_labels(f"dashboard-{file}" for file in files)
    boards = tuple((names[f"dashboard-{file}"], f"{file}.json") for file in files)
    return BoardsView(header([SAGA_YAML]), _part_of(mesh), boards)


def _part_of(mesh: Mesh) -> str:
    return dns_labels([mesh.project])[mesh.project]


def _gateway(security: Security | None) -> PodView:
    pod = PodView(
        key=GATEWAY,
        process=GATEWAY,
        role="gateway",
        store="sqlite",
        port=HTTP_PORT,
        port_name="http",
        variables=(
            *_of_any(),
            ("SAGAGEN_HTTP_ADDR", f"0.0.0.0:{HTTP_PORT}"),
        ),
        mounts=(_mesh_key(),),
        settings=("settings", "addresses"),
    )
    if _has_api_keys(security):
        pod = _with_file(pod, "SAGAGEN_API_KEYS_FILE", _secret("api-keys", "api-keys"))
    if _has_admin_token(security):
        pod = _with_file(pod, "SAGAGEN_ADMIN_TOKEN_FILE", _secret("admin-token", "token"))
    return pod


def _service(service: Service, mesh: Mesh, keys: Mapping[str, str]) -> ServiceView:
    key = keys[service.name]
    sqlite = PodView(
        key=key,
        process=service.name,
        role="service",
        store="sqlite",
        port=service.port,
        port_name="grpc",
        variables=(*_of_any(), ("SAGAGEN_GRPC_ADDR", f"0.0.0.0:{service.port}")),
        mounts=(_mesh_key(),),
    )
    return ServiceView(
        key=key,
        name=service.name,
        variable=f"SAGAGEN_{service.name.upper()}_ADDR",
        port=service.port,
        replicas=service.replicas,
        at_most=max(4, 2 * service.replicas),
        callers=tuple(GATEWAY if caller == GATEWAY else keys[caller] for caller in service.callers),
        calls=tuple(
            (keys[other.name], other.port) for other in mesh.services if service.name in other.callers
        ),
        sqlite=sqlite,
        postgres=_on_postgres(sqlite, f"SAGAGEN_{service.name.upper()}_DATABASE_URL_FILE")
        if service.has_postgres_sql
        else None,
    )


def _most_pods(services: tuple[ServiceView, ...]) -> int:
    """On PostgreSQL, gateways among them."""
    return sum(service.replicas + 1 for service in services if service.postgres) + GATEWAYS + 1


def _workloads(
    gateway: PodView, gateways: PodView, engine: PodView, services: tuple[ServiceView, ...]
) -> Iterator[tuple[PodView, str]]:
    yield gateway, "StatefulSet"
    yield gateways, "Deployment"
    yield engine, "Deployment"
    for service in services:
        yield service.sqlite, "StatefulSet"
        if service.postgres is not None:
            yield service.postgres, "Deployment"


def _on_postgres(sqlite: PodView, variable: str) -> PodView:
    """The same process on a database that `variable` names. No volume is mounted where its data would be."""
    url = Mount("database", f"{sqlite.key}-database", "url", f"{KEYS_DIR}/database")
    return _with_file(replace(sqlite, store="postgres"), variable, url)


def _on_restate(gateway: PodView) -> PodView:
    """Adapters tell it what has become of its sagas, at the address of the very pod."""
    return replace(
        gateway,
        store="restate",
        settings=(*gateway.settings, "restate"),
        fields=(("POD_IP", "status.podIP"),),
        variables=(*gateway.variables, ("SAGAGEN_ENGINE_REPLY_ADDR", f"$(POD_IP):{REPLIES_PORT}")),
        more_ports=(("replies", REPLIES_PORT),),
    )


def _engine() -> PodView:
    return PodView(
        key=ENGINE,
        process=ENGINE,
        role="engine",
        store="restate",
        port=ENGINE_PORT,
        port_name="restate",
        variables=(
            *_of_any(),
            ("SAGAGEN_ENGINE_ADDR", f"0.0.0.0:{ENGINE_PORT}"),
            ("SAGAGEN_ENGINE_PUBLIC_URL", f"http://{ENGINE}.$(POD_NAMESPACE).svc:{ENGINE_PORT}"),
        ),
        mounts=(_mesh_key(),),
        settings=("settings", "addresses", "restate"),
        fields=(("POD_NAMESPACE", "metadata.namespace"),),
        acts_as=GATEWAY,
    )


def _of_any() -> Iterator[tuple[str, str]]:
    """Variables of every process. The folder of data is one that the process makes itself, below its volume's root."""
    yield "SAGAGEN_DATA_DIR", f"{DATA_DIR}/data"
    yield "SAGAGEN_ADMIN_ADDR", f"0.0.0.0:{ADMIN_PORT}"
    yield "SAGAGEN_MESH_KEY_FILE", _mesh_key().file


def _mesh_key() -> Mount:
    return Mount("mesh-key", "mesh-key", "mesh-key", f"{KEYS_DIR}/mesh")


def _secret(name: str, key: str) -> Mount:
    return Mount(name, name, key, f"{KEYS_DIR}/{name}")


def _with_file(pod: PodView, variable: str, mount: Mount) -> PodView:
    return replace(pod, variables=(*pod.variables, (variable, mount.file)), mounts=(*pod.mounts, mount))


def _has_api_keys(security: Security | None) -> bool:
    return security is not None and any(isinstance(scheme, ApiKeyScheme) for scheme in security.schemes)


def _has_admin_token(security: Security | None) -> bool:
    """Where the contract says who operators are, a token opens nothing."""
    return security is None or security.admin is None


def _issuer_ports(security: Security | None) -> tuple[int, ...]:
    issuers = [
        urlsplit(scheme.issuer)
        for scheme in (security.schemes if security else ())
        if isinstance(scheme, OidcScheme)
    ]
    return tuple(sorted({url.port or (80 if url.scheme == "http" else 443) for url in issuers}))


def _key_line(mesh: Mesh) -> str:
    """The development key with every scope of the contract, as the file of keys has it."""
    security = mesh.security
    if not _has_api_keys(security):
        return ""
    admin = security.admin if security else None
    scopes = {
        *(scope for route in mesh.routes if route.access for scope in route.access.scopes),
        *(admin.viewer if admin else ()),
        *(admin.operator if admin else ()),
    }
    digest = hashlib.sha256(DEVELOPMENT_KEY.encode()).hexdigest()
    return " ".join(["developer", f"sha256:{digest}", *(f"scope={scope}" for scope in sorted(scopes))])
