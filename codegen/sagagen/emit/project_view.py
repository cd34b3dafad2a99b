"""What the files print that are created once and then the user's: gateway/app.py and handlers/<name>.sql."""

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
            f"The HTTP edge of `{mesh.project}`: who calls, and what is answered beside the contract's routes.",
            "`sagagen generate` created this file once; from now on it is yours.",
        )
    )


def sql_view(service: Service) -> SqlView:
    return SqlView(service.name)
