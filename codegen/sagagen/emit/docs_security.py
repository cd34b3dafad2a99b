"""What generated/docs/security.md prints: who may call, what is limited, hidden and kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from sagagen.contract.model import Mesh
from sagagen.emit.docs_text import cell, code, commented, listed
from sagagen.emit.header import header, sources_of
from sagagen.emit.security_report import OwnerRule, RouteSecurity, security_report

Row = tuple[str, ...]
"""The cells of a table's row, ready to be printed."""


@dataclass(frozen=True, slots=True)
class SecurityDoc:
    header: str
    project: str
    routes: tuple[Row, ...]
    taken: tuple[Row, ...]
    own_routes: tuple[Row, ...]
    limits: tuple[str, ...]
    admin: tuple[Row, ...]
    four_eyes: str
    services: tuple[Row, ...]
    trust_domain: str
    schemes: tuple[Row, ...]
    origins: str
    redacted: str
    data: tuple[Row, ...]
    secrets: tuple[Row, ...]


def security_doc(mesh: Mesh) -> SecurityDoc:
    """Of a contract that has the section."""
    report = security_report(mesh)
    return SecurityDoc(
        header=commented(header(sources_of(mesh, mesh.files), comment="")),
        project=mesh.project,
        routes=tuple(_who(route) for route in report.routes),
        taken=tuple(_taken(route) for route in report.routes),
        own_routes=tuple(_who(route) for route in report.own_routes),
        limits=tuple(f"{name}: {value}" for name, value in report.limits),
        admin=tuple((what, _codes(scopes)) for what, scopes in report.admin),
        four_eyes=listed(map(code, report.four_eyes)),
        services=tuple((code(each.name), _codes(each.callers), each.kept) for each in report.services),
        trust_domain=code(report.trust_domain),
        schemes=tuple(
            (
                code(each.name),
                code(each.type),
                code(each.shown),
                cell(each.caller),
                "; ".join(f"{name} {code(value)}" for name, value in each.facts) or "-",
            )
            for each in report.schemes
        ),
        origins=listed(map(code, report.origins)),
        redacted=_codes(report.redacted),
        data=tuple(
            (cell(each.what), cell(each.where), each.how_long, code(each.subject) if each.subject else "-")
            for each in report.data
        ),
        secrets=tuple((code(each.name), each.what) for each in report.secrets),
    )


def may_call(route: RouteSecurity, *, is_written: bool) -> str:
    """The callers that a route takes, in words."""
    if route.schemes:
        return " or ".join(route.schemes)
    return "public" if is_written else "anybody"


def _who(route: RouteSecurity) -> Row:
    return (
        code(f"{route.verb} {route.path}"),
        code(route.rpc) if route.rpc else "-",
        cell(route.does),
        " or ".join(map(code, route.schemes)) or "**public**",
        _codes(route.scopes),
        "; ".join(map(_rule, route.rules)) or "-",
    )


def _rule(rule: OwnerRule) -> str:
    return f"{code(rule.rule) if rule.is_written else rule.rule}, otherwise {rule.otherwise}"


def _taken(route: RouteSecurity) -> Row:
    return (
        code(f"{route.verb} {route.path}"),
        route.body or "none",
        _codes(route.redacted),
        "; ".join(route.kept) or "nothing",
    )


def _codes(names: Sequence[str]) -> str:
    return listed(map(code, names)) or "-"
