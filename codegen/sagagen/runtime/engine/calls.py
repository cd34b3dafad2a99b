"""The engine's calls to services: a limited number at once to each, and one kind of error for every way to fail."""

import asyncio
import itertools
from collections import deque
from collections.abc import Mapping

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.clock import Clock, SystemClock
from sagagen.runtime.contained import as_logged, is_cancelled
from sagagen.runtime.model.definition import Direction, StepKind
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.refusals import OTHER_PAYLOAD, OWNER_RUN, BarrierRefusal
from sagagen.runtime.rpc.transport import Transport
from sagagen.runtime.saga.decision import StepCall
from sagagen.runtime.saga.events import Failed, Outcome

DEFAULT_LIMIT = 64
"""Calls under way to one service: twice a group of its writer, so that one group is filled while another commits, and
well below where a service begins to turn calls away."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Slots:
    """Places for calls to one service. Those of sagas under way get them before the first calls of new ones."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        """Above 0 only if nobody waits: a place is handed over."""
        self._under_way: deque[asyncio.Future[None]] = deque()
        self._new: deque[asyncio.Future[None]] = deque()

    async def take(self, *, is_first: bool) -> None:
        """Wait for a place. Whoever is cancelled has none."""
        if self._free:
            self._free -= 1
            return
        line = self._new if is_first else self._under_way
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was handed over in the same turn of the loop
                self.give_back()
            raise

    def give_back(self) -> None:
        """Hand the place to the next one, if anybody waits who was not cancelled."""
        if not (self._under_way or self._new):  # nearly always
            self._free += 1
            return
        for line in (self._under_way, self._new):
            while line:
                place = line.popleft()
                if not place.done():
                    place.set_result(None)
                    return
        self._free += 1


class Calls:
    """The services, as the engine reaches them."""

    def __init__(
        self, transports: Mapping[str, Transport], *, limit: int = DEFAULT_LIMIT, clock: Clock | None = None
    ) -> None:
        self._transports = transports
        self._slots = {service: Slots(limit) for service in transports}
        self._numbers = itertools.count()
        self._now_s = (clock or SystemClock()).monotonic_s
        self._begun_s: dict[int, float] = {}
        """Calls under way and when each began, the earliest first."""

    def slots(self, service: str) -> Slots:
        """A call under way to the service has one. Calls that wait here never meet the service's own limit."""
        return self._slots[service]

    async def send(
        self, service: str, path: str, request: bytes, metadata: Mapping[str, str], timeout_s: float
    ) -> bytes:
        """The encoded response. Raises RpcError, and nothing else, for whatever went wrong."""
        number = next(self._numbers)
        self._begun_s[number] = self._now_s()
        try:
            reply = await self._transports[service].call(
                path, request, metadata=metadata, timeout_s=timeout_s
            )
        except RpcError:
            raise
        except BaseException as error:  # whatever a transport raises, the call may have happened
            if is_cancelled(error):
                raise
            _logger.error(
                "a transport failed in a way it should not",
                service=service,
                path=path,
                exc_info=as_logged(error),
            )
            raise RpcError(Code.UNKNOWN, f"{type(error).__name__}: {error}") from error
        finally:
            del self._begun_s[number]
        return reply.response

    def begun_before(self, monotonic_s: float) -> int:
        """How many of the calls under way began before that time: they may still take long."""
        count = 0
        for begun_s in self._begun_s.values():
            if begun_s >= monotonic_s:
                break
            count += 1
        return count


def failed_row(call: StepCall, error: RpcError, at_ms: int, span_id: str) -> Failed:
    """The row of a failed attempt. Domain and reason decide first, the code second."""
    elsewhere = error.metadata if error.is_ours and error.reason == BarrierRefusal.OTHER_RUN else {}
    return Failed(
        at_ms=at_ms,
        span_id=span_id,
        step=call.key,
        direction=call.direction,
        attempt=call.attempt,
        outcome=Outcome.REFUSED if _is_settled_no(call, error) else Outcome.DOUBT,
        code=error.code,
        domain=error.domain,
        reason=error.reason,
        message=error.message,
        retry_after_s=error.retry_after_s,
        is_other_payload=elsewhere.get(OTHER_PAYLOAD) == "true",
        owner_run=elsewhere.get(OWNER_RUN, ""),
    )


def _is_settled_no(call: StepCall, error: RpcError) -> bool:
    # No service records a refusal of a compensation or of a retriable step: whatever it says, those are repeated. But
    # a step that the contract gives up is given up when its handler declines.
    if call.direction is not Direction.ACTION:
        return False
    if call.step.kind is StepKind.RETRIABLE:
        return call.step.gives_up and error.is_declined
    return error.is_refusal
