"""`sagagen certs`: certificates for a mesh to try TLS with."""

import re
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click

from sagagen.cli.group import Group
from sagagen.runtime.model.definition import Mesh
from sagagen.runtime.model.security import GATEWAY
from sagagen.runtime.process.project import Project
from sagagen.runtime.startup import StartupError
from sagagen.workspace.project import find_root

_SETTLE_S = 5.0
"""How long running processes have to read a CA, before they are shown certificates by it. They look every 2 s."""
_SELF = ("localhost", "127.0.0.1", "::1")


@click.group(cls=Group)
def certs() -> None:
    """Make certificates by which the mesh's processes know each other."""


@certs.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where a folder for each process goes. Default: var/certs of the project.",
)
@click.option(
    "--days", type=click.IntRange(1, 825), default=30, show_default=True, help="How long they are good."
)
@click.option("--new-ca", is_flag=True, help="Change the CA too; a mesh that runs goes on.")
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def dev(out: Path | None, days: int, new_ca: bool, directory: Path | None) -> None:
    """Make a CA, and certificates for gateway and services, to develop with.

    Called again, it renews certificates by the same CA. A mesh that runs reads them within seconds. The CA's key lies
    beside them, so this is for one machine; for others use cert-manager or SPIRE (docs/certificates.md).
    """
    try:
        root = find_root(directory)
        project = Project.load(root)
        folder = out or root / "var" / "certs"
        made = _make(project.mesh, folder, timedelta(days=days), new_ca=new_ca)
    except StartupError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    click.echo(f"{shown}: certificates for {', '.join(made)}, good for {days} days")
    click.echo(f"Use them: SAGAGEN_TLS_DIR={shown} sagagen up --mesh")


def _make(mesh: Mesh, folder: Path, life: timedelta, *, new_ca: bool) -> Sequence[str]:
    from sagagen.runtime.trust.issuing import believe, kept_ca  # with cryptography, which help needs not
    from sagagen.runtime.trust.spiffe import spiffe_id, trust_domain

    domain = trust_domain(mesh)
    names = [GATEWAY, *(service.name for service in mesh.services)]
    ca, believed = kept_ca(folder, f"sagagen development CA of {domain}", life, is_new=new_ca)
    behind = [name for name in names if believe(folder / name, believed)]
    if behind:
        click.echo(f"a new CA; {_SETTLE_S:g} s for processes that run to read it ...")
        time.sleep(_SETTLE_S)
    for name in names:
        issued = ca.issue([spiffe_id(domain, name)], _hosts(name), life)
        issued.write(folder / name, believed)
    return names


def _hosts(name: str) -> list[str]:
    """What the process is called on this machine, and in compose."""
    return list(dict.fromkeys([re.sub("[^a-z0-9-]", "-", name.lower()).strip("-") or name, *_SELF]))
