"""What the environment decides: where data is kept and where each process listens. The variables' names are stable."""

import ipaddress
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from sagagen.runtime.addresses import (
    ENGINE_LEAVING_URL,
    ENGINE_URL,
    REDIS_PASSWORD,
    REDIS_URL,
    Address,
    PostgresAddress,
    RedisAddress,
    ReplicaAddresses,
    RestateAddress,
    engine_log,
    engine_that_is_left,
)
from sagagen.runtime.clock import Grace
from sagagen.runtime.model.definition import Limits, Mesh, Service
from sagagen.runtime.model.security import CallerLimits
from sagagen.runtime.plain import SWITCHES, Switch
from sagagen.runtime.secret_file import Secret
from sagagen.runtime.startup import SettingsError
from sagagen.runtime.vault.given import given_keys, is_given
from sagagen.runtime.vault.keys import KeyWrapper

HTTP_PORT = 8080
ADMIN_PORT = 8081
"""The gateway's; the services of a local mesh have the ports after it, in the order of the contract."""
AUDIT_DAYS = 365
LOOPBACK = "127.0.0.1"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOOPBACK_NETWORKS: tuple[Network, ...] = (
    ipaddress.IPv4Network("127.0.0.0/8"),
    ipaddress.IPv6Network("::1/128"),
)
ADMIN_TOKEN = "SAGAGEN_ADMIN_TOKEN"
MESH_KEY = "SAGAGEN_MESH_KEY"
SHARE_ANSWERS = "SAGAGEN_SHARE_ANSWERS"
SHARE_ANSWERS_KEY = "SAGAGEN_SHARE_ANSWERS_KEY"
METRICS = "SAGAGEN_METRICS"
_OF_OPERATORS = frozenset({"SAGAGEN_ADMIN_KEY"})
"""Secrets of those who ask, in whose shell a mesh may be started: none of its processes has a use for them."""
_OF_LISTENERS = frozenset({ADMIN_TOKEN, "SAGAGEN_API_KEYS"})
"""By which callers are known: secrets of the gateway; of services where their metrics are not for everybody."""
_OF_GATEWAY = frozenset({SHARE_ANSWERS_KEY, ENGINE_URL, ENGINE_LEAVING_URL})
"""Secrets that no service has a use for. Each is read from VARIABLE or VARIABLE_FILE; a new one stands here too."""
_KEYS_OF_ONE = "_ENCRYPTION_KEYS_FILE"
"""SAGAGEN_<SERVICE>_ENCRYPTION_KEYS_FILE names keys of one service's database."""
_OF_DATABASE = re.compile(r"SAGAGEN_(.+)_(?:DATABASE|READ)_URL(?:_FILE)?")
"""Secrets of one service."""
_OF_REDIS = frozenset({REDIS_URL, REDIS_PASSWORD})
"""Secrets of services; of the gateway where it shares answers."""
SECRETS = _OF_OPERATORS | _OF_LISTENERS | _OF_GATEWAY | _OF_REDIS | {MESH_KEY}
"""Variables whose values no other program may learn: they leave the environment once they are read."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of one process. It is read once, at the start."""

    data_dir: Path
    http: Address
    log_format: Literal["auto", "json", "console"]
    grace: Grace
    """Time that may pass between SIGTERM and the end of the process; then `stopping.py` ends it."""
    environment: Mapping[str, str] = field(repr=False)
    redis: "RedisAddress | None" = None
    """Where repeats are answered from; without it services answer them from memory and barrier alone."""
    mesh_key: Secret | None = None
    """What the gateway signs its calls with, and services know them by."""
    admin_token: Secret | None = None
    """What operators send to the gateway's admin listener."""
    is_only_gateway: bool = False
    """No other gateway serves this mesh: no saga has to claim its id before it begins."""
    shares_answers: bool = False
    """Gateways that have logs of their own and share services share their answers too, through Redis."""
    share_answers_key: Secret | None = None
    """The secret that these gateways have in common: answers by others are not believed."""
    trusted_proxies: tuple[Network, ...] = LOOPBACK_NETWORKS
    """Who is believed what it says of others: the place of a request in a trace. May have any number of connections."""
    tls_dir: Path | None = None
    """This process's certificate in the mesh; of `up --mesh` the folder that has one folder for each process."""
    http_tls_dir: Path | None = None
    """The certificate of the gateway's HTTP listener."""
    admin_tls_dir: Path | None = None
    """The certificate of this process's admin listener."""
    patience_s: float | None = None
    """What takes the place of time-outs while somebody debugs, in seconds; None: nobody does."""
    plain: frozenset[Switch] = frozenset()
    """Libraries that are used as they document themselves, and not in the quicker way (`plain.py`)."""

    @classmethod
    def read(cls, environment: Mapping[str, str], root: Path) -> "Settings":
        """From environment variables; `root` is the project's folder. Raises SettingsError for a value of no use."""
        log_format = environment.get("SAGAGEN_LOG_FORMAT", "auto")
        if log_format not in ("auto", "json", "console"):
            raise SettingsError(f'SAGAGEN_LOG_FORMAT="{log_format}" is unknown; use json, console or auto')
        return cls(
            data_dir=root / environment.get("SAGAGEN_DATA_DIR", "var"),
            http=_address(environment, "SAGAGEN_HTTP_ADDR", Address(LOOPBACK, HTTP_PORT)),
            log_format=log_format,
            grace=Grace(10.0),
            environment=environment,
            redis=RedisAddress.read(environment),
            mesh_key=Secret.read(environment, MESH_KEY),
            admin_token=Secret.read(environment, ADMIN_TOKEN, at_least=1),
            is_only_gateway=_flag(environment, "SAGAGEN_ONLY_GATEWAY"),
            shares_answers=_shares_answers(environment),
            share_answers_key=Secret.read(environment, SHARE_ANSWERS_KEY),
            trusted_proxies=_networks(environment, "SAGAGEN_TRUSTED_PROXIES", LOOPBACK_NETWORKS),
            tls_dir=_folder(environment, "SAGAGEN_TLS_DIR", root),
            http_tls_dir=_folder(environment, "SAGAGEN_HTTP_TLS_DIR", root),
            admin_tls_dir=_folder(environment, "SAGAGEN_ADMIN_TLS_DIR", root),
            plain=_plain(environment),
        )

    def limits(self, mesh: Mesh) -> Limits:
        """The contract's limits, unless the environment sets others. Raises SettingsError."""
        written = {
            limit.name: _count(self.environment, f"SAGAGEN_{limit.name.upper()}") for limit in fields(Limits)
        }
        return replace(mesh.limits, **{name: count for name, count in written.items() if count is not None})

    def caller_limits(self, mesh: Mesh) -> CallerLimits:
        """The contract's limits of a caller, unless the environment sets others. Raises SettingsError."""
        limits = mesh.security.limits if mesh.security else CallerLimits()
        rate = _count(self.environment, "SAGAGEN_CALLER_RATE_PER_S")
        burst = _count(self.environment, "SAGAGEN_CALLER_BURST")
        running = _count(self.environment, "SAGAGEN_CALLER_RUNNING")
        return CallerLimits(
            rate_per_s=limits.rate_per_s if rate is None else float(rate),
            burst=burst or (limits.burst if rate is None else max(limits.burst, rate)),
            running=limits.running if running is None else running,
        )

    @property
    def saga_log(self) -> Path:
        """The gateway's database."""
        return self.data_dir / "saga-log.db"

    @property
    def gateway_admin(self) -> Address:
        """Where the gateway's admin listener binds. Raises SettingsError."""
        return _address(self.environment, "SAGAGEN_ADMIN_ADDR", Address(LOOPBACK, ADMIN_PORT))

    @property
    def audit_s(self) -> float:
        """How long the audit is kept, in seconds. Raises SettingsError."""
        return (_count(self.environment, "SAGAGEN_AUDIT_DAYS") or AUDIT_DAYS) * 86400.0

    @property
    def closes_metrics(self) -> bool:
        """Metrics are for those who may look at sagas, and not for everybody. Raises SettingsError."""
        text = self.environment.get(METRICS, "open")
        if text not in ("open", "closed"):
            raise SettingsError(f'SAGAGEN_METRICS="{text}" is unknown; use open or closed')
        return text == "closed"

    @property
    def is_encrypted(self) -> bool:
        """What is stored is encrypted."""
        return is_given(self.environment)

    def encryption_keys(self, root: Path, service: str = "") -> KeyWrapper | None:
        """By what the saga log, or a service's database, is encrypted; None: it is not. Raises SettingsError."""
        return given_keys(self.environment, service, root)

    def service_database(self, service: Service) -> "PostgresAddress | None":
        """Where the service's PostgreSQL is; None: it has a SQLite file in the data folder. Raises SettingsError."""
        return PostgresAddress.read(self.environment, service.name)

    @property
    def engine_log(self) -> Secret | None:
        """The PostgreSQL that has the saga log, for several gateways; None: none has. Raises SettingsError."""
        return engine_log(self.environment)

    @property
    def restate(self) -> RestateAddress | None:
        """Where Restate keeps the sagas; None: this gateway's own log does. Raises SettingsError."""
        return RestateAddress.read(self.environment)

    @property
    def engine_that_is_left(self) -> str:
        """Its URL, or LEAVES_FILE; empty: this project does not move. Raises SettingsError."""
        return engine_that_is_left(self.environment)

    @property
    def has_own_log(self) -> bool:
        """Sagas are in a file of this gateway alone. Raises SettingsError."""
        return self.engine_log is None and self.restate is None

    def on_engine(self, url: str) -> "Settings":
        """The same with its sagas on another engine; empty: in the file."""
        urls = {ENGINE_URL, f"{ENGINE_URL}_FILE", ENGINE_LEAVING_URL, f"{ENGINE_LEAVING_URL}_FILE"}
        environment = {name: value for name, value in self.environment.items() if name not in urls}
        return replace(self, environment={**environment, **({ENGINE_URL: url} if url else {})})

    def engine_admin(self, mesh: Mesh) -> Address:
        """Where the admin listener of an adapter's own process binds: after those of services. Raises SettingsError."""
        default = Address(LOOPBACK, ADMIN_PORT + 1 + len(mesh.services))
        return _address(self.environment, "SAGAGEN_ADMIN_ADDR", default)

    def service_admin(self, mesh: Mesh, service: Service) -> Address:
        """Where the admin listener of the service's own process binds. Raises SettingsError."""
        position = mesh.services.index(service)
        return _address(self.environment, "SAGAGEN_ADMIN_ADDR", Address(LOOPBACK, ADMIN_PORT + 1 + position))

    def service_listens(self, service: Service) -> Address:
        """Where the service's own process listens for gRPC. Raises SettingsError."""
        return _address(self.environment, "SAGAGEN_GRPC_ADDR", Address(LOOPBACK, service.port))

    def service_reached(self, service: Service) -> Address:
        """Where the one process of a service is reached. Raises SettingsError, also where there are several."""
        replicas = self.service_replicas(service)
        if replicas.is_name or len(replicas.addresses) != 1:
            raise SettingsError(
                f"SAGAGEN_{service.name.upper()}_ADDR names several processes, and this command starts one of each "
                "service: start replicas by themselves (`sagagen up --only SERVICE`)"
            )
        (address,) = replicas.addresses
        return address

    def service_replicas(self, service: Service) -> "ReplicaAddresses":
        """Where the gateway reaches the service's processes. Raises SettingsError."""
        variable = f"SAGAGEN_{service.name.upper()}_ADDR"
        return ReplicaAddresses.parse(
            self.environment.get(variable, ""), variable, Address(LOOPBACK, service.port)
        )


def without_strangers_secrets(environment: Mapping[str, str], process: str) -> dict[str, str]:
    """What a child process is given of an environment: of the mesh's secrets its own alone.

    `process`: `gateway`, `engine` (the adapter of sagas on Restate), or a service's name.
    """
    is_gateway = process == "gateway"
    is_adapter = process == "engine" and environment.get(ENGINE_URL, "").startswith(RestateAddress.SCHEME)
    uses_redis = environment.get(SHARE_ANSWERS) == "1" if is_gateway else not is_adapter
    withheld = set(_OF_OPERATORS)
    if is_adapter:
        withheld |= _OF_LISTENERS | {SHARE_ANSWERS, SHARE_ANSWERS_KEY}
    elif not is_gateway:
        withheld |= _OF_GATEWAY | {SHARE_ANSWERS}  # which asks for its key
        if environment.get(METRICS) != "closed":
            withheld |= _OF_LISTENERS
    if not uses_redis:
        withheld |= _OF_REDIS
    withheld |= {name.removesuffix("_FILE") for name in environment if name.endswith(_KEYS_OF_ONE)} - {
        "SAGAGEN_ENCRYPTION_KEYS"
    }
    withheld.discard(f"SAGAGEN_{process.upper()}_ENCRYPTION_KEYS")
    return {
        name: value
        for name, value in environment.items()
        if name.removesuffix("_FILE") not in withheld and not _is_of_another(name, process)
    }


def _is_of_another(name: str, process: str) -> bool:
    """A database of another process; the gateway has none."""
    found = _OF_DATABASE.fullmatch(name)
    return found is not None and found[1] != process.upper()


def hide_secrets(environment: MutableMapping[str, str]) -> None:
    """Take the mesh's secrets out of `os.environ`, once they are read: handlers, and what they start, need none."""
    for name in [name for name in environment if name in SECRETS or _OF_DATABASE.fullmatch(name)]:
        del environment[name]


def _folder(environment: Mapping[str, str], variable: str, root: Path) -> Path | None:
    """Relative to the project, as all folders are."""
    text = environment.get(variable, "")
    return root / text if text else None


def _flag(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "")
    if text not in ("", "0", "1"):
        raise SettingsError(f'{name}="{text}" is unknown; write 1, or leave it out')
    return text == "1"


def _shares_answers(environment: Mapping[str, str]) -> bool:
    is_wanted = _flag(environment, "SAGAGEN_SHARE_ANSWERS")
    if is_wanted and not any(environment.get(name) for name in (REDIS_URL, f"{REDIS_URL}_FILE")):
        raise SettingsError(
            "SAGAGEN_SHARE_ANSWERS=1 needs SAGAGEN_REDIS_URL: answers are shared through Redis"
        )
    if is_wanted and not Secret.read(environment, SHARE_ANSWERS_KEY):
        raise SettingsError(
            "SAGAGEN_SHARE_ANSWERS=1 needs SAGAGEN_SHARE_ANSWERS_KEY, or SAGAGEN_SHARE_ANSWERS_KEY_FILE: a secret that "
            "all gateways have in common, so that they believe nobody else; `openssl rand -hex 32` makes one"
        )
    return is_wanted


def _plain(environment: Mapping[str, str]) -> frozenset[Switch]:
    """`h2,otlp`, or `all`."""
    names = {name.strip() for name in environment.get("SAGAGEN_PLAIN", "").split(",")} - {""}
    if unknown := sorted(names - {"all", *SWITCHES}):
        raise SettingsError(
            f'SAGAGEN_PLAIN="{",".join(unknown)}" is unknown; use {", ".join(SWITCHES)}, or all, with commas between'
        )
    return frozenset(switch for switch in SWITCHES if switch in names or "all" in names)


def _networks(
    environment: Mapping[str, str], variable: str, default: tuple[Network, ...]
) -> tuple[Network, ...]:
    """`10.0.0.0/8,192.0.2.7`; `none`, or `*` for everybody."""
    text = environment.get(variable, "").strip()
    if text in _NETWORK_WORDS:
        return _NETWORK_WORDS[text]
    if not text:
        return default
    try:
        return tuple(ipaddress.ip_network(each.strip()) for each in text.split(","))
    except ValueError as error:
        raise SettingsError(
            f'{variable}="{text}": {error}; write addresses or networks with commas between, for example '
            "10.0.0.0/8,192.0.2.7; none, or * for everybody"
        ) from error


_NETWORK_WORDS: Mapping[str, tuple[Network, ...]] = {
    "none": (),
    "*": (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0")),
}


def _count(environment: Mapping[str, str], variable: str) -> int | None:
    text = environment.get(variable, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:8]) <= 1_000_000:
        raise SettingsError(f'{variable}="{text}" is no limit; write a number from 1 to 1000000')
    return int(text)


def _address(environment: Mapping[str, str], variable: str, default: Address) -> Address:
    text = environment.get(variable, "")
    return Address.parse(text, variable) if text else default
