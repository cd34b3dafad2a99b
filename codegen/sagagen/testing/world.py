"""A project's mesh in one process, on virtual time: everything real but time, disk and network.

Real: the edge, the engine, the saga log and the services' stores with their SQL, the barrier, the handlers. Made up:
time (`virtual_time`), where the databases lie (`databases`), and the line between gateway and services, on which what
a test planned (`faults`) goes wrong. A world runs by itself while its test waits, and is the same for the same seed.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Self

from sagagen.runtime.edge.gateway import Gateway
from sagagen.runtime.log.reading import find_saga
from sagagen.runtime.model.definition import Mesh, Saga, Service
from sagagen.runtime.process.gateway import composed
from sagagen.runtime.process.project import Project
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.decide import decide
from sagagen.runtime.saga.decision import CallNow
from sagagen.runtime.saga.events import LogEvent
from sagagen.runtime.saga.history import History, fold
from sagagen.testing.calls import CallMade
from sagagen.testing.databases import SAGA_LOG, CommitWatch, MemoryDatabases
from sagagen.testing.faults import CallKey, Crash, F, FaultPlan, Moment
from sagagen.testing.http import HttpAnswer, asked
from sagagen.testing.log_lines import noted
from sagagen.testing.processes import GatewayProcess, Process, ServiceProcess
from sagagen.testing.trace import Died, Happening, Injected, Logged, Started, Wrote
from sagagen.testing.virtual_time import VirtualClock, running_virtual_loop

DAY_S = 86_400.0
LONGEST_S = 90 * DAY_S
"""How much virtual time may pass, in seconds, before what is waited for counts as never to come."""

AtCommit = Callable[[Process, str, bool], None]
"""Called with a process, the name of a database, and whether the commit is durable yet. It may kill the process."""


class NeverHappened(Exception):
    """What was waited for did not come, however much time passed."""


class World:
    """Use it by `async with`, on a VirtualLoop: entering starts all processes, leaving stops them and forgets all.

    `handlers` stand for the project's own, by service. `gateway` is that of gateway/app.py if none is given.
    """

    def __init__(
        self,
        mesh: Mesh,
        *,
        handlers: Mapping[str, object] | None = None,
        seed: int = 0,
        gateway: Gateway | None = None,
        commit_s: Callable[[str], float] | None = None,
        at_commit: AtCommit | None = None,
    ) -> None:
        """Raises ProjectError where gateway/app.py or a handler can't be used, NotOnVirtualTime on another loop."""
        loop = running_virtual_loop(type(self).__name__)
        project = Project(mesh.root, mesh)
        self.mesh = mesh
        self.seed = seed
        self.random = Random(seed)
        """For whatever the world's user draws."""
        self.clock = VirtualClock(loop)
        self.databases = MemoryDatabases(commit_s)
        self.plan = FaultPlan()
        self.trace: list[Happening] = []
        self.mistakes: list[str] = []
        """Of the test itself: a fake that lacks a method, a process that does not start."""
        self.methods = {method.path: method for service in mesh.services for method in service.methods}
        """By path, as on the wire."""
        self.calls: dict[str, list[CallMade]] = {}
        """By saga, in the order in which they were made."""
        self.histories: dict[str, History] = {}
        """By saga, as the log has them."""
        self.is_closing = False
        gateway = gateway or composed(project)
        self.schema = gateway.schema
        self._project = project
        self._handlers = handlers or {}
        self.services = {
            service.name: ServiceProcess(self, service, self.handlers(service)) for service in mesh.services
        }
        self.gateway = GatewayProcess(self, gateway)
        self._loop = loop
        self._began_s = loop.time()
        self._ids = Random(f"{seed}/ids")
        self._at_commit = at_commit
        self._numbers: dict[int, str] = {}
        self._unwritten: dict[str, list[LogEvent]] = {}
        """Rows that ride along with the next write of their saga."""
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._logs = ExitStack()

    async def __aenter__(self) -> Self:
        self._logs.enter_context(noted(self._logged))
        try:
            for process in self.processes:
                process.start()
                await process.started()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        self.is_closing = True
        for process in self.processes:
            process.kill()
        # The tasks of dead processes end in the next turns of the loop: nothing of this world is left behind in it.
        for process in self.processes:
            await process.buried()
        self.databases.close()
        self._logs.close()

    def _logged(self, level: str, line: str, traceback: str) -> None:
        if level != "debug":
            self.note(Logged(at_s=self.now_s, level=level, line=line, traceback=traceback))

    def handlers(self, service: Service) -> object:
        """What a life of a service begins with: the test's own, or a new instance of the project's class."""
        return self._handlers.get(service.name) or self._project.handlers(service)

    @property
    def processes(self) -> Sequence[Process]:
        """All of them: services in the order of the contract, then the gateway."""
        return (*self.services.values(), self.gateway)

    @property
    def now_s(self) -> float:
        """Seconds since the world began."""
        return self._loop.time() - self._began_s

    # what is asked of it

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """Answer an HTTP request at the real edge. `target` is path and query.

        Raises ConnectionError where the gateway is down, or dies before it has answered.
        """
        application, life = self.gateway.application, self.gateway.life
        if application is None:
            raise ConnectionRefusedError("the gateway is down")
        trace = TraceContext(
            f"{self._ids.getrandbits(128) or 1:032x}", f"{self._ids.getrandbits(64) or 1:016x}"
        )
        asking = life.begin(asked(application, method, target, body, headers or {}, trace))
        await asyncio.wait({asking})
        if asking.cancelled() or life.is_over:
            raise ConnectionResetError("the gateway died before it answered")
        return asking.result()

    async def until(self, is_reached: Callable[[], bool], within_s: float = LONGEST_S) -> None:
        """Let time pass until that is so. It is looked at after each write of the log, and each start and death.

        Raises NeverHappened after `within_s` seconds.
        """
        ends_s = self._loop.time() + within_s
        while not is_reached():
            changed: asyncio.Future[None] = self._loop.create_future()
            self._waiting[changed] = None
            try:
                async with asyncio.timeout_at(ends_s):
                    await changed
            except TimeoutError:
                raise NeverHappened(
                    f"that did not come about within {within_s:g} s of virtual time"
                ) from None
            finally:
                self._waiting.pop(changed, None)

    async def rest(self, saga_id: str, within_s: float = LONGEST_S) -> None:
        """Let time pass until the saga is over or stuck, or waits for an event or for time to pass."""
        await self.until(lambda: self.is_at_rest(saga_id), within_s)

    def is_at_rest(self, saga_id: str) -> bool:
        """The log has the saga, and there is nothing to do for it now."""
        history = self.histories.get(saga_id)
        if history is None:
            return False
        if history.ended or not self.gateway.is_up:
            return history.ended is not None
        decision = decide(self.saga_of(history), history)
        return decision is None or (isinstance(decision, CallNow) and not decision.calls)

    def saga_of(self, history: History) -> Saga:
        """The definition that a saga runs on."""
        accepted = history.accepted
        return next(
            saga for saga in self.mesh.sagas if (saga.name, saga.version) == (accepted.saga, accepted.version)
        )

    def rows_of(self, saga_id: str) -> Sequence[LogEvent]:
        """What the saga log has of a saga."""
        found = find_saga(self.databases[SAGA_LOG].connection, saga_id)
        return found.rows if found else ()

    def story(self, saga_id: str = "") -> str:
        """The trace as lines of text; of one saga, with what happened to processes meanwhile."""
        return "\n".join(
            f"{each.at_s:10.3f}s  {each}"
            for each in self.trace
            if not saga_id or getattr(each, "saga_id", saga_id) == saga_id
        )

    # what its parts tell it

    def note(self, happening: Happening) -> None:
        """It belongs into the trace."""
        self.trace.append(happening)
        if isinstance(happening, (Wrote, Started, Died)):
            self._changed()

    def mistake(self, text: str) -> None:
        self.mistakes.append(text)
        self._changed()

    def happens(self, kind: type[F], call: CallKey | SagaCall, moment: Moment | None = None) -> F | None:
        """The fault of this kind that happens to the call now."""
        fault = self.plan.next(kind, call, moment)
        if fault:
            self.note(Injected(at_s=self.now_s, fault=fault))
        return fault

    def may_crash(self, process: Process, moment: Moment, call: CallKey | SagaCall) -> bool:
        """Kill the process if the plan says so; whether it did."""
        crash = self.happens(Crash, call, moment)
        if crash:
            process.kill(crash.down_s)
        return crash is not None

    async def may_crash_here(self, process: Process, moment: Moment, call: CallKey | SagaCall) -> None:
        """The same, from a task of that process: then it gets no further."""
        if self.may_crash(process, moment, call):
            await self._loop.create_future()

    def called(self, call: SagaCall, service: str, rpc: str, request: bytes) -> None:
        """A call leaves the gateway."""
        method = self.methods[rpc]
        made = CallMade(call.saga_id, call.step, call.direction, call.attempt, service, method, request)
        self.calls.setdefault(call.saga_id, []).append(made)

    def answered(self, key: CallKey, outcome: str, response: bytes) -> None:
        """The gateway learns what came of it."""
        for made in reversed(self.calls[key.saga_id]):
            if (made.step, made.direction, made.attempt) == (key.step, key.direction, key.attempt):
                made.outcome, made.received = outcome, response
                return

    def wrote(self, number: int, saga_id: str, rows: Sequence[LogEvent]) -> str:
        """Rows of the log's saga of that number are durable. `saga_id` is needed with the first. Returns its id."""
        if saga_id:
            self._numbers[number] = saga_id
            self.histories[saga_id] = fold(rows)
        else:
            saga_id = self._name(number)
            before = self._unwritten.pop(saga_id, [])
            self.histories[saga_id] = self.histories[saga_id].with_rows((*before, *rows))
        if rows:
            self.note(Wrote(at_s=self.now_s, saga_id=saga_id, rows=tuple(rows)))
        return saga_id

    def will_write(self, number: int, rows: Sequence[LogEvent]) -> None:
        """Rows that are durable with, or before, the saga's next."""
        self._unwritten.setdefault(self._name(number), []).extend(rows)

    def _name(self, number: int) -> str:
        """The saga's id. Its gateway may have died just when it was accepted: then the log alone knows of it."""
        if number not in self._numbers:
            found = self.databases[SAGA_LOG].execute("SELECT saga_id FROM saga WHERE number = ?", (number,))
            saga_id = self._numbers[number] = found[0]["saga_id"]
            self._read(saga_id)
        return self._numbers[number]

    def _read(self, saga_id: str) -> None:
        if rows := self.rows_of(saga_id):
            self.histories[saga_id] = fold(rows)

    def forget_unwritten(self) -> None:
        """The gateway has died: what its log has of open sagas is what counts."""
        self._unwritten.clear()
        if self.is_closing:
            return
        for saga_id, history in list(self.histories.items()):
            if history.ended is None:
                self._read(saga_id)

    def commit_watch(self, process: Process) -> CommitWatch | None:
        """What the databases of a process ask."""
        return _Commits(process, self._at_commit) if self._at_commit else None

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for each in waiting:
            if not each.done():
                each.set_result(None)


@dataclass(frozen=True, slots=True)
class _Commits:
    process: Process
    at_commit: AtCommit

    def committing(self, database: str) -> None:
        self.at_commit(self.process, database, False)

    def committed(self, database: str) -> None:
        self.at_commit(self.process, database, True)
