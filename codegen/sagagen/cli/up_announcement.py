"""What `sagagen up` says once the mesh runs."""

import secrets
import time
from pathlib import Path
from textwrap import indent

import click

from sagagen.cli.up_callers import Callers, Senders
from sagagen.cli.up_samples import Samples
from sagagen.runtime.addresses import Address
from sagagen.runtime.edge.events import CANCEL
from sagagen.runtime.model.definition import Route
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Settings

_ANYBODY = Callers()
_WIDEST = 40
"""Characters of a path that others are aligned with."""


def announce(project: Project, settings: Settings, senders: Senders = _ANYBODY) -> None:
    """Print what runs and what to try next. `senders`: who sends requests, as the gateway will see it."""
    url = f"{'https' if settings.http_tls_dir else 'http'}://{_shown(settings.http)}"
    click.echo(f"\n{project.mesh.project} runs on {url}. Ctrl-C stops it; data stays in {_place(settings)}\n")
    routes = [
        (route.verb, route.template, purpose(route))
        for route in sorted(project.mesh.routes, key=_starts_first)
    ]
    routes.append(("GET", "/sagas/{id}", "shows the state of a saga"))
    width = min(max(len(template) for _, template, _ in routes), _WIDEST)
    for verb, template, what in routes:
        click.echo(f"  {verb:6} {template:{width}}  {what}")
    lines = Samples(project.mesh, senders, url, time.time_ns() // 1_000_000, secrets.token_hex(2)).lines()
    if lines and lines[0].startswith("curl"):
        click.echo("\nTry:")
    for line in lines:
        click.echo("\n" + indent(line, "  "))
    click.echo()


def _starts_first(route: Route) -> bool:
    return not route.starts_saga


def purpose(route: Route) -> str:
    """What a request by this route does."""
    if route.event == CANCEL:
        return f"cancels saga {route.target}"
    if route.event:
        return f"brings {route.event} to saga {route.target}"
    return f"starts saga {route.target}" if route.starts_saga else f"answered by {route.target}"


def _place(settings: Settings) -> Path:
    here = Path.cwd()
    return (
        settings.data_dir.relative_to(here) if settings.data_dir.is_relative_to(here) else settings.data_dir
    )


def _shown(address: Address) -> str:
    loopback = address.host in ("127.0.0.1", "0.0.0.0", "::1")
    return f"localhost:{address.port}" if loopback else str(address)
