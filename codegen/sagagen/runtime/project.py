"""A project on disk: its generated mesh, its handlers and its composition root, imported when a process starts."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sagagen.runtime.definition import Mesh, Service
from sagagen.runtime.edge.gateway import Gateway


class ProjectError(Exception):
    """The project can't be started as it is on disk; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Project:
    root: Path
    mesh: Mesh

    @classmethod
    def load(cls, root: Path) -> "Project":
        """Import `generated.mesh` of the project at `root`. Raises ProjectError if there is none."""
        sys.path.insert(0, str(root))
        if not (root / "generated" / "mesh.py").exists():
            raise ProjectError(f"{root / 'generated'} has no mesh: run `sagagen generate` first")
        return cls(root, cast(Mesh, importlib.import_module("generated.mesh").MESH))

    def service(self, name: str) -> Service:
        """Raises ProjectError naming those that exist."""
        for service in self.mesh.services:
            if service.name == name:
                return service
        known = ", ".join(["gateway", *(service.name for service in self.mesh.services)])
        raise ProjectError(f'there is no process "{name}" in this project; there are: {known}')

    def handlers(self, service: Service) -> object:
        """An instance of the service's handler class. Raises ProjectError if it is not there, or not whole."""
        module_name, _, class_name = service.handlers.partition(":")
        path = Path(*module_name.split(".")).with_suffix(".py")
        if not (self.root / path).exists():
            raise ProjectError(f"{path} is missing: `sagagen generate` creates it")
        handler_class = getattr(importlib.import_module(module_name), class_name, None)
        if handler_class is None:
            raise ProjectError(f"{path} has no class {class_name}: service {service.name} needs it")
        try:
            return handler_class()
        except TypeError as error:  # abc names the abstract methods that are not implemented
            raise ProjectError(f"{path}: {error}") from error

    def gateway(self) -> Gateway:
        """The composition root's gateway. Raises ProjectError if gateway/app.py does not define one."""
        if not (self.root / "gateway" / "app.py").exists():
            raise ProjectError("gateway/app.py is missing: `sagagen generate` creates it")
        gateway = getattr(importlib.import_module("gateway.app"), "gateway", None)
        if not isinstance(gateway, Gateway):
            raise ProjectError("gateway/app.py must define `gateway = Gateway(MESH, ...)`")
        return gateway
