"""`sagagen up`: run the mesh on this machine, in one process or in one for each service."""

import asyncio
import errno
import gc
import importlib.util
import os
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import click
import structlog

from sagagen.cli.completion_words import complete_processes
from sagagen.cli.up_keys import development_key, settle_development_key
from sagagen.runtime.addresses import Address
from sagagen.runtime.clock import Grace
from sagagen.runtime.process.choice import ENGINE, process
from sagagen.runtime.process.event_loop import run
from sagagen.runtime.process.open_files import allow_open_files
from sagagen.runtime.process.project import Project
from sagagen.runtime.process.stopping import Stop
from sagagen.runtime.process.supervisor import Child, ChildSpec, Lifeline, longest_stop_s, supervise
from sagagen.runtime.process.warm import AGAIN, STOP_S, as_warm
from sagagen.runtime.settings import MESH_KEY, Settings, hide_secrets, without_strangers_secrets
from sagagen.runtime.sqlite.privacy import private_files, private_folder
from sagagen.runtime.startup import SettingsError, StartupError, system_problem
from sagagen.runtime.telemetry.export import exporting
from sagagen.runtime.telemetry.logs import EVERYTHING, configure_logs, console
from sagagen.runtime.telemetry.spans import GATEWAY
from sagagen.workspace.project import find_root

try:
    from uvloop import new_event_loop
except ImportError:  # Windows
    from asyncio import new_event_loop


_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_STOPPING = "stopping: open work finishes, or is taken up again at the next start"
_ANNOUNCES = "SAGAGEN_ANNOUNCES"
"""Environment variable of the gateway in a local mesh: it starts last, and knows who its callers are."""
_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""Python's default of 700 objects is reached within a saga or two, and hardly any of them need a collector."""


@click.command()
@click.option("--mesh", "as_mesh", is_flag=True, help="Run one process for each service, over gRPC.")
@click.option(
    "--only",
    metavar="NAME",
    help="Run only this process: `gateway`, `engine` (of sagas on Restate), or a service's name.",
    shell_complete=complete_processes,
)
@click.option(
    "--debug", is_flag=True, help="No time-outs, one attempt of each call; breakpoint() opens a prompt here."
)
@click.option("--watch", is_flag=True, help="Generate and start again whenever something is saved.")
@click.option(
    "--postgres",
    is_flag=True,
    help="Start a PostgreSQL of the project's own, and run services on it that have handlers/NAME.postgres.sql.",
)
@click.option(
    "--project",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The project's folder. Default: the nearest one upwards with contracts/saga.yaml.",
)
def up(
    as_mesh: bool, only: str | None, debug: bool, watch: bool, postgres: bool, directory: Path | None
) -> None:
    """Run the mesh on this machine until Ctrl-C.

    Without options everything runs in this one process, without Docker and Redis. Data is kept in ./var (with
    --postgres in ./var/postgres). On a terminal each outcome is told in a line; elsewhere logs are JSON.
    """
    if as_mesh and only:
        raise click.UsageError("--mesh starts every process, --only starts one: choose")
    if watch and (as_mesh or only):
        raise click.UsageError("--watch runs everything in one process: leave out --mesh and --only")
    if debug and (as_mesh or only):
        raise click.UsageError("--debug runs everything in one process: leave out --mesh and --only")
    if postgres and only:
        raise click.UsageError(
            f"--postgres starts a server for the whole mesh: set SAGAGEN_{only.upper()}_DATABASE_URL to one that runs"
        )
    gc.disable()  # until it runs
    lifeline = as_warm("sagagen.cli.up_announcement") or Lifeline.from_environment()
    try:
        root = find_root(directory)
        environment = _environment(postgres)
        if watch:
            with _on_postgres(root, Settings.read(environment, root), postgres) as settings:
                _watch(root, debug, settings)
            return
        allow_open_files()
        settings = Settings.read(environment, root)
        hide_secrets(os.environ)  # before any code of the project is imported
        project, settings = _debugged(root, settings) if debug else (Project.load(root), settings)
        if lifeline.word:
            settings = replace(settings, grace=Grace(STOP_S))
        configure_logs(settings.log_format, only or EVERYTHING)
        if debug and lifeline.word != AGAIN:
            _logger.info(
                "debugging: no time-outs, one attempt of each call; breakpoint() opens a prompt here"
            )
        with private_files():
            if not (only == GATEWAY and settings.engine_log):  # which keeps nothing here
                _make_folder(settings.data_dir)
            if not (only and lifeline.is_attached):  # a child of a local mesh: its parent has settled it
                settle_development_key(project.mesh, settings, project.root, is_for_a_person=not only)
            with _on_postgres(root, settings, postgres) as settings:
                _run(project, settings, as_mesh, only, lifeline)
    except* StartupError as group:
        raise click.ClickException("\n".join(_messages(group))) from None
    except* OSError as group:
        problems = [system_problem(error) for error in _leaves(group)]
        if not all(problems):
            raise
        raise click.ClickException("\n".join(dict.fromkeys(problems))) from None
    finally:
        gc.enable()


def _run(project: Project, settings: Settings, as_mesh: bool, only: str | None, lifeline: Lifeline) -> None:
    if as_mesh:
        _make_room(settings)  # before the services open their databases
        settings = _with_mesh_key(settings)
        run(_mesh(project, settings), new_event_loop)
        return
    ours = process(project, settings, only)
    lifeline.tell_prepared()
    if lifeline.wait_until_told():
        run(_one_process(ours, project, settings, only, lifeline), new_event_loop)


def _debugged(root: Path, settings: Settings) -> tuple[Project, Settings]:
    from sagagen.runtime.process.debugging import PATIENCE_S, stop_at_breakpoints, unhurried

    stop_at_breakpoints()
    project = Project.load(root, unhurried)
    return project, replace(settings, patience_s=PATIENCE_S)


@contextmanager
def _on_postgres(root: Path, settings: Settings, is_wanted: bool) -> Generator[Settings]:
    """The settings, with what the project's own PostgreSQL adds to them."""
    if not is_wanted:
        yield settings
        return
    from sagagen.cli.up_postgres import private_postgres

    with private_files():
        _make_folder(settings.data_dir)
        with private_postgres(root, settings) as environment:
            yield replace(settings, environment=environment)


def _watch(root: Path, debug: bool, settings: Settings) -> None:
    if importlib.util.find_spec("watchfiles") is None:
        raise click.UsageError("--watch needs the generator: pip install 'sagagen[codegen]'")
    from sagagen.cli.up_watch import watch_and_run  # with the generator, which `up` alone does not import

    configure_logs(settings.log_format, EVERYTHING)
    os.environ.update(settings.environment)  # which is what the mesh is started with
    watch_and_run(root, ["--project", str(root), *(["--debug"] if debug else [])], is_debugging=debug)


def _with_mesh_key(settings: Settings) -> Settings:
    """A local mesh without certificates has a key that nobody had to make. Its children read it from its file."""
    if settings.mesh_key is not None or settings.tls_dir is not None:
        return settings
    from sagagen.runtime.trust.making import MESH_KEY_FILE, made_secret

    file = str(made_secret(settings.data_dir / MESH_KEY_FILE))
    return replace(settings, environment={**settings.environment, f"{MESH_KEY}_FILE": file})


def _make_room(settings: Settings) -> None:
    from sagagen.runtime.log.reserve import make_room_to_start  # a parent needs nothing else of a database

    make_room_to_start(settings.saga_log)


def _environment(postgres: bool) -> dict[str, str]:
    """An empty setting is unset: compose files and CI pass an absent variable on as an empty one."""
    environment = {
        name: value for name, value in os.environ.items() if value or not name.startswith("SAGAGEN_")
    }
    if not postgres:
        return environment
    from sagagen.cli.up_postgres import beside_others  # only where one is wanted

    return beside_others(environment)


def _make_folder(data_dir: Path) -> None:
    """Raises SettingsError where data can't be kept."""
    try:
        private_folder(data_dir)
        if not os.access(data_dir, os.W_OK | os.X_OK):
            is_read_only = os.statvfs(data_dir).f_flag & os.ST_RDONLY
            cause = errno.EROFS if is_read_only else errno.EACCES
            raise OSError(cause, os.strerror(cause))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return  # whoever opens the first file in it waits for room
        hint = "set SAGAGEN_DATA_DIR to a folder that can be written"
        raise SettingsError(f"data can't be kept in {data_dir}: {error.strerror}; {hint}") from error


def _messages(group: BaseExceptionGroup[BaseException]) -> list[str]:
    return [str(error) for error in _leaves(group)]


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _leaves(cast(BaseExceptionGroup[BaseException], error))
        else:
            found.append(error)
    return found


async def _one_process(
    ours: AbstractAsyncContextManager[None],
    project: Project,
    settings: Settings,
    only: str | None,
    lifeline: Lifeline,
) -> None:
    from sagagen.runtime.process.starting import entered  # a parent opens nothing

    stop = Stop(settings.grace)
    stop.on_signals()
    services = [only] if only else [GATEWAY, *(service.name for service in project.mesh.services)]
    async with (
        exporting(project.mesh.project, services, settings.environment),
        AsyncExitStack() as stack,
    ):
        lifeline.on_parent_gone(stop.told)
        again = partial(process, project, settings, only)
        owns_log = only in (None, GATEWAY)
        if not await entered(stack, ours, again, settings=settings, owns_log=owns_log, stop=stop.told):
            return
        _spare_the_collector()
        lifeline.tell_ready()
        if _ANNOUNCES in settings.environment or (only is None and lifeline.word != AGAIN):
            await _announce(project, settings)
        # At a terminal the parent speaks for its children.
        say = _logger.debug if lifeline.is_attached and console() else _logger.info
        say("ready")
        with _telling_when_behind(project.root, is_wanted=not (lifeline.is_attached or only)):
            await stop.wait()
        say(_STOPPING)
    lifeline.close()


@contextmanager
def _telling_when_behind(root: Path, *, is_wanted: bool) -> Generator[None]:
    """At a terminal, where somebody edits the contract."""
    if not (is_wanted and console()):
        yield
        return
    from sagagen.cli.up_behind import tell_when_behind  # needs what the generator knows of files

    telling = asyncio.create_task(tell_when_behind(root))
    try:
        yield
    finally:
        telling.cancel()


def _spare_the_collector() -> None:
    """Objects made at start live until the end, so the garbage collector need not look through them again."""
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    gc.enable()


async def _mesh(project: Project, settings: Settings) -> None:
    # The gateway stops first, then all others at once.
    stop, ready = Stop(Grace(2 * longest_stop_s(settings.grace.seconds))), asyncio.Event()
    stop.on_signals()
    _spare_the_collector()
    of_gateway = {
        **without_strangers_secrets(settings.environment, GATEWAY),
        **_own_certificate(settings, GATEWAY),
        _ANNOUNCES: "1",
    }
    gateway = Child(ChildSpec("gateway", of_gateway), project.root)
    services = [
        Child(ChildSpec(service.name, _service_environment(project, settings, position)), project.root)
        for position, service in enumerate(project.mesh.services)
    ]
    if settings.restate is not None:
        services.append(Child(ChildSpec(ENGINE, _engine_environment(project, settings)), project.root))
    async with asyncio.TaskGroup() as group:
        telling = [
            group.create_task(_announced_once(ready, of_gateway)),
            group.create_task(_tell_when(stop.told)),
        ]
        try:
            with _telling_when_behind(project.root, is_wanted=True):
                grace_s = settings.grace.seconds
                await supervise(services, gateway, stop=stop.told, ready=ready, grace_s=grace_s)
        finally:
            for task in telling:
                task.cancel()


def _service_environment(project: Project, settings: Settings, position: int) -> dict[str, str]:
    """A child listens where the gateway expects it; admin ports count up from the gateway's."""
    admin = settings.gateway_admin
    service = project.mesh.services[position]
    return {
        **without_strangers_secrets(settings.environment, service.name),
        **_own_certificate(settings, service.name),
        "SAGAGEN_GRPC_ADDR": str(settings.service_reached(service)),
        "SAGAGEN_ADMIN_ADDR": str(Address(admin.host, admin.port + 1 + position)),
    }


def _engine_environment(project: Project, settings: Settings) -> dict[str, str]:
    """Of the adapter of sagas on Restate: to services it is the gateway, and its admin port is behind theirs."""
    admin = settings.gateway_admin
    return {
        **without_strangers_secrets(settings.environment, ENGINE),
        **_own_certificate(settings, GATEWAY),
        "SAGAGEN_ADMIN_ADDR": str(Address(admin.host, admin.port + 1 + len(project.mesh.services))),
    }


def _own_certificate(settings: Settings, process: str) -> dict[str, str]:
    """Each child is given its own folder below that of the mesh, where there is one. Raises SettingsError."""
    folder = settings.tls_dir
    if folder is None:
        return {}
    if (folder / "cert.pem").exists():
        raise SettingsError(
            f"SAGAGEN_TLS_DIR={folder} is one process's folder, and --mesh needs one that has a folder for each: "
            f"{folder.parent}?"
        )
    return {"SAGAGEN_TLS_DIR": str(folder / process)}


async def _announced_once(ready: asyncio.Event, gateway: dict[str, str]) -> None:
    """A gateway that is started again does not say again what can be tried."""
    await ready.wait()
    del gateway[_ANNOUNCES]


async def _tell_when(stopping: asyncio.Event) -> None:
    """At a terminal; elsewhere each child has a line of its own."""
    await stopping.wait()
    if console():
        _logger.info(_STOPPING)


async def _announce(project: Project, settings: Settings) -> None:
    from sagagen.cli.up_announcement import announce
    from sagagen.cli.up_callers import KeyCallers, found
    from sagagen.runtime.process.gateway import composed

    security = project.mesh.security
    if security is None:
        announce(project, settings, await found(composed(project)))
    else:
        key = development_key(project.mesh, settings, project.root)
        announce(project, settings, KeyCallers(security, key))
