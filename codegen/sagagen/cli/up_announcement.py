"""What `sagagen up` says once the mesh runs."""

import json
import shlex
import time

import click

from sagagen.runtime.edge.events import CANCEL
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.messages.starting import starting_example
from sagagen.runtime.model.definition import Route
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Address, Settings

_UNKNOWN = (
    "No request for {route} could be made up that keeps its rules: give fields an example, as in "
    '[(buf.validate.field).string.example = "..."].'
)


def announce(project: Project, settings: Settings) -> None:
    """Print what runs and what to try next."""
    url = f"http://{_shown(settings.http)}"
    click.echo(
        f"\n{project.mesh.project} runs on {url}   (Ctrl-C stops it, data stays in {settings.data_dir})\n"
    )
    for route in project.mesh.routes:
        click.echo(f"  {route.verb:6} {route.template:36} {purpose(route)}")
    click.echo(f"  {'GET':6} {'/sagas/{id}':36} shows the state of a saga\n")
    if command := _first_command(project, url):
        click.echo(f"{command}\n")


def purpose(route: Route) -> str:
    """What a request by this route does."""
    if route.event == CANCEL:
        return f"cancels saga {route.target}"
    if route.event:
        return f"brings {route.event} to saga {route.target}"
    return f"starts saga {route.target}" if route.starts_saga else f"answered by {route.target}"


def _first_command(project: Project, url: str) -> str:
    """A curl line that starts the first saga whose request can be made up, or why there is none."""
    schema = Schema(project.mesh.descriptors.read_bytes())
    newest = {saga.name: saga for saga in sorted(project.mesh.sagas, key=lambda saga: saga.version)}
    left = ""
    for route in project.mesh.routes:
        if route.starts_saga and route.body == "*" and "{" not in route.template:
            body = starting_example(schema, newest[route.target], time.time_ns() // 1_000_000)
            if body is not None:
                return (
                    f"Try:\n\n  curl -X {route.verb} {url}{route.template} -H 'Content-Type: application/json' "
                    f"-H 'X-Idempotency-Key: first-try' \\\n    -d {shlex.quote(json.dumps(body))}"
                )
            left = left or _UNKNOWN.format(route=f"{route.verb} {route.template}")
    return left


def _shown(address: Address) -> str:
    loopback = address.host in ("127.0.0.1", "0.0.0.0", "::1")
    return f"localhost:{address.port}" if loopback else str(address)
