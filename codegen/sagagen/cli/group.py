"""Groups of commands as users of other tools expect them: help without a command, and a hint where one is misspelt."""

import difflib

import click


class Group(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Alone it prints its help, and that is no mistake. `--project DIR` may also stand before the command."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, _with_project_last(args))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            close = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"`{ctx.command_path} --help` lists all"
            raise click.UsageError(f'there is no command "{name}": {hint}', ctx)
        return super().resolve_command(ctx, args)


def _with_project_last(args: list[str]) -> list[str]:
    """The option moved behind the command, which knows it."""
    first, *rest = args or [""]
    if first == "--project" and len(rest) > 1:
        moved, rest = [first, rest[0]], rest[1:]
    elif first.startswith("--project=") and rest:
        moved = [first]
    else:
        return args
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[:end], *moved, *rest[end:]]
