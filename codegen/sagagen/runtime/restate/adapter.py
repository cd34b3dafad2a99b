"""The adapter: what Restate calls to have sagas driven. Any number of them may run, behind one address."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from random import Random, SystemRandom

import structlog
from h2.connection import H2Connection

from sagagen.runtime.addresses import Address
from sagagen.runtime.clock import Clock, Grace, SystemClock
from sagagen.runtime.engine.calls import Calls
from sagagen.runtime.engine.context import EngineContext, OnResult
from sagagen.runtime.engine.narration import Narrator
from sagagen.runtime.engine.row_metrics import begin_at_zero
from sagagen.runtime.engine.time import FOLLOW_S, SagaTime
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.restate import operators, shared
from sagagen.runtime.restate.client import RestateClient, Unreachable
from sagagen.runtime.restate.endpoint import Endpoint, Handler
from sagagen.runtime.restate.http2 import Frames, Http2Server
from sagagen.runtime.restate.invocation import Attempt
from sagagen.runtime.restate.journal import RestateJournal
from sagagen.runtime.restate.replies import Replies, Told
from sagagen.runtime.restate.workflow import SagaWorkflow
from sagagen.runtime.restate.workflow_names import (
    CLOSE,
    HEAD,
    LOOK,
    ORDER,
    RUN,
    audit_service,
    manifest,
    orders_service,
    service_name,
)
from sagagen.runtime.rpc.transport import Transport
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.journal import Journal
from sagagen.runtime.settings import AUDIT_DAYS

CANCEL_BEFORE_END_S = 2.0
"""Time in seconds before the end of the grace period at which running calls are given up."""
REGISTERS_AGAIN_S = 2.0

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Adapter:
    """Drives sagas that Restate calls for. Use `async with Adapter.open(...)`."""

    def __init__(
        self,
        project: str,
        sagas: Sequence[Saga],
        transports: Mapping[str, Transport],
        *,
        replies: Replies,
        calls_per_service: int,
        audit_s: float = AUDIT_DAYS * 86400.0,
        keys: Sequence[str] = (),
        on_result: OnResult | None = None,
        narrator: Narrator | None = None,
        clock: Clock | None = None,
        journal: Journal[SagaWorkflow] | None = None,
        frames: Frames = H2Connection,
    ) -> None:
        """`audit_s` is how long the audit is kept, in seconds. Clock and journal are arguments so that tests can choose
        them."""
        clock = self._clock = clock or SystemClock()
        self._project = project
        self._definitions = Definitions(sagas)
        self._replies = replies
        self._frames = frames
        self._running: set[SagaWorkflow] = set()
        self._has_ended = asyncio.Event()
        self._context: EngineContext[SagaWorkflow] = EngineContext(
            journal=journal or RestateJournal(),
            calls=Calls(transports, limit=calls_per_service, clock=clock),
            time=SagaTime(clock, 0),
            random=Random(SystemRandom().getrandbits(256)),
            on_result=on_result,
            parks=True,
            narrator=narrator,
        )
        handlers: dict[tuple[str, str], Handler] = {}
        for name in {saga.name for saga in sagas}:
            service = service_name(project, name)
            handlers[service, RUN] = self._run
            handlers[service, HEAD] = shared.head
            handlers[service, ORDER] = self._order
        for is_stranger in (False, True):
            handlers[audit_service(project, is_stranger=is_stranger), RUN] = operators.keep
        orders = orders_service(project)
        handlers[orders, RUN] = partial(operators.wait, project=project)
        handlers[orders, LOOK], handlers[orders, CLOSE] = operators.look, operators.close
        self.endpoint = Endpoint(manifest(project, sagas, audit_s), handlers, keys)
        for saga in sagas:
            begin_at_zero(saga.name, saga.version)

    @asynccontextmanager
    async def listening(self, address: Address, grace: Grace) -> AsyncGenerator[int]:
        """Serve Restate on that address. Gives the port. Leaving it drains. Raises OSError where it is taken."""
        following = asyncio.create_task(self._follow_clock(), name="engine time")
        try:
            async with Http2Server(self.endpoint.serve, address.host, address.port, self._frames) as server:
                try:
                    yield server.port
                finally:
                    await self._drain(grace)
        finally:
            following.cancel()
            self._replies.close()

    async def _run(self, attempt: Attempt) -> bytes:
        workflow = SagaWorkflow(attempt, self._definitions, self._context, self._tell, self._project)
        self._running.add(workflow)
        try:
            await workflow.run()
        finally:
            self._running.discard(workflow)
            self._has_ended.set()
        return b""

    async def _order(self, attempt: Attempt) -> bytes:
        return await shared.order(attempt, self._definitions, self._clock)

    def _tell(self, workflow: SagaWorkflow) -> None:
        history = workflow.history
        told = Told(history.accepted.saga_id, history.result, workflow.is_resting, bool(history.stuck))
        self._replies.tell(workflow.reply_to, told)

    async def _follow_clock(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_S)
            self._context.time.follow(is_idle=not self._running)

    async def _drain(self, grace: Grace) -> None:
        """Calls under way may come back; what waits is left to the next adapter, at once."""
        for workflow in self._running:
            workflow.stop()
        try:
            async with asyncio.timeout(grace.left_s(CANCEL_BEFORE_END_S)):
                while self._running:
                    self._has_ended.clear()
                    await self._has_ended.wait()
        except TimeoutError:
            _logger.warning("calls under way are given up; their sagas resume", count=len(self._running))


async def register(admin: RestateClient, url: str) -> str:
    """Tell Restate where adapters are; may be repeated. What is in the way, in a few words; empty if nothing."""
    body = json.dumps({"uri": url, "force": True, "breaking": True}).encode()
    try:
        answer = await admin.ask("POST", "/deployments", body, {"content-type": "application/json"}, 15.0)
    except Unreachable as error:
        return str(error)
    if answer.status in (200, 201):
        return ""
    return f"Restate has refused the adapter at {url}: {answer.body[:300].decode(errors='replace')}"


async def keep_registered(admin: RestateClient, url: str) -> None:
    """Register, and again until it is done: a server that starts later is told too."""
    said, pause_s = "", REGISTERS_AGAIN_S
    while problem := await register(admin, url):
        if problem != said:
            _logger.warning("the adapter is not registered yet", problem=problem, url=url)
            said = problem
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, math.floor(30))
    _logger.info("the adapter is registered", url=url)
