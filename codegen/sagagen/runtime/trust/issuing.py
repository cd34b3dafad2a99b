"""A CA to try things out with: what `sagagen certs dev` makes. A real mesh has one of its own (cert-manager, SPIRE)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sagagen.runtime.trust.folder import CA, CERT, KEY, CertificateError

CA_KEY = "ca-key.pem"
_LIVES = 12
"""A CA lives so many times as long as what it issues."""
_SKEW = timedelta(minutes=5)
"""Certificates begin a little before now, for clocks that are behind."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, ca: bytes) -> None:
        """Into a folder as SAGAGEN_TLS_DIR takes it: each file is whole whenever it is read."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in ((KEY, self.key), (CERT, self.certificate), (CA, ca)):
            write_privately(folder / name, content)


@dataclass(frozen=True, slots=True)
class DevCa:
    """A CA whose key lies beside its certificates: good for one machine."""

    _key: ec.EllipticCurvePrivateKey
    _certificate: x509.Certificate

    @classmethod
    def new(cls, name: str, life: timedelta) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
        builder = _builder(subject, subject, key.public_key(), _now() - _SKEW, _now() + life)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(is_ca=True), critical=True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """What `kept_ca` left there; None if nothing is, or its life is over. Raises CertificateError."""
        try:
            key_pem, certificate_pem = (folder / CA_KEY).read_bytes(), (folder / CA).read_bytes()
        except FileNotFoundError:
            return None
        try:
            key = serialization.load_pem_private_key(key_pem, None)
            certificate = x509.load_pem_x509_certificate(certificate_pem)
        except ValueError as error:
            raise CertificateError(
                f"{folder / CA_KEY} or {folder / CA} can't be read; remove both, and there will be a new CA"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            raise CertificateError(
                f"{folder / CA_KEY} is not the key of the first CA in {folder / CA}; remove both, and there will be a "
                "new CA"
            )
        return cls(key, certificate)

    @property
    def expires(self) -> datetime:
        return self._certificate.not_valid_after_utc

    @property
    def certificate(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key(self) -> bytes:
        return _pem(self._key)

    def issue(
        self,
        uris: Sequence[str],
        hosts: Sequence[str],
        life: timedelta,
        *,
        begins: datetime | None = None,
    ) -> Issued:
        """A certificate for these URIs and hosts, for both ends of a connection; never beyond the CA's own life."""
        key = ec.generate_private_key(ec.SECP256R1())
        expires = min((begins or _now()) + life, self._certificate.not_valid_after_utc)
        begins = begins or _now() - _SKEW
        common = (hosts or uris or ["-"])[0]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])
        builder = _builder(subject, self._certificate.subject, key.public_key(), begins, expires)
        names = [*map(x509.UniformResourceIdentifier, uris), *map(_host, hosts)]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(is_ca=False), critical=True)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def kept_ca(folder: Path, name: str, life: timedelta, *, is_new: bool) -> tuple[DevCa, bytes]:
    """The CA in this folder, and all that are to be believed: itself, and the one before while that is good.

    A new one where there is none, where the one there would not outlive what it issues, or where `is_new`. Raises
    CertificateError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = DevCa.read(folder)
    if before is not None and not is_new and before.expires >= _now() + life:
        return before, (folder / CA).read_bytes()
    ca = DevCa.new(name, _LIVES * life)
    believed = ca.certificate
    if before is not None and before.expires > _now():
        believed += before.certificate
    write_privately(folder / CA_KEY, ca.key)
    write_privately(folder / CA, believed)
    return ca, believed


def believe(folder: Path, believed: bytes) -> bool:
    """Let the process of this folder believe these CAs; false if it did already, or there is none."""
    file = folder / CA
    if not folder.is_dir() or (file.exists() and file.read_bytes() == believed):
        return False
    write_privately(file, believed)
    return True


def write_privately(file: Path, content: bytes) -> None:
    """With mode 0600, from the first byte on, in place of what is there."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
        written.write(content)
    new.replace(file)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begins: datetime,
    expires: datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = (
        builder.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(expires)
    )
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _now() -> datetime:
    return datetime.now(UTC)
