"""`saga_test`: a project's mesh, run by a test that says what goes wrong.

async with saga_test(MESH) as t:
    t.fail("charge_payment", Declined("CARD_DECLINED"))
    answer = await t.post("/orders", {"customer_id": "ann", "items": [...]})
    assert t.saga.status == "COMPENSATED"
    assert t.saga.compensated == ["reserve_stock", "create_order"]
"""

import asyncio
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from sagagen.runtime.edge.events import CANCEL
from sagagen.runtime.edge.gateway import Gateway
from sagagen.runtime.model.definition import Mesh, Saga
from sagagen.testing.databases import MemoryDatabases
from sagagen.testing.durations import Duration, seconds
from sagagen.testing.http import HttpAnswer
from sagagen.testing.mistakes import TestMistake, unknown
from sagagen.testing.planning import FaultPlanning
from sagagen.testing.processes import Process
from sagagen.testing.runs import SagaRun
from sagagen.testing.sending import correlation, placed
from sagagen.testing.trace import Logged
from sagagen.testing.world import World

MARGIN_S = 0.01
"""What passes beyond a skip, in seconds: the log's times are whole milliseconds, and what is due then is to happen."""
STORY_LINES = 60
"""The last lines of what happened, which a failing test shows."""


@dataclass(frozen=True, slots=True)
class Answer(HttpAnswer):
    """What the edge has answered, and the saga that it is about."""

    run: SagaRun | None = None

    @property
    def saga(self) -> SagaRun:
        """The saga that the request started, or found. Raises TestMistake if there is none."""
        if self.run is None:
            raise TestMistake(
                f"this request has started no saga; it was answered {self.status}: {self.body!r}"
            )
        return self.run


class SagaTest(FaultPlanning):
    """Made by `saga_test`. Time passes while a test awaits something of it, and never by itself."""

    def __init__(self, world: World, headers: Mapping[str, str]) -> None:
        super().__init__(world.mesh, world.plan)
        self.world = world
        self.headers = dict(headers)
        """Sent with each request; the `caller` hook of gateway/app.py sees them."""
        self._keys = itertools.count(1)
        self._runs: dict[str, SagaRun] = {}

    async def __aenter__(self) -> Self:
        await self.world.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            error.add_note(self._explained())
        await self.world.__aexit__(kind, error, trace)
        if error is None:
            self._look_for_mistakes()

    def _explained(self) -> str:
        lines = self.world.story().splitlines()[-STORY_LINES:]
        tracebacks = [
            each.traceback for each in self.world.trace if isinstance(each, Logged) and each.traceback
        ]
        told = ["what happened, by the seconds since the test began:", *lines, *tracebacks[-1:]]
        return "\n".join(told)

    # what else goes wrong

    def kill(self, process: str, down: Duration | None = None) -> None:
        """End a process as by kill -9: a service, or `gateway`. It starts again after `down`, or by `restart`."""
        self._process(process).kill(None if down is None else seconds(down))

    async def restart(self, process: str) -> None:
        """Let a process drain and end, if it runs, and start it."""
        found = self._process(process)
        await found.stop()
        found.start()
        await found.started()
        self._look_for_mistakes()

    # what happens

    async def post(
        self,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST, and let time pass until the saga is over or stuck, or waits for an event or for time to pass.

        `body` becomes JSON. `key` is the idempotency key, one of its own for each request; empty: none is sent. A
        client whose gateway dies sends the same again, as one should. Raises TestMistake where no route fits.
        """
        return await self.request("POST", path, body, key=key, headers=headers)

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        """GET. Raises TestMistake where no route fits."""
        return await self.request("GET", path, key="", headers=headers)

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """As `post`, of any method."""
        sent = {**self.headers, **(headers or {})}
        key = f"test-{next(self._keys)}" if key is None else key
        if key:
            sent["idempotency-key"] = key
        encoded = b"" if body is None else json.dumps(body).encode()
        answer = await self._asked(method, path, encoded, sent)
        self._check_route(method, path, answer)
        if answer.saga_id:
            await self.world.rest(answer.saga_id)
        self._look_for_mistakes()
        run = self._run_of(answer.saga_id) if answer.saga_id in self.world.histories else None
        return Answer(answer.status, answer.headers, answer.body, answer.saga_id, run)

    async def _asked(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """The answer, though the gateway may die before it is there."""
        was_cut = False
        while True:
            try:
                answer = await self.world.request(method, path, body, headers)
            except ConnectionError as error:
                if not self.world.gateway.is_coming_back:
                    raise TestMistake('the gateway is down: `await t.restart("gateway")`') from error
                was_cut = True
                await self.world.gateway.started()
                continue
            if not (was_cut and answer.status == 409 and answer.saga_id):
                return answer
            # What it began before the gateway died is under way; its answer is there when it has ended.
            was_cut = False
            await self.world.rest(answer.saga_id)

    async def send(
        self,
        event: str,
        payload: Mapping[str, object] | None = None,
        *,
        saga: SagaRun | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Bring an event to a saga by its route, and let time pass as `post` does. The only saga, if none is given.

        The field that says which saga it is for is filled in. Look at the answer's status: a saga that takes no such
        event now says so.
        """
        run = saga or self.saga
        definition = self._definition(run)
        events = {each.name: each for each in definition.events}
        if event not in events:
            raise unknown(f"event of saga {definition.name}", event, events)
        found = events[event]
        return await self._bring(run, event, found.method.path, found.saga_id, payload or {}, key, headers)

    async def cancel(
        self,
        payload: Mapping[str, object] | None = None,
        *,
        saga: SagaRun | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Cancel a saga as its client does, by the route that the contract has for it; as `send`."""
        run = saga or self.saga
        definition = self._definition(run)
        if definition.cancel is None:
            raise TestMistake(f"the contract says of no rpc that it cancels saga {definition.name}")
        path, saga_id = definition.cancel.method.path, definition.cancel.saga_id
        return await self._bring(run, CANCEL, path, saga_id, payload or {}, key, headers)

    async def skip(self, span: Duration) -> None:
        """Let so much time pass, and a little more: what is due by then happens."""
        await asyncio.sleep(seconds(span) + MARGIN_S)
        self._look_for_mistakes()

    # what is there then

    @property
    def now_s(self) -> float:
        """Virtual seconds since the test began."""
        return self.world.now_s

    @property
    def now(self) -> datetime:
        """The wall clock of the virtual world, in UTC; when a loop begins it is 2023-11-14 22:13:20."""
        return datetime.fromtimestamp(self.world.clock.wall_ms() / 1000, UTC)

    @property
    def databases(self) -> MemoryDatabases:
        """By service: `t.databases["inventory"].execute("SELECT ...")` gives rows of what is committed."""
        return self.world.databases

    @property
    def sagas(self) -> list[SagaRun]:
        """All that were accepted, in that order."""
        return [self._run_of(saga_id) for saga_id in self.world.histories]

    @property
    def saga(self) -> SagaRun:
        """The only one. Raises TestMistake if there is none, or another one."""
        runs = self.sagas
        if len(runs) != 1:
            raise TestMistake(
                f"{len(runs)} sagas were accepted, so which is meant? Take the answer's: `(await t.post(...)).saga`"
                if runs
                else "no saga was accepted yet"
            )
        return runs[0]

    # how names are found

    def _process(self, name: str) -> Process:
        known = {process.name: process for process in self.world.processes}
        if name not in known:
            raise unknown("process", name, known)
        return known[name]

    def _check_route(self, method: str, path: str, answer: HttpAnswer) -> None:
        if answer.status not in (404, 405) or "json" not in answer.headers.get("content-type", ""):
            return
        if answer.json.get("reason") in ("NO_ROUTE", "METHOD_NOT_ALLOWED"):
            known = [f"{route.verb} {route.template}" for route in self.world.mesh.routes]
            raise unknown("route", f"{method} {path.partition('?')[0]}", known)

    def _definition(self, run: SagaRun) -> Saga:
        return self.world.saga_of(self.world.histories[run.id])

    async def _bring(
        self,
        run: SagaRun,
        event: str,
        rpc: str,
        saga_id_of: Any,
        payload: Mapping[str, object],
        key: str | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        route = next(
            (route for route in self.world.mesh.routes if route.event == event and route.method.path == rpc),
            None,
        )
        if route is None:
            raise TestMistake(
                f"no route brings the event {event}: the rpc {rpc} has no google.api.http option"
            )
        filled = {**correlation(self.world.schema, route, saga_id_of, run.id), **payload}
        path, body = placed(route, filled)
        return await self.request(route.verb, path, body, key=key, headers=headers)

    def _run_of(self, saga_id: str) -> SagaRun:
        return self._runs.setdefault(saga_id, SagaRun(self.world, saga_id))

    def _look_for_mistakes(self) -> None:
        if self.world.mistakes:
            raise TestMistake("; ".join(dict.fromkeys(self.world.mistakes)))


def saga_test(
    mesh: Mesh,
    *,
    handlers: Mapping[str, object] | None = None,
    seed: int = 0,
    gateway: Gateway | None = None,
    headers: Mapping[str, str] | None = None,
) -> SagaTest:
    """Run a project's mesh in a test: `async with saga_test(MESH) as t`, on virtual time.

    `handlers`, classes or objects, stand for the project's own, by service; one that lacks a method is fine as long as
    nobody calls it.
    `gateway` is that of gateway/app.py if none is given; `headers` go with each request. All that is random follows
    from `seed`: the same seed, the same run. Raises TestMistake for a service that the contract lacks, ProjectError
    where handlers or gateway/app.py can't be used, NotOnVirtualTime on a loop that is not virtual.
    """
    services = [service.name for service in mesh.services]
    for name in handlers or {}:
        if name not in services:
            raise unknown("service", name, services)
    given = {name: each() if isinstance(each, type) else each for name, each in (handlers or {}).items()}
    return SagaTest(World(mesh, handlers=given, seed=seed, gateway=gateway), headers or {})
