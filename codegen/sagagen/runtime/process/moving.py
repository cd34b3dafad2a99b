"""A gateway whose project moves from one engine to another.

SAGAGEN_ENGINE_URL names the engine that is entered, or none does: then it is a file. SAGAGEN_ENGINE_LEAVING_URL names
the one that is left; a saga-log.db that lies beside SAGAGEN_ENGINE_URL is left without being named.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace

import structlog

from sagagen.runtime.addresses import ENGINE_LEAVING_URL, ENGINE_URL, LEAVES_FILE
from sagagen.runtime.audit.moving import MovingAudit
from sagagen.runtime.clock import SystemClock
from sagagen.runtime.engine.moving import MovingSagas, remaining
from sagagen.runtime.engine.port import JournalUnavailable, Leaving, MovableRuntime
from sagagen.runtime.health import Check
from sagagen.runtime.process.gateway import OpenedEngine
from sagagen.runtime.process.project import Project
from sagagen.runtime.secret_file import Secret
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import SettingsError

Open = Callable[[Settings, bool], AbstractAsyncContextManager[OpenedEngine]]
"""Opens the engine that settings name. The second argument is EmbeddedEngine's `is_alone`."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


def settings_of_left(settings: Settings) -> Settings | None:
    """Those of the engine that this gateway leaves; None: it leaves none. Raises SettingsError."""
    left = settings.engine_that_is_left
    has_file = not settings.has_own_log and settings.saga_log.exists()
    if left in ("", LEAVES_FILE):
        if left and settings.has_own_log:
            raise SettingsError(
                f"{ENGINE_LEAVING_URL}={LEAVES_FILE} is for a project that leaves its file: set {ENGINE_URL} to the "
                "engine that it moves to, or leave both out"
            )
        return settings.on_engine("") if has_file else None
    there = settings.on_engine(left)
    if has_file:
        raise SettingsError(
            f"{ENGINE_LEAVING_URL} names one engine that is left, and {settings.saga_log} is another: let a gateway "
            f"finish that first, without {ENGINE_LEAVING_URL} (`sagagen sagas stats` says when), and move it "
            "away then"
        )
    if there.restate and settings.restate:
        raise SettingsError(
            f"{ENGINE_LEAVING_URL} and {ENGINE_URL} both name Restate: sagas move between engines, not between "
            "clusters; by way of a log in PostgreSQL they reach another cluster"
        )
    if _is_same(there.engine_log, settings.engine_log):
        raise SettingsError(
            f"{ENGINE_LEAVING_URL} and {ENGINE_URL} name the same engine: leave the former out"
        )
    return there


def _is_same(one: Secret | None, other: Secret | None) -> bool:
    return one is not None and other is not None and one.current == other.current


def name_of(settings: Settings) -> str:
    """What people call the engine that these settings name."""
    if settings.has_own_log:
        return f"log {settings.saga_log}"
    return "Restate that is left" if settings.restate else "log in PostgreSQL that is left"


@asynccontextmanager
async def moving_engine(
    project: Project, settings: Settings, open_: Open, *, is_alone: bool
) -> AsyncGenerator[OpenedEngine]:
    """Both engines as one; the one that is entered alone, where nothing remains in the other.

    `is_alone` is that of an engine whose log is a file.
    """
    left = settings_of_left(settings)
    async with AsyncExitStack() as stack:
        if left is None:  # another gateway has the file
            yield await stack.enter_async_context(open_(settings, False))
            return
        name = name_of(left)
        # It goes on as it was: a saga that was accepted without a claim is not asked for one.
        old = await stack.enter_async_context(open_(left, is_alone or not left.has_own_log))
        remains = await _remaining(old.sagas, name)
        _logger.info(str(remains))
        if remains.can_go:
            await stack.aclose()
        # Another gateway may have this file's sagas, or one that has not started again yet: new ones make sure.
        opened = await stack.enter_async_context(open_(settings, False))
        if remains.can_go:
            yield replace(opened, leaving=_told(remains))
            return
        sagas = MovingSagas(
            old.sagas,
            opened.sagas,
            name=name,
            max_running=settings.limits(project.mesh).max_running,
            running_per_caller=settings.caller_limits(project.mesh).running,
        )
        await stack.enter_async_context(sagas)
        unless_gone = {f"left {check}": _unless_gone(sagas, ask) for check, ask in old.checks.items()}
        yield OpenedEngine(
            sagas, MovingAudit(old.audit, opened.audit), {**opened.checks, **unless_gone}, sagas.leaving
        )


async def _remaining(left: MovableRuntime, name: str) -> Leaving:
    try:
        return await remaining(left, name, SystemClock().wall_ms())
    except JournalUnavailable as error:
        _logger.warning("what remains in the engine that is left can't be told yet", error=str(error))
        return Leaving(name, 0, None, is_known=False)


def _told(remains: Leaving) -> Callable[[], Awaitable[Leaving]]:
    async def told() -> Leaving:
        return remains

    return told


def _unless_gone(sagas: MovingSagas, check: Check) -> Check:
    async def asked() -> str:
        return "" if sagas.can_go else await check()

    return asked
