"""What the conformance suite needs of a store, and one entry for each store that there is.

A second implementation is one more entry in STORES: `test_store_conformance.py`, `test_purge.py` and
`test_barrier_machine.py` run over all of them, and look at a store through its port only.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol, TypedDict, Unpack

import postgres_server
import pytest
from small_mesh import saga_call
from thorough import TRIES_ALL

from sagagen.runtime.clock import Clock, SystemClock
from sagagen.runtime.model.definition import Direction, StepKind
from sagagen.runtime.rpc.errors import Declined, RpcError, refused
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled
from sagagen.runtime.service.barrier.rules import State
from sagagen.runtime.service.call import Db
from sagagen.runtime.service.postgres_store.preparing import PostgresScripts
from sagagen.runtime.service.postgres_store.store import Isolation, PostgresStore
from sagagen.runtime.service.sqlite_store.sql_files import Scripts
from sagagen.runtime.service.sqlite_store.store import SqliteStore
from sagagen.runtime.service.store import Handle, ServiceStore, Turn
from sagagen.runtime.vault.vault import FileKeys

TABLES = """
CREATE TABLE IF NOT EXISTS effects (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS owners (id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS pets (owner INTEGER REFERENCES owners DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE IF NOT EXISTS numbers (number BIGINT, text TEXT);
"""
"""`effects` has no key on purpose: an effect that happens twice is there twice."""
FAILS_AT_COMMIT = "INSERT INTO pets VALUES (4711)"
LONG_S = 60.0


class StoreFactory(Protocol):
    """Opens a store with TABLES; the same folder again is the same database."""

    def __call__(
        self, folder: Path, clock: Clock, *, retention_s: float, hold_limit_s: float
    ) -> AbstractAsyncContextManager[ServiceStore]: ...


def _sqlite(
    folder: Path, clock: Clock, *, retention_s: float, hold_limit_s: float
) -> AbstractAsyncContextManager[ServiceStore]:
    scripts = Scripts(folder / "lab.sql", TABLES, {}, {})
    return SqliteStore.open(
        folder / "lab.db", scripts, clock, retention_s=retention_s, hold_limit_s=hold_limit_s
    )


def _encrypted_sqlite(
    folder: Path, clock: Clock, *, retention_s: float, hold_limit_s: float
) -> AbstractAsyncContextManager[ServiceStore]:
    scripts, keys = Scripts(folder / "lab.sql", TABLES, {}, {}), FileKeys([("k1", b"k" * 32)])
    return SqliteStore.open(
        folder / "lab.db", scripts, clock, retention_s=retention_s, hold_limit_s=hold_limit_s, keys=keys
    )


def _postgres(isolation: Isolation, *, is_encrypted: bool = False) -> StoreFactory:
    def make(
        folder: Path, clock: Clock, *, retention_s: float, hold_limit_s: float
    ) -> AbstractAsyncContextManager[ServiceStore]:
        if why := postgres_server.missing():
            pytest.skip(why)
        name = f"lab_{sha256(str(folder).encode()).hexdigest()[:24]}"
        return PostgresStore.open(
            "lab",
            postgres_server.shared_server().database(name),
            PostgresScripts(folder / "lab.postgres.sql", TABLES, {}),
            clock,
            retention_s=retention_s,
            hold_limit_s=hold_limit_s,
            isolation=isolation,
            keys=FileKeys([("k1", b"k" * 32)]) if is_encrypted else None,
        )

    return make


_OTHERS: dict[str, StoreFactory] = {
    "postgres-serializable": _postgres("serializable"),
    "postgres-read-committed": _postgres("read_committed"),
    "encrypted postgres": _postgres("repeatable_read", is_encrypted=True),
}
STORES: dict[str, StoreFactory] = {
    "sqlite": _sqlite,
    "encrypted sqlite": _encrypted_sqlite,
    "postgres": _postgres("repeatable_read"),
    **(_OTHERS if TRIES_ALL else {}),
}

Body = Callable[[Db], Awaitable[object]]


class Told(TypedDict, total=False):
    """What a test says of a call; the rest is as `saga_call` has it."""

    step: str
    run: str
    kind: StepKind
    started_ms: int
    attempt: int
    not_after_ms: int


@dataclass
class Shop:
    """A store, and what a service would do with it."""

    store: ServiceStore

    async def act(self, name: str, body: Body | None = None, **call: Unpack[Told]) -> CallResult:
        """The action of a saga called `name`; without a body its effect is a row with that name."""
        return await self.write(saga_call(saga=name, **call), body or effect(name))

    async def undo(self, name: str, body: Body | None = None, **call: Unpack[Told]) -> CallResult:
        """Its compensation."""
        return await self.write(
            saga_call(direction=Direction.COMPENSATION, saga=name, **call), body or effect(f"undo {name}")
        )

    async def write(self, saga: SagaCall | None, body: Body, digest: bytes = b"digest") -> CallResult:
        call = barred(saga, digest)
        return await self.store.write(call, handling(call, body))

    async def effects(self) -> list[str]:
        async with self.store.read() as db:
            return [row["name"] for row in await db.fetch("SELECT name FROM effects ORDER BY name")]


def opened(
    make: StoreFactory,
    folder: Path,
    clock: Clock | None = None,
    *,
    retention_s: float = 1e9,
    hold_limit_s: float = LONG_S,
) -> AbstractAsyncContextManager[ServiceStore]:
    return make(folder, clock or SystemClock(), retention_s=retention_s, hold_limit_s=hold_limit_s)


def barred(saga: SagaCall | None, digest: bytes = b"digest") -> BarredCall:
    return BarredCall(saga, digest, None, "/lab/Write")


def effect(name: str) -> Body:
    async def body(db: Db) -> None:
        await db.execute("INSERT INTO effects VALUES (?)", (name,))

    return body


def handling(call: BarredCall, body: Body) -> Handle:
    """As delivery does: a response for what returns, a refusal for Declined, nothing kept of anything else."""

    async def handle(turn: Turn) -> Handled:
        try:
            await body(turn.db)
        except Declined as declined:
            error = refused(declined.reason, declined.message, domain="lab")
            outcome = error.to_status().SerializeToString()
            return Handled(CallResult(error=error), call.record(State.REFUSED, outcome))
        except RpcError as error:
            return Handled(CallResult(error=error))
        return done(call)

    return handle


def done(call: BarredCall) -> Handled:
    return Handled(CallResult(b"done"), call.record(State.DONE, b"done"), keeps_effects=True)


class Gate:
    """A body that waits in its turn, after its effect."""

    def __init__(self, name: str) -> None:
        self.entered, self.released = asyncio.Event(), asyncio.Event()
        self._name = name

    async def __call__(self, db: Db) -> None:
        await effect(self._name)(db)
        self.entered.set()
        await self.released.wait()


def reason(result: CallResult) -> str:
    """REPLAY, OK, or why not."""
    if result.error is None:
        return "REPLAY" if result.is_replay else "OK"
    return result.error.reason or result.error.code.name
