"""Which certificates a process has, by its settings. None where none is asked for; then nothing is imported for it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sagagen.runtime.model.definition import Service
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Settings

if TYPE_CHECKING:
    from sagagen.runtime.transports.grpc.secured import ServerTls
    from sagagen.runtime.trust.mesh import MeshTrust
    from sagagen.runtime.trust.rereading import Certificates


@asynccontextmanager
async def mesh_trust(
    project: Project, settings: Settings, process: str
) -> AsyncGenerator["MeshTrust | None"]:
    """SAGAGEN_TLS_DIR. Raises CertificateError."""
    if settings.tls_dir is None:
        yield None
        return
    from sagagen.runtime.trust.mesh import MeshTrust

    async with MeshTrust.open(project.mesh, process, settings.tls_dir) as trust:
        yield trust


@asynccontextmanager
async def service_tls(
    project: Project, settings: Settings, service: Service
) -> AsyncGenerator["ServerTls | None"]:
    """SAGAGEN_TLS_DIR of a service. Raises CertificateError."""
    async with mesh_trust(project, settings, service.name) as trust:
        if trust is None:
            yield None
            return
        from sagagen.runtime.transports.grpc.secured import ServerTls

        yield ServerTls(trust.certificates, trust.callers(service))


@asynccontextmanager
async def http_tls(settings: Settings) -> AsyncGenerator["Certificates | None"]:
    """SAGAGEN_HTTP_TLS_DIR. Raises CertificateError."""
    async with _of_listener(settings.http_tls_dir, "SAGAGEN_HTTP_TLS_DIR") as certificates:
        yield certificates


@asynccontextmanager
async def admin_tls(settings: Settings) -> AsyncGenerator["Certificates | None"]:
    """SAGAGEN_ADMIN_TLS_DIR. Raises CertificateError."""
    async with _of_listener(settings.admin_tls_dir, "SAGAGEN_ADMIN_TLS_DIR") as certificates:
        yield certificates


@asynccontextmanager
async def _of_listener(folder: Path | None, variable: str) -> AsyncGenerator["Certificates | None"]:
    if folder is None:
        yield None
        return
    from sagagen.runtime.trust.folder import CertificateFolder
    from sagagen.runtime.trust.rereading import Certificates

    async with Certificates.watched(CertificateFolder(folder, variable)) as certificates:
        yield certificates
