"""The engine on Restate, for suites that run over every engine: one server for all tests of a process."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
import restate_server
from small_mesh import ManualClock
from stack import free_ports

from sagagen.runtime.addresses import Address
from sagagen.runtime.clock import Grace
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.restate.adapter import Adapter, register
from sagagen.runtime.restate.audit import RestateAudit
from sagagen.runtime.restate.client import RestateClient
from sagagen.runtime.restate.failing import Failing
from sagagen.runtime.restate.journal import RestateJournal
from sagagen.runtime.restate.looking import Looking
from sagagen.runtime.restate.replies import Replies, ReplyListener
from sagagen.runtime.restate.sagas import RestateSagas
from sagagen.runtime.rpc.transport import Transport


@cache
def server() -> restate_server.RestateServer:
    if why := restate_server.missing():
        pytest.skip(why)
    return restate_server.RestateServer()


@cache
def port_of(project: str) -> int:
    """Always the same: Restate goes on with an invocation where it has begun it."""
    (port,) = free_ports(1)
    return port


class TimedRestateJournal(RestateJournal):
    """Waits by the test's clock."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    async def rest(self, seconds: float, wake: asyncio.Event) -> None:
        await self._clock.sleep(seconds, wake)


@asynccontextmanager
async def restate_engine(
    folder: Path,
    definition: Saga,
    world: Transport,
    clock: ManualClock,
    max_running: int = 10_000,
    grace_s: float = 60.0,
    *,
    driven: Sequence[Saga] | None = None,
    audits: list[RestateAudit] | None = None,
    per_caller: int | None = None,
) -> AsyncGenerator[RestateSagas]:
    """`driven` are the definitions of the adapter, if it has others than the gateway; `audits` gets the audit."""
    project = "t" + sha256(str(folder).encode()).hexdigest()[:12]
    ingress, admin = RestateClient([server().ingress]), RestateClient([server().admin])
    looking = Looking(admin, project, [definition.name])
    failing = Failing(admin, project, [definition.name])
    audit = RestateAudit(ingress, admin, project)
    if audits is not None:
        audits.append(audit)
    sagas = RestateSagas(
        project,
        [definition],
        ingress,
        looking,
        failing,
        max_running=max_running,
        max_running_per_caller=per_caller,
        audited=audit.told,
        clock=clock,
    )
    listener = ReplyListener(sagas.hear, None)
    sagas.heard_by(listener)
    replies = Replies()
    replies.local[listener.token] = sagas.hear
    adapter = Adapter(
        project,
        [definition] if driven is None else driven,
        {"one": world},
        replies=replies,
        calls_per_service=64,
        clock=clock,
        journal=TimedRestateJournal(clock),
    )
    try:
        async with adapter.listening(Address("127.0.0.1", port_of(project)), Grace(grace_s)) as port:
            problem = await register(admin, f"http://127.0.0.1:{port}")
            assert not problem, problem
            async with sagas:
                yield sagas
    finally:
        ingress.close()
        admin.close()
