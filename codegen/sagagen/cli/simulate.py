"""`sagagen simulate`: many sagas at once on the project's own handlers, with faults, until something breaks."""

import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from sagagen.runtime.startup import StartupError
from sagagen.testing.simulation.outcomes import Played
from sagagen.testing.simulation.project_player import ProjectPlayer
from sagagen.testing.simulation.schedule import BadCode, Schedule, decoded, encoded
from sagagen.testing.simulation.simulation import Found, Tally
from sagagen.testing.simulation.simulation import simulate as simulated
from sagagen.testing.simulation.stories import story
from sagagen.workspace.project import find_root

_LARGEST_SEED = 1_000_000


@click.command()
@click.option(
    "--sagas",
    metavar="N",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="How many sagas are run.",
)
@click.option(
    "--seed",
    metavar="S",
    type=click.IntRange(min=0),
    help="What is drawn follows from it. Default: another each time.",
)
@click.option(
    "--saga", "names", metavar="NAME", multiple=True, help="Only this saga. May be given several times."
)
@click.option("--replay", "code", metavar="CODE", help="Play the schedule that a failed simulation printed.")
@click.option("--trace", "is_traced", is_flag=True, help="With --replay: print all that happens.")
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def simulate(
    sagas: int,
    seed: int | None,
    names: tuple[str, ...],
    code: str | None,
    is_traced: bool,
    directory: Path | None,
) -> None:
    """Run many sagas at once on the project's handlers, with faults, and see whether all invariants hold.

    Everything runs in this process on virtual time: the engine, its log, services and databases are the real ones, in
    memory. The same seed gives the same run. What breaks is made small, told as a story, and exits 1.
    """
    if code is None and is_traced:
        raise click.UsageError("--trace goes with --replay")
    if code is not None and (seed is not None or names):
        raise click.UsageError("--replay says itself which sagas are played: leave --seed and --saga out")
    try:
        player = ProjectPlayer.load(find_root(directory), names)
        if code is not None:
            is_broken = _replay(player, decoded(code), is_traced)
        else:
            is_broken = _simulate(
                player, sagas, random.randrange(_LARGEST_SEED) if seed is None else seed, directory
            )
    except BadCode as error:
        raise click.UsageError(f"--replay: {error}") from error
    except StartupError as error:
        raise click.ClickException(str(error)) from error
    if is_broken:
        raise SystemExit(1)


def _simulate(player: ProjectPlayer, sagas: int, seed: int, directory: Path | None) -> bool:
    begun_s = time.perf_counter()
    tally, found = simulated(player, player.subjects, seed, sagas, tell=_progress(sagas))
    took_s = time.perf_counter() - begun_s
    for note in player.notes:
        click.echo(f"note: {note}", err=True)
    if found:
        _tell(found, tally, seed, directory)
        return True
    ends = ", ".join(
        f"{count:,} {status}" for status, count in sorted(tally.ends.items(), key=lambda each: -each[1])
    )
    click.echo(f"{tally.sagas:,} sagas in {tally.worlds:,} worlds with {tally.faults:,} faults: {ends}")
    click.echo(f"every invariant holds: {', '.join(player.invariants)}")
    click.echo(f"seed {seed}, digest {tally.digest}")
    click.echo(f"{took_s:.1f} s, {tally.sagas / took_s:,.0f} sagas a second", err=True)
    return False


def _progress(sagas: int) -> Callable[[Tally], None]:
    if not sys.stderr.isatty():
        return lambda _: None

    def tell(tally: Tally) -> None:
        end = "\r\033[K" if tally.sagas >= sagas else ""
        click.echo(f"\r{tally.sagas:,} of {sagas:,} sagas{end}", err=True, nl=False)

    return tell


def _tell(found: Found, tally: Tally, seed: int, directory: Path | None) -> None:
    click.echo(f"seed {seed}, world {found.world}, after {tally.sagas:,} sagas:")
    _tell_story(found.schedule, found.played)
    where = f" --project {directory}" if directory else ""
    click.echo(f"\nPlay it again:\n  sagagen simulate{where} --replay {encoded(found.schedule)}")


def _tell_story(schedule: Schedule, played: Played) -> None:
    for violation in played.broken:
        click.secho(f"{violation.invariant}: {violation.text}", fg="red")
    click.echo()
    for line in story(schedule, played):
        click.echo(f"  {line}")


def _replay(player: ProjectPlayer, schedule: Schedule, is_traced: bool) -> bool:
    played = player.play(schedule)
    if is_traced:
        _trace(played)
    _tell_story(schedule, played)
    if not played.broken:
        click.echo("\nEvery invariant holds.")
    return bool(played.broken)


def _trace(played: Played) -> None:
    lines: Sequence[str] = [each.line for each in played.trace]
    for line in lines:
        click.echo(line)
    click.echo()
