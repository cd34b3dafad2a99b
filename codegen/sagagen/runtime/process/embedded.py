"""The whole mesh in one process."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from sagagen.runtime.edge.gateway import Gateway
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.process.gateway import composed, running
from sagagen.runtime.process.project import Project
from sagagen.runtime.process.service import opened
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.settings import Settings
from sagagen.runtime.transports.memory import MemoryTransport
from sagagen.runtime.transports.observation import ObservedTransport


def embedded(project: Project, settings: Settings) -> AbstractAsyncContextManager[None]:
    """Gateway, engine and all services in this process, over the in-memory transport.

    Raises ProjectError where gateway/app.py or a handler can't be used.
    """
    schema = Schema(project.mesh.descriptors.read_bytes())
    handlers = {service.name: project.handlers(service) for service in project.mesh.services}
    return _embedded(project, settings, composed(project), schema, handlers)


@asynccontextmanager
async def _embedded(
    project: Project, settings: Settings, gateway: Gateway, schema: Schema, handlers: Mapping[str, object]
) -> AsyncGenerator[None]:
    async with AsyncExitStack() as stack:
        hosts: dict[str, ServiceHost] = {}
        for service in project.mesh.services:
            host = opened(project, settings, service, handlers[service.name], schema)
            hosts[service.name] = await stack.enter_async_context(host)
        transports = {name: ObservedTransport(MemoryTransport(host), name) for name, host in hosts.items()}
        checks = {name: host.check for name, host in hosts.items()}
        entered = running(gateway, project, settings, transports, checks, is_alone=True, drives=True)
        await stack.enter_async_context(entered)
        yield
