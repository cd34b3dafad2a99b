"""The contract's schemes, at work in a process that has to know who asks."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sagagen.runtime.addresses import AccessFiles
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Settings

if TYPE_CHECKING:
    from sagagen.runtime.access.schemes import Schemes


@asynccontextmanager
async def authentication(project: Project, settings: Settings) -> "AsyncGenerator[Schemes | None]":
    """None if the contract has no schemes. Raises SettingsError for a file of no use."""
    security = project.mesh.security
    if security is None:
        yield None
        return
    from sagagen.runtime.access.schemes import Schemes  # only where somebody is to be known

    files = AccessFiles.read(settings.environment, project.root, settings.data_dir, security)
    async with Schemes.opened(security, files, SystemClock()) as schemes:
        yield schemes
