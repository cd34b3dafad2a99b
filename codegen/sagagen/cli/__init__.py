"""The `sagagen` command. Each subcommand is a module of its own, loaded when it is called."""

import atexit
import gc
import importlib
import importlib.util
from typing import cast

import click

import sagagen
from sagagen.cli.group import Group
from sagagen.runtime.escaping import escaped_lines

_COMMANDS = {
    "add": "Add a service, rpc, saga or step, or a store to a service.",
    "backup": "Copy the saga log and the services' databases.",
    "bump": "Raise a saga's version, and keep the old one for open sagas.",
    "certs": "Make certificates by which the mesh's processes know each other.",
    "check": "Report every mistake in the contract.",
    "completion": "Print the shell's completion script.",
    "diff": "Report what a change of the contract breaks.",
    "engine": "Restate, where it keeps the sagas: adapters, and how it stands.",
    "explain": "Explain a code and its fix, or why a saga is where it is.",
    "init": "Create a new project that runs.",
    "forget": "Erase what is kept of a person, by destroying their key.",
    "generate": "Emit the mesh from the contract.",
    "keys": "API keys of callers, and encryption keys.",
    "simulate": "Run many sagas at once on the project's handlers, with faults.",
    "up": "Run the mesh on this machine.",
    "sagas": "Show where sagas are, and help stuck ones.",
    "store": "Move a service's data between SQLite and PostgreSQL.",
    "test": "Play each way in which a saga can fail, on your handlers.",
}
_NEEDS_CODEGEN = {"add", "bump", "check", "diff", "generate", "init"}


class _Commands(Group):
    """Loads a subcommand's module only when it is used: `sagagen up` never imports the generator."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        if cmd_name in _NEEDS_CODEGEN and importlib.util.find_spec("betterproto2_compiler") is None:
            raise click.UsageError(
                f"`sagagen {cmd_name}` needs the generator: pip install 'sagagen[codegen]'", ctx
            )
        return cast(click.Command, getattr(importlib.import_module(f"sagagen.cli.{cmd_name}"), cmd_name))

    def invoke(self, ctx: click.Context) -> object:
        """Show errors of any command so that what they quote can't act on the terminal."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            shown = escaped_lines(error.message)
            error.message = shown  # pyright: ignore[reportAttributeAccessIssue] - what `show` prints
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--project",
    metavar="DIR",
    expose_value=False,
    help="The project's folder, for every command that needs one; it may also follow the command.",
)
@click.version_option(sagagen.__version__, prog_name="sagagen")
def main() -> None:
    """From protos and a saga.yaml to a mesh that ends everywhere, or is undone everywhere."""
    # At exit Python's collector looks through every object once more, which takes longer than most commands do.
    atexit.register(gc.freeze)
