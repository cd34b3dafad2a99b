"""`sagagen check --security`: who may call what, as a person or a program reads it."""

import dataclasses
import json
from collections.abc import Iterable, Iterator

import click

from sagagen.emit.docs_security import may_call
from sagagen.emit.security_report import KeptData, OwnerRule, RouteSecurity, SecurityReport
from sagagen.runtime.escaping import escaped, escaped_json

_NAMES = 10
"""Characters of what stands before a value."""


def as_json(report: SecurityReport) -> str:
    """One object, with the members of the report."""
    return escaped_json(json.dumps(dataclasses.asdict(report), indent=2, ensure_ascii=False)) + "\n"


def print_security(report: SecurityReport) -> None:
    for line in _lines(report):
        click.echo(escaped(line) if line else "")


def _lines(report: SecurityReport) -> Iterator[str]:
    if not report.is_written:
        said = "says `security: none`" if report.is_left_open else "has no section `security`"
        yield f"{report.project} {said}: whoever reaches the gateway may call every route."
        yield "What follows is limited, hidden and kept all the same."
        yield ""
    for route in (*report.routes, *report.own_routes):
        yield from _route(route, is_written=report.is_written)
        yield ""
    for title, rows in _parts(report):
        yield title
        yield from (f"  {row}" for row in rows)
        yield ""


def _route(route: RouteSecurity, *, is_written: bool) -> Iterator[str]:
    yield f"{route.verb} {route.path}  {route.does}"
    for name, value in (
        ("rpc", route.rpc),
        ("may call", may_call(route, is_written=is_written)),
        ("scopes", ", ".join(route.scopes)),
        *(("rule", _rule(rule)) for rule in route.rules),
        ("body", route.body and f"at most {route.body}"),
        ("redacted", ", ".join(route.redacted)),
        *(("kept", each) for each in route.kept),
    ):
        if value:
            yield f"  {name:{_NAMES}}{value}"


def _rule(rule: OwnerRule) -> str:
    return f"{rule.rule} (otherwise {rule.otherwise})"


def _parts(report: SecurityReport) -> Iterator[tuple[str, Iterable[str]]]:
    """What is not about one route; a part that the contract leaves out says so."""
    if report.is_written:
        yield "Limits of a caller", [f"{name}: {value}" for name, value in report.limits] or ["none"]
        yield (
            "Schemes",
            [
                f"{each.name}: {each.type} in {each.shown}, the caller is the {each.caller}"
                + "".join(f"; {name} {value}" for name, value in each.facts)
                for each in report.schemes
            ],
        )
        yield "Operators", [*_operators(report)]
        yield "Web pages of other origins", report.origins or ["none"]
    yield (
        "Services" + (f", of the trust domain {report.trust_domain}" if report.trust_domain else ""),
        [
            f"{each.name}: called by {', '.join(each.callers)}; remembers calls for {each.kept}"
            for each in report.services
        ],
    )
    yield "Redacted anywhere, calls within the mesh included", report.redacted or ["none"]
    yield "Kept", [_kept(each) for each in report.data]
    yield "Settings that hold a secret", [f"{each.name}: {each.what}" for each in report.secrets]


def _kept(data: KeptData) -> str:
    whose = f"; data of {data.subject}" if data.subject else ""
    return f"{data.what}: in {data.where}, {data.how_long}{whose}"


def _operators(report: SecurityReport) -> Iterator[str]:
    for what, scopes in report.admin:
        yield f"{what}: {', '.join(scopes)}"
    if report.admin:
        yield f"a second operator confirms: {', '.join(report.four_eyes) or 'nothing'}"
    else:
        yield "no roles: on loopback everybody, elsewhere whoever has SAGAGEN_ADMIN_TOKEN"
