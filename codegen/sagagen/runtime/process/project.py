"""A project on disk: its generated mesh, its handlers and its composition root, imported when a process starts."""

import importlib
import sys
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import cast

from sagagen.runtime.model.definition import Mesh, Service
from sagagen.runtime.startup import StartupError


class ProjectError(StartupError):
    """The project can't be started as it is on disk; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Project:
    root: Path
    mesh: Mesh

    @classmethod
    def load(cls, root: Path, change: Callable[[Mesh], Mesh] | None = None) -> "Project":
        """Import `generated.mesh` of the project at `root`. Raises ProjectError if there is none.

        `change` makes what runs of what is generated; gateway/app.py finds that as well.
        """
        sys.path.insert(0, str(root))
        if not (root / "generated" / "mesh.py").exists():
            raise ProjectError(f"{root / 'generated'} has no mesh: run `sagagen generate` first")
        module = _imported("generated.mesh", root)
        if change:
            vars(module)["MESH"] = change(cast(Mesh, module.MESH))
        project = cls(root, cast(Mesh, module.MESH))
        if not project.mesh.descriptors.exists():
            raise ProjectError(f"{project.mesh.descriptors} is missing: run `sagagen generate`")
        return project

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
        handler_class = getattr(_imported(module_name, self.root), class_name, None)
        if handler_class is None:
            raise ProjectError(f"{path} has no class {class_name}: service {service.name} needs it")
        missing = cast(Iterable[str], getattr(handler_class, "__abstractmethods__", ()))
        if missing:
            lacks = ", ".join(sorted(missing))
            raise ProjectError(f"{path}: {class_name} lacks {lacks}, which the contract asks for")
        with named_errors(self.root, path.as_posix()):
            return handler_class()

    def composition_root(self) -> object:
        """What gateway/app.py calls `gateway`; None if nothing. Raises ProjectError if there is no such file."""
        if not (self.root / "gateway" / "app.py").exists():
            raise ProjectError("gateway/app.py is missing: `sagagen generate` creates it")
        return getattr(_imported("gateway.app", self.root), "gateway", None)


def _imported(module: str, root: Path) -> ModuleType:
    """Raises ProjectError where the project's own code, or what it imports, raises at import."""
    with named_errors(root, f"{module.replace('.', '/')}.py"):
        return importlib.import_module(module)


@contextmanager
def named_errors(root: Path, path: str) -> Generator[None]:
    """What the project's code raises, as a ProjectError with the place in that code; else in `path`."""
    try:
        yield
    except KeyboardInterrupt:  # somebody at the terminal
        raise
    except BaseException as error:
        place = _place(error, root.resolve()) or path
        raise ProjectError(f"{place}: {type(error).__name__}: {_message(error)}") from error


def _place(error: BaseException, root: Path) -> str:
    """`handlers/order.py:12`: the innermost line of the project that the error passed through."""
    if isinstance(error, SyntaxError) and error.filename:
        frames = [(error.filename, error.lineno)]
    else:
        frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    inside = [(Path(name), line) for name, line in frames if Path(name).is_relative_to(root)]
    return f"{inside[-1][0].relative_to(root).as_posix()}:{inside[-1][1]}" if inside else ""


def _message(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)
