"""What gateway/app.py and handlers/<name>.sql print: files that are created once and then belong to the user."""

from dataclasses import dataclass

from sagagen.contract.model import Mesh, Service
from sagagen.emit.docstrings import docstring


@dataclass(frozen=True, slots=True)
class AppView:
    doc: tuple[str, ...]
    has_caller: bool
    """Whether the project's own hook says who calls. Where the contract has `security`, its schemes do."""


@dataclass(frozen=True, slots=True)
class SqlView:
    name: str


def app_view(mesh: Mesh) -> AppView:
    has_caller = mesh.security is None
    who = "how callers are identified" if has_caller else "middleware, hooks"
    return AppView(
        docstring(
            f"The HTTP edge of `{mesh.project}`: {who}, and routes of your own.",
            "`sagagen generate` created this file once; from now on it is yours.",
        ),
        has_caller,
    )


def sql_view(service: Service) -> SqlView:
    return SqlView(service.name)
