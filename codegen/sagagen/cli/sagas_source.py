"""Where `sagagen sagas` gets its answers: from a gateway's admin listener (`sagas_listener`), or from a log at rest."""

import os
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from sagagen.cli.sagas_listener import mesh_of_project
from sagagen.cli.sagas_user import os_user
from sagagen.runtime.admin.deed import Deed
from sagagen.runtime.admin.figures_shown import groups_shown, steps_shown
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.orders import Orders, order_shown
from sagagen.runtime.audit.auditor import Auditor
from sagagen.runtime.audit.trail import PendingOrder
from sagagen.runtime.engine.asking import SagasBeside
from sagagen.runtime.engine.at_rest import SagasAtRest
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.saga.commands import Act, CommandRejected
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.startup import StartupError
from sagagen.runtime.vault.given import given_keys

HAS_THE_FILE = "file"
"""How we know who it is: nobody is asked who has the log itself."""
ALONE = "file, without a second person"


class Source(Protocol):
    async def list(self, asked: Mapping[str, str]) -> Mapping[str, Any]: ...
    async def show(self, saga_id: str) -> Mapping[str, Any]: ...
    async def history(self, saga_id: str) -> Mapping[str, Any]: ...
    async def command(self, saga_id: str, act: Act, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """`given` is what the admin listener takes: by, note, step, as, response."""
        ...

    async def send(self, saga_id: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """`given` is what the admin listener takes: event, by, key, payload."""
        ...

    async def stats(self) -> Mapping[str, Any]: ...
    async def groups(self) -> Mapping[str, Any]: ...
    async def steps(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        """`asked` is what the admin listener takes: saga, version."""
        ...

    async def orders(self) -> Mapping[str, Any]:
        """Those that wait for a second person."""
        ...

    async def order(self, order_id: str) -> Mapping[str, Any]: ...
    async def confirm(self, order_id: str) -> Mapping[str, Any]: ...
    async def withdraw(self, order_id: str) -> Mapping[str, Any]: ...
    async def audit(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        """`asked` is what the admin listener takes: saga, by, since_s, limit."""
        ...


class LogAtRest:
    """A log that no gateway runs on."""

    def __init__(self, orders: Orders, four_eyes: Collection[str], *, is_alone: bool) -> None:
        """`four_eyes` are commands that are refused unless `is_alone`: nobody here can be asked to confirm them."""
        self._orders = orders
        self._operations = orders.operations
        self._four_eyes = four_eyes
        self._is_alone = is_alone

    async def list(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        return {"sagas": await self._orders.find(self._deed("list"), asked)}

    async def show(self, saga_id: str) -> Mapping[str, Any]:
        return await self._operations.show(saga_id)

    async def history(self, saga_id: str) -> Mapping[str, Any]:
        return await self._operations.history(saga_id)

    async def command(self, saga_id: str, act: Act, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._give(act, saga_id, given)

    async def send(self, saga_id: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._give("send", saga_id, given)

    async def _give(self, did: str, saga_id: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
        deed = self._deed(did, saga_id=saga_id)
        async with self._orders.audited(deed):
            if did in self._four_eyes and self._is_alone:
                deed.scheme = ALONE
            elif did in self._four_eyes:
                raise CommandRejected(
                    f"{did} takes two persons (security.admin.four_eyes), and no gateway runs here that could ask a "
                    "second one: start it; or say --alone, which stands in the audit"
                )
            shown = await self._orders.give(deed, {**given, "by": given.get("by") or deed.by})
        assert not isinstance(shown, PendingOrder), "at rest no order waits"
        return shown

    async def stats(self) -> Mapping[str, Any]:
        return await self._operations.stats()

    async def groups(self) -> Mapping[str, Any]:
        return groups_shown(await self._operations.figures.groups())

    async def steps(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        return await steps_shown(self._operations.figures, self._operations.definitions, asked)

    async def orders(self) -> Mapping[str, Any]:
        return {"orders": [order_shown(order) for order in await self._orders.pending()]}

    async def order(self, order_id: str) -> Mapping[str, Any]:
        deed = self._deed("order", order_id=order_id)
        return {"order": await self._orders.show_pending(deed)}

    async def confirm(self, order_id: str) -> Mapping[str, Any]:
        deed = self._deed("confirm", order_id=order_id)
        async with self._orders.audited(deed):
            raise CommandRejected(
                "at rest nobody can tell two persons apart: start the gateway, and confirm there"
            )

    async def withdraw(self, order_id: str) -> Mapping[str, Any]:
        deed = self._deed("withdraw", order_id=order_id)
        async with self._orders.audited(deed):
            await self._orders.withdraw(deed)
        return {"withdrawn": order_id}

    async def audit(self, asked: Mapping[str, str]) -> Mapping[str, Any]:
        return {"audit": await self._orders.audit(asked)}

    def _deed(self, did: str, saga_id: str = "", order_id: str = "") -> Deed:
        # The user of the system stands beside the name that they give, which may be another.
        by = os_user()
        return Deed(did, saga_id, order_id, by=by, scheme=HAS_THE_FILE, address=f"user {by} of this machine")


@asynccontextmanager
async def at(place: Path | str) -> AsyncGenerator[tuple[Orders, Collection[str]]]:
    """The log in a file that no gateway runs on; or in the PostgreSQL at a URL, whose gateways may run."""
    entered = at_rest(place) if isinstance(place, Path) else _beside(place)
    async with entered as found:
        yield found


@asynccontextmanager
async def _beside(url: str) -> AsyncGenerator[tuple[Orders, Collection[str]]]:
    try:
        from sagagen.runtime.postgres_log.log import PostgresLog
    except ModuleNotFoundError as error:
        raise StartupError(
            "the driver of PostgreSQL is not installed: pip install 'sagagen[postgres]'"
        ) from error
    mesh = mesh_of_project()
    access = mesh.security.admin if mesh and mesh.security else None
    async with (
        PostgresLog.beside(url, given_keys(os.environ)) as log,
        Auditor.open(log.audit, has_stream=False) as auditor,
    ):
        schema = (lambda: Schema(mesh.descriptors.read_bytes())) if mesh else None
        sagas = SagasBeside(log, Definitions(mesh.sagas if mesh else ()))
        operations = SagaOperations(sagas, schema, sagas.deliver)
        yield Orders(operations, auditor), frozenset(access.four_eyes if access else ())


@asynccontextmanager
async def at_rest(path: Path) -> AsyncGenerator[tuple[Orders, Collection[str]]]:
    """The log at `path`, locked while open; and the commands that take two persons, as the project says.

    What is encrypted is hidden where the environment names no keys.
    Raises LogLocked if a gateway runs on it, LogCorrupted if it is damaged.
    """
    mesh = mesh_of_project()
    definitions = Definitions(mesh.sagas if mesh else ())
    access = mesh.security.admin if mesh and mesh.security else None
    async with (
        SagaLog.open(path, given_keys(os.environ), hides=True) as log,
        Auditor.open(log.audit, has_stream=False) as auditor,
    ):
        schema = (lambda: Schema(mesh.descriptors.read_bytes())) if mesh else None
        operations = SagaOperations(SagasAtRest(log, definitions), schema)
        yield Orders(operations, auditor), frozenset(access.four_eyes if access else ())
