"""Folders of certificates for a mesh whose trust domain is `lab`."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from sagagen.runtime.trust.folder import CertificateFolder
from sagagen.runtime.trust.issuing import DevCa
from sagagen.runtime.trust.mesh import MeshTrust
from sagagen.runtime.trust.rereading import Certificates

DOMAIN = "lab"
DAY = timedelta(days=1)


def new_ca(name: str = "lab") -> DevCa:
    return DevCa.new(name, 10 * DAY)


def folder_of(
    ca: DevCa,
    folder: Path,
    name: str,
    *,
    uris: Sequence[str] | None = None,
    hosts: Sequence[str] = (),
    life: timedelta = DAY,
    begins: datetime | None = None,
    believed: Sequence[DevCa] = (),
) -> CertificateFolder:
    """A folder in which the process `name` finds its certificate; `believed` are CAs, by default that which issues."""
    wanted = [f"spiffe://{DOMAIN}/{name}"] if uris is None else uris
    issued = ca.issue(wanted, hosts, life, begins=begins)
    issued.write(folder, b"".join(each.certificate for each in believed or [ca]))
    return CertificateFolder(folder, "SAGAGEN_TLS_DIR", DOMAIN, name)


@asynccontextmanager
async def trust_by(folder: CertificateFolder, poll_s: float = 0.05) -> AsyncGenerator[MeshTrust]:
    async with Certificates.watched(folder, poll_s=poll_s) as certificates:
        yield MeshTrust(certificates, DOMAIN)
