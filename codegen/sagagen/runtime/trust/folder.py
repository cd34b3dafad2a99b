"""A folder with a certificate, its key and the CAs that are believed: read, and tried out before anybody relies on it.

`cert.pem` holds the certificate and its intermediates, `key.pem` its key, `ca.pem` the CAs of the trust domain: one, or
two while it changes. The set is tried in a handshake with itself, in memory: that the key fits, that the CAs vouch for
the certificate, and that it is good today, is said by the library that will be asked in earnest.
"""

import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from sagagen.runtime.startup import StartupError
from sagagen.runtime.trust.spiffe import NoIdentity, Peer, peer_of, spiffe_id

CERT, KEY, CA = "cert.pem", "key.pem", "ca.pem"
_EXPIRED, _NOT_YET = 10, 9
"""X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID."""
_UNKNOWN_TO_THE_CA = frozenset({18, 19, 20, 21})
_TRIES = 3


class CertificateError(StartupError):
    """Certificates that can't be used; the message names the file and the way out, and nothing of a key."""


class _Encrypted(Exception):
    """A key that only a password opens."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a process shows, and whom it believes, as its files were at one moment."""

    server: ssl.SSLContext
    begins_s: float
    """Of the certificate's life, in seconds since the epoch."""
    expires_s: float
    client: ssl.SSLContext | None = None
    """None at the edge, which calls nobody."""
    expiries_s: dict[str, float] = field(default_factory=dict[str, float])
    """When the certificates expire that services have shown, by the service's name."""

    def left(self, now_s: float) -> float:
        """How much of the certificate's life is left, of 1."""
        return (self.expires_s - now_s) / max(1.0, self.expires_s - self.begins_s)


@dataclass(frozen=True, slots=True)
class CertificateFolder:
    """Where a process finds its certificate."""

    path: Path
    variable: str
    """The setting that names it."""
    domain: str = ""
    """Trust domain of the mesh; empty at the edge, where clients show no certificates."""
    process: str = ""
    """What the process is called in the mesh."""

    @property
    def is_of_mesh(self) -> bool:
        return bool(self.domain)

    @property
    def files(self) -> tuple[Path, ...]:
        names = (CERT, KEY, CA) if self.is_of_mesh else (CERT, KEY)
        return tuple(self.path / name for name in names)

    def signature(self) -> tuple[tuple[int, int, int] | None, ...]:
        """Differs whenever a file was written anew, or a link points to another one."""
        return tuple(map(_signature, self.files))

    def read(self) -> Credentials:
        """Raises CertificateError for a set that does not fit, or changes while it is read."""
        for _ in range(_TRIES):
            before = self.signature()
            try:
                credentials = self._read()
            except CertificateError:
                if self.signature() == before:
                    raise
                continue
            if self.signature() == before:
                return credentials
        raise CertificateError(f"{self.variable}: the files in {self.path} change while they are read")

    def _read(self) -> Credentials:
        self._look_at_files()
        server = self._context(ssl.PROTOCOL_TLS_SERVER)
        if not self.is_of_mesh:
            return self._of_edge(server)
        client = self._context(ssl.PROTOCOL_TLS_CLIENT)
        try:
            certificate = _shown_in_handshake(server, client)
            peer = peer_of(certificate)
        except ssl.SSLError as error:
            self._cannot_be_used(error)
        except NoIdentity as error:
            raise CertificateError(f"{self.path / CERT}: {error}; {self._wanted}") from error
        if peer.uri != spiffe_id(self.domain, self.process):
            raise CertificateError(f"{self.path / CERT} speaks for {peer.shown}; {self._wanted}")
        begins_s = ssl.cert_time_to_seconds(certificate["notBefore"])
        credentials = Credentials(server, begins_s, peer.expires_s, client)
        client.sslobject_class = named_peers(self.domain, credentials.expiries_s)
        server.sslobject_class = _SpeaksHttp2
        return credentials

    def _of_edge(self, server: ssl.SSLContext) -> Credentials:
        """Whether clients know the CA is theirs to say; the time is the same for all."""
        cert = self.path / CERT
        begins_s, expires_s = _lifetime(cert)
        if not begins_s <= time.time() < expires_s:
            raise CertificateError(f"{cert}: {_not_now(cert, has_expired=time.time() >= expires_s)}")
        return Credentials(server, begins_s, expires_s)

    @property
    def _wanted(self) -> str:
        process = spiffe_id(self.domain, self.process)
        return f"this process is {process}, and each process needs a certificate of its own"

    def _look_at_files(self) -> None:
        """Raises CertificateError where one is missing, can't be read, or holds a key that anybody may read."""
        if not self.path.is_dir():
            raise CertificateError(
                f"{self.variable}: there is no folder {self.path}; `sagagen certs dev` makes certificates to try with"
            )
        for file in self.files:
            try:
                with file.open("rb"):
                    mode = file.stat().st_mode
            except FileNotFoundError as error:
                needed = ", ".join(each.name for each in self.files)
                own = self.path / self.process
                hint = f"; did you mean {own}?" if self.process and own.is_dir() else ""
                raise CertificateError(
                    f"{file} is missing: the folder of {self.variable} needs {needed}{hint}"
                ) from error
            except OSError as error:
                raise CertificateError(f"{file} can't be read: {error.strerror}") from error
            if file.name == KEY and mode & 0o007:
                raise CertificateError(
                    f"{file} can be read by everybody (mode {mode & 0o777:04o}): `chmod 600 {file}`, or defaultMode "
                    "0440 of a Kubernetes volume; a key that others may have read should be replaced"
                )

    def _context(self, side: int) -> ssl.SSLContext:
        context = ssl.SSLContext(side)
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if self.is_of_mesh else ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"] if self.is_of_mesh else ["http/1.1"])
        self._load_key(context)
        if self.is_of_mesh:
            # The SPIFFE id is held against the name of the service, in do_handshake of named_peers.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_REQUIRED
            # A session that is resumed shows no certificate again: one that has expired would open doors for days.
            context.options |= ssl.OP_NO_TICKET
            if side == ssl.PROTOCOL_TLS_SERVER:
                context.num_tickets = 0
            self._load_cas(context)
        return context

    def _load_key(self, context: ssl.SSLContext) -> None:
        cert, key = self.path / CERT, self.path / KEY
        try:
            context.load_cert_chain(cert, key, password=_no_password)
        except _Encrypted as error:
            raise CertificateError(
                f"{key} is encrypted with a password: write it without, and let nobody else read it"
            ) from error
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise CertificateError(
                    f"{key} does not belong to the certificate in {cert}: take both from the same issue"
                ) from error
            for file, mark in ((cert, "CERTIFICATE-----"), (key, "PRIVATE KEY-----")):
                if mark.encode() not in file.read_bytes():
                    raise CertificateError(f"{file} holds no {mark.strip('-').lower()} in PEM") from error
            raise CertificateError(f"{cert} or {key} can't be read: {error.reason or error}") from error
        except OSError as error:
            raise CertificateError(f"{cert} or {key} can't be read: {error.strerror}") from error

    def _load_cas(self, context: ssl.SSLContext) -> None:
        file = self.path / CA
        try:
            context.load_verify_locations(cadata=file.read_text("ascii", "replace"))
        except ssl.SSLError as error:
            raise CertificateError(
                f"{file} holds no certificate of a CA in PEM: {error.reason or error}"
            ) from error

    def _cannot_be_used(self, error: ssl.SSLError) -> NoReturn:
        cert, ca = self.path / CERT, self.path / CA
        code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
        if code in (_EXPIRED, _NOT_YET):
            reason = _not_now(cert, has_expired=code == _EXPIRED)
        elif code in _UNKNOWN_TO_THE_CA:
            reason = f"no CA in {ca} vouches for it: {ca.name} needs all CAs of the trust domain, its own too"
        else:
            reason = f"it can't be used in the mesh: {_words(error)}"
        raise CertificateError(f"{cert}: {reason}") from error


class _SpeaksHttp2(ssl.SSLObject):
    """An end of a connection of the mesh: whoever agreed on no HTTP/2 is of another service, and meant another one."""

    def do_handshake(self) -> None:
        super().do_handshake()
        if self.selected_alpn_protocol() != "h2":
            raise ssl.SSLError(1, "the peer does not speak HTTP/2 (ALPN h2)")


def named_peers(domain: str, expiries_s: dict[str, float]) -> type[ssl.SSLObject]:
    """A client's end of a connection, whose handshake fails unless the server is the one that was meant.

    `server_hostname` is that service's name. Nothing is sent before: the handshake is not over until this returns.
    """

    class _Named(_SpeaksHttp2):
        def do_handshake(self) -> None:
            super().do_handshake()
            name = str(self.server_hostname)
            peer = _identity(self, name)
            if peer.uri != spiffe_id(domain, name):
                raise _wrong_peer(f"the server is {peer.shown}, where {spiffe_id(domain, name)} was called")
            expiries_s[name] = peer.expires_s

    return _Named


def _identity(end: ssl.SSLObject, name: str) -> Peer:
    try:
        return peer_of(end.getpeercert())
    except NoIdentity as error:
        raise _wrong_peer(f"the server that was called as {name} has no identity: {error}") from error


def _wrong_peer(reason: str) -> ssl.SSLError:
    return ssl.SSLCertVerificationError(1, reason)


def _shown_in_handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """What the client is shown. Raises SSLError as either side does."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    at_client = client.wrap_bio(to_client, to_server)
    at_server = server.wrap_bio(to_server, to_client, server_side=True)
    for end in (at_client, at_server, at_client, at_server):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return dict(at_client.getpeercert() or {})


def _no_password() -> NoReturn:
    """Instead of OpenSSL's question at the terminal."""
    raise _Encrypted


def _signature(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _lifetime(file: Path) -> tuple[float, float]:
    """Begin and end of the first certificate's life, in seconds since the epoch. Raises CertificateError."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateError(f"{file} holds no certificate that can be read: {error}") from error
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()


def _not_now(file: Path, *, has_expired: bool) -> str:
    begins_s, expires_s = _lifetime(file)
    what = f"has expired, on {_date(expires_s)}" if has_expired else f"is not valid before {_date(begins_s)}"
    return f"the certificate {what}, or one of those that vouch for it: put a new one there"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _words(error: ssl.SSLError) -> str:
    return str(getattr(error, "verify_message", "") or error.reason or error)
