"""`sagagen keys`: keys that somebody else shows, or that data are kept by."""

import click

from sagagen.cli.group import Group
from sagagen.cli.keys_of_callers import list_keys, new
from sagagen.cli.keys_of_data import rotate


@click.group(cls=Group)
def keys() -> None:
    """API keys of callers, and the keys that data are encrypted by."""


keys.add_command(new)
keys.add_command(list_keys, "list")
keys.add_command(rotate)
