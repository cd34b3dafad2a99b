"""`sagagen keys`: keys that somebody else shows, or that data are kept by."""

import click

from sagagen.cli.group import Group
from sagagen.cli.keys_of_callers import list_keys, new


@click.group(cls=Group)
def keys() -> None:
    """API keys of callers."""


keys.add_command(new)
keys.add_command(list_keys, "list")
