"""`sagagen completion`: the script with which a shell completes sagagen's commands."""

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    bash: add `eval "$(sagagen completion bash)"` to ~/.bashrc. zsh: the same with zsh, to ~/.zshrc.
    fish: `sagagen completion fish > ~/.config/fish/completions/sagagen.fish`.
    """
    made = get_completion_class(shell)
    assert made is not None
    from sagagen.cli import main

    click.echo(made(main, {}, "sagagen", "_SAGAGEN_COMPLETE").source())
