"""What gateway/app.py and handlers/<name>.sql print: files that are created once and then belong to the user."""

from dataclasses import dataclass

from sagagen.contract.model import Mesh, Service
from sagagen.emit.docstrings import docstring


@dataclass(frozen=True, slots=True)
class AppView:
    doc: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SqlView:
    name: str


def app_view(mesh: Mesh) -> AppView:
    return AppView(
        docstring(
            f"The HTTP edge of `{mesh.project}`: how callers are identified, and routes of your own.",
            "`sagagen generate` created this file once; from now on it is yours.",
        )
    )


def sql_view(service: Service) -> SqlView:
    return SqlView(service.name)
