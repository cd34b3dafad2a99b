"""What one process of the mesh shows others, and whom it believes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sagagen.runtime.model.definition import Mesh, Service
from sagagen.runtime.trust.callers import Callers
from sagagen.runtime.trust.folder import CertificateFolder
from sagagen.runtime.trust.rereading import Certificates
from sagagen.runtime.trust.spiffe import trust_domain

TLS_DIR = "SAGAGEN_TLS_DIR"


@dataclass(frozen=True, slots=True)
class MeshTrust:
    """Of one process."""

    certificates: Certificates
    domain: str

    @classmethod
    @asynccontextmanager
    async def open(cls, mesh: Mesh, process: str, folder: Path) -> AsyncGenerator["MeshTrust"]:
        """By the files in `folder`, which are read again when they change. Raises CertificateError."""
        domain = trust_domain(mesh)
        async with Certificates.watched(CertificateFolder(folder, TLS_DIR, domain, process)) as certificates:
            yield cls(certificates, domain)

    def callers(self, service: Service) -> Callers:
        """The callers that this service takes."""
        return Callers(service.name, self.domain, service.callers)
