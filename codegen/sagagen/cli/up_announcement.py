"""What `sagagen up` says once the mesh runs."""

import json

import click

from sagagen.runtime.messages.example import example
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.process.project import Project
from sagagen.runtime.settings import Address, Settings


def announce(project: Project, settings: Settings) -> None:
    """Print what runs and what to try next."""
    url = f"http://{_shown(settings.http)}"
    click.echo(
        f"\n{project.mesh.project} runs on {url}   (Ctrl-C stops it, data stays in {settings.data_dir})\n"
    )
    for route in project.mesh.routes:
        what = f"starts saga {route.target}" if route.starts_saga else f"answered by {route.target}"
        click.echo(f"  {route.verb:6} {route.template:36} {what}")
    click.echo(f"  {'GET':6} {'/sagas/{id}':36} shows the state of a saga\n")
    if command := _first_command(project, url):
        click.echo(f"Try:\n\n{command}\n")


def _first_command(project: Project, url: str) -> str:
    """A curl line that starts the first saga, with the contract's own example values."""
    schema = Schema(project.mesh.descriptors.read_bytes())
    for route in project.mesh.routes:
        if route.starts_saga and route.body == "*" and "{" not in route.template:
            body = json.dumps(example(schema, schema.descriptor(route.method.request_name)))
            return (
                f"  curl -X {route.verb} {url}{route.template} -H 'Content-Type: application/json' "
                f"-H 'X-Idempotency-Key: first-try' \\\n    -d '{body}'"
            )
    return ""


def _shown(address: Address) -> str:
    loopback = address.host in ("127.0.0.1", "0.0.0.0", "::1")
    return f"localhost:{address.port}" if loopback else str(address)
