"""Where things are that a process reaches: addresses, and files by which callers are known, from environment variables.

The variables' names are stable. `settings.py` says which process reads which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from sagagen.runtime.model.security import OidcScheme, Security
from sagagen.runtime.secret_file import Secret
from sagagen.runtime.startup import SettingsError

REDIS_URL = "SAGAGEN_REDIS_URL"
REDIS_PASSWORD = "SAGAGEN_REDIS_PASSWORD"


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Nobody on another machine reaches it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @classmethod
    def parse(cls, text: str, variable: str) -> "Address":
        """`host:port`, `[::1]:port`, or `:port` for all interfaces. Raises SettingsError naming the variable."""
        host, separator, port = text.rpartition(":")
        if not separator or not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
            raise SettingsError(
                f'{variable}="{text}" is no address; write host:port, for example 127.0.0.1:8080'
            )
        return cls(host.strip("[]") or "0.0.0.0", int(port))


@dataclass(frozen=True, slots=True)
class ReplicaAddresses:
    """Where the processes of one service are."""

    addresses: tuple[Address, ...]
    is_name: bool = False
    """The one address is a name that is looked up again and again, and stands for all of them."""

    @classmethod
    def parse(cls, text: str, variable: str, default: Address) -> "ReplicaAddresses":
        """`host:port`, several with commas between, or `dns:///name:port`. Raises SettingsError."""
        if text.startswith(_DNS):
            return cls((Address.parse(text.removeprefix(_DNS), variable),), is_name=True)
        parts = [part.strip() for part in text.split(",") if part.strip()]
        return cls(tuple(dict.fromkeys(Address.parse(part, variable) for part in parts)) or (default,))


_DNS = "dns:///"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis listens, and who asks it. What its URL and its password are is said nowhere."""

    url: Secret = field(repr=False)
    """`redis://host:6379/0`, `rediss://` for TLS, or `unix://`; may hold a user's name and a password."""
    password: Secret | None = None
    """Used where the URL has none."""
    user: str = field(default="", repr=False)
    """Of an ACL; Redis's own default user if empty."""
    ca_file: Path | None = None
    """Certificates of those who may sign for a `rediss://` server; None: those that this machine believes."""

    @classmethod
    def at(cls, url: str) -> "RedisAddress":
        """A Redis that this URL leads to by itself."""
        return cls(Secret.of(REDIS_URL, url.encode()))

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "RedisAddress | None":
        """None where no URL is set. Raises SettingsError."""
        url = Secret.read(environment, REDIS_URL, at_least=1)
        if url is None:
            return None
        if not url.current.startswith((b"redis://", b"rediss://", b"unix://")):
            raise SettingsError(
                f"{REDIS_URL} is no URL of Redis; write redis://host:6379/0, or rediss:// for TLS"
            )
        ca_file = environment.get("SAGAGEN_REDIS_CA_FILE", "")
        if ca_file and not url.current.startswith(b"rediss://"):
            raise SettingsError(f"SAGAGEN_REDIS_CA_FILE is for TLS: {REDIS_URL} has to begin with rediss://")
        if ca_file and not Path(ca_file).is_file():
            raise SettingsError(f"SAGAGEN_REDIS_CA_FILE: there is no file {ca_file}")
        password = Secret.read(environment, REDIS_PASSWORD, at_least=1)
        user = environment.get("SAGAGEN_REDIS_USER", "")
        return cls(url, password, user, Path(ca_file) if ca_file else None)


@dataclass(frozen=True, slots=True)
class AccessFiles:
    """Files by which callers are known: where a contract has `security`."""

    API_KEYS: ClassVar[str] = "SAGAGEN_API_KEYS_FILE"
    KEY_SETS: ClassVar[str] = "SAGAGEN_JWKS_FILE_"
    FILE: ClassVar[str] = "api-keys"
    """In the folder of the data, where the environment names no other."""

    api_keys: Path
    """Names and hashes of API keys."""
    is_api_keys_set: bool
    """The environment says where; otherwise it is made where data is kept."""
    key_sets: Mapping[str, Path]
    """The keys of issuers that are not asked for them, by the name of the scheme."""

    @classmethod
    def variable(cls, scheme: str) -> str:
        """`SAGAGEN_JWKS_FILE_CUSTOMERS`"""
        return cls.KEY_SETS + scheme.upper().replace("-", "_")

    @classmethod
    def read(
        cls, environment: Mapping[str, str], root: Path, data_dir: Path, security: Security
    ) -> "AccessFiles":
        """Raises SettingsError for a variable that is about no scheme of the contract."""
        variables = {
            cls.variable(scheme.name): scheme.name
            for scheme in security.schemes
            if isinstance(scheme, OidcScheme)
        }
        written = {name: path for name, path in environment.items() if name.startswith(cls.KEY_SETS) and path}
        if stray := next((name for name in written if name not in variables), ""):
            known = ", ".join(variables) or "none"
            raise SettingsError(f"{stray} is about no scheme of the contract with tokens; there are: {known}")
        keys = environment.get(cls.API_KEYS, "")
        return cls(
            api_keys=root / keys if keys else data_dir / cls.FILE,
            is_api_keys_set=bool(keys),
            key_sets={variables[name]: root / path for name, path in written.items()},
        )


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """The PostgreSQL database of one service. Its URLs may hold passwords, and are said nowhere."""

    url: Secret = field(repr=False)
    read_url: Secret | None = field(default=None, repr=False)
    """A standby that answers reads, which may be behind; None: the primary answers them."""

    @classmethod
    def read(cls, environment: Mapping[str, str], service: str) -> "PostgresAddress | None":
        """None where no URL is set. Raises SettingsError."""
        url = _postgres_url(environment, f"SAGAGEN_{service.upper()}_DATABASE_URL")
        reads = f"SAGAGEN_{service.upper()}_READ_URL"
        read_url = _postgres_url(environment, reads)
        if url is None and read_url is not None:
            raise SettingsError(
                f"{reads} is for services on PostgreSQL: set {reads.replace('READ', 'DATABASE')} too"
            )
        return None if url is None else cls(url, read_url)


_POSTGRES = ("postgresql://", "postgres://")


def _postgres_url(environment: Mapping[str, str], variable: str) -> Secret | None:
    url = Secret.read(environment, variable, at_least=1)
    if url is not None and not url.current.startswith(tuple(map(str.encode, _POSTGRES))):
        raise SettingsError(f"{variable} is no URL of PostgreSQL; write postgresql://user@host:5432/database")
    return url


ENGINE_URL = "SAGAGEN_ENGINE_URL"
ENGINE_LEAVING_URL = "SAGAGEN_ENGINE_LEAVING_URL"
LEAVES_FILE = "file"
"""Value of SAGAGEN_ENGINE_LEAVING_URL: sagas of before are in the saga-log.db of this gateway, or of another one."""


@dataclass(frozen=True, slots=True)
class RestateAddress:
    """Where Restate is, and where it and gateways reach whom."""

    SCHEME: ClassVar[str] = "restate+"

    ingress: tuple[str, ...]
    """URLs of its nodes, where sagas are sent: `http://host:8080`."""
    admin: tuple[str, ...]
    """URLs of its nodes' admin listeners; any of them will do."""
    node: Address
    """Port of a node for its kind, where it tells of the cluster."""
    listens: Address
    """Where an adapter listens for it."""
    public_url: str
    """How it reaches adapters; empty: at the address where this one listens."""
    identity_keys: tuple[str, ...]
    """Public keys by one of which it signs what it sends to adapters; none: whoever reaches an adapter is believed."""
    hears: Address | None
    """Where a gateway hears from adapters what has become of its sagas; None: it asks."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "RestateAddress | None":
        """None where no URL is set, or that of PostgreSQL, where a gateway's own engine works. Raises SettingsError."""
        url = environment.get(ENGINE_URL, "")
        if not url or url.startswith(_POSTGRES):
            return None
        hosts = _restate_hosts(url)
        listens = Address.parse(
            environment.get("SAGAGEN_ENGINE_ADDR", "") or "127.0.0.1:9080", "SAGAGEN_ENGINE_ADDR"
        )
        keys = _identity_keys(environment)
        if not (keys or listens.is_loopback or environment.get("SAGAGEN_ENGINE_INSECURE") == "1"):
            raise SettingsError(
                f"SAGAGEN_ENGINE_ADDR={listens} lets others reach the adapter, and whoever does drives sagas: set "
                "SAGAGEN_ENGINE_IDENTITY_KEY to Restate's public key (publickeyv1_...), or SAGAGEN_ENGINE_INSECURE=1"
            )
        if any(not key.startswith("publickeyv1_") for key in keys):
            raise SettingsError(
                "SAGAGEN_ENGINE_IDENTITY_KEY is no public key of Restate; it begins with publickeyv1_"
            )
        first = Address.parse(hosts[0].partition("://")[2], ENGINE_URL)
        hears = environment.get("SAGAGEN_ENGINE_REPLY_ADDR", "") or (
            "127.0.0.1:0" if first.is_loopback else ""
        )
        node = environment.get("SAGAGEN_ENGINE_NODE_ADDR", "") or str(Address(first.host, 5122))
        return cls(
            ingress=hosts,
            admin=_admin_urls(environment, hosts),
            node=Address.parse(node, "SAGAGEN_ENGINE_NODE_ADDR"),
            listens=listens,
            public_url=environment.get("SAGAGEN_ENGINE_PUBLIC_URL", ""),
            identity_keys=keys,
            hears=Address.parse(hears, "SAGAGEN_ENGINE_REPLY_ADDR") if hears else None,
        )


def _admin_urls(environment: Mapping[str, str], hosts: Sequence[str]) -> tuple[str, ...]:
    """Those that are written, or of each host the usual one."""
    written = [url.strip().rstrip("/") for url in environment.get("SAGAGEN_ENGINE_ADMIN_URL", "").split(",")]
    names = [Address.parse(host.partition("://")[2], ENGINE_URL).host for host in hosts]
    usual = [f"http://{Address(name, 9070)}" for name in names]
    return tuple(dict.fromkeys([url for url in written if url] or usual))


def _identity_keys(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Raises SettingsError for a file that can't be read."""
    written, path = (environment.get(f"SAGAGEN_ENGINE_IDENTITY_KEY{ending}", "") for ending in ("", "_FILE"))
    if path and not written:
        try:
            written = Path(path).read_text("utf-8")
        except OSError as error:
            raise SettingsError(
                f"SAGAGEN_ENGINE_IDENTITY_KEY_FILE: {path} can't be read: {error.strerror}"
            ) from error
    return tuple(key.strip() for key in written.split(",") if key.strip())


def engine_log(environment: Mapping[str, str]) -> Secret | None:
    """The URL of the PostgreSQL that has the saga log; None: none has. It may hold a password. Raises SettingsError."""
    is_there = environment.get(ENGINE_URL, "").startswith(_POSTGRES) or environment.get(
        f"{ENGINE_URL}_FILE", ""
    )
    return _postgres_url(environment, ENGINE_URL) if is_there else None


def engine_that_is_left(environment: Mapping[str, str]) -> str:
    """The URL of the engine that sagas of before are on, or LEAVES_FILE; empty: none is left. Raises SettingsError."""
    written = Secret.read(environment, ENGINE_LEAVING_URL, at_least=1)
    url = written.current.decode() if written else ""
    if url and url != LEAVES_FILE and not url.startswith((*_POSTGRES, RestateAddress.SCHEME)):
        raise SettingsError(
            f"{ENGINE_LEAVING_URL} is no engine; write what {ENGINE_URL} was before (restate+http://host:8080, or "
            "postgresql://user@host:5432/database), or file if the sagas are in a gateway's saga-log.db"
        )
    return url


def _restate_hosts(url: str) -> tuple[str, ...]:
    scheme, _, hosts = url.removeprefix(RestateAddress.SCHEME).partition("://")
    if not url.startswith(RestateAddress.SCHEME) or scheme not in ("http", "https") or not hosts:
        shown = url if "@" not in url else url.partition("://")[0] + "://..."
        raise SettingsError(
            f'{ENGINE_URL}="{shown}" is no engine; write restate+http://host:8080 (several hosts with commas between), '
            "postgresql://user@host:5432/database, or leave it out"
        )
    addresses = [Address.parse(host.rstrip("/"), ENGINE_URL) for host in hosts.split(",")]
    return tuple(f"{scheme}://{address}" for address in addresses)
