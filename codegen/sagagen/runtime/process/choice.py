"""What runs in one process: the whole mesh (embedded), the gateway with the engine, or one service.

Importing takes most of a start, so each is a module of its own that only the process that runs it imports: a service
needs neither the engine nor the edge, and a parent that only watches its children needs none of them.
"""

from contextlib import AbstractAsyncContextManager

from sagagen.runtime.plain import choose
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Settings
from sagagen.runtime.telemetry.spans import GATEWAY

ENGINE = "engine"
"""The process that drives sagas where they are on another engine than the gateway's own."""


def process(project: Project, settings: Settings, only: str | None) -> AbstractAsyncContextManager[None]:
    """The process `only` (the gateway, an adapter of the engine, or a service's name), or all of them in one.

    All that depends on the project alone is imported and made now; entering the context opens files and ports, and
    then it is ready. Leaving it stops in the opposite order: first no new requests, then the sagas under way, then the
    services. Raises StartupError, now or when entered.
    """
    choose(settings.plain)
    if only is None:
        from sagagen.runtime.process.embedded import embedded

        return embedded(project, settings)
    if only == GATEWAY:
        from sagagen.runtime.process.gateway import gateway_alone

        return gateway_alone(project, settings)
    if only == ENGINE and (
        settings.restate or all(service.name != ENGINE for service in project.mesh.services)
    ):
        from sagagen.runtime.process.restate import adapter_alone

        return adapter_alone(project, settings)
    from sagagen.runtime.process.service import service_alone

    return service_alone(project, settings, only)
