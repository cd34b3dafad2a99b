"""Whether a process accepts new work, and what is in the way if it does not: this is what /readyz answers.

A gateway is ready once it has reached each service one time, so that nothing is sent to a mesh that is still starting.
After that, a service that is away does not make a gateway unready: sagas wait for the service, and new ones are still
accepted. To take every gateway out of service for one participant would turn its outage into everybody's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.transport import Transport

Check = Callable[[], Awaitable[str]]
"""Returns what is wrong in a few words, or "" if nothing is."""

WITHIN_S = 2.0
"""Time in seconds that a check may take."""
_HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"
"""HealthCheckResponse(status=SERVING), encoded."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Readiness:
    """The checks of a process. Whoever watches the process asks every few seconds."""

    def __init__(self, always: Mapping[str, Check], once: Mapping[str, Check] | None = None) -> None:
        """`always`: checks that are made each time. `once`: checks that must pass one time and are then forgotten."""
        self._always = dict(always)
        self._once = dict(once or {})

    async def problems(self) -> list[str]:
        """What is in the way, one line for each check that does not pass; the process is ready if there is none."""
        waited_for = list(self._once.items())
        checks = [*self._always.items(), *waited_for]
        found = await asyncio.gather(*(within(check) for _, check in checks))
        for (name, _), problem in zip(waited_for, found[len(self._always) :], strict=True):
            if not problem:
                self._once.pop(name, None)
        return [f"{name}: {problem}" for (name, _), problem in zip(checks, found, strict=True) if problem]


async def within(check: Check) -> str:
    """What a check finds, also where it takes too long or raises."""
    try:
        async with asyncio.timeout(WITHIN_S):
            return await check()
    except TimeoutError:
        return f"no answer within {WITHIN_S:g} s"
    except Exception as error:
        # A check that raises is no reason to answer 500: whoever asks wants to know what is in the way.
        _logger.exception("a check of readiness failed")
        return f"{type(error).__name__}: {error}"


def service_check(transport: Transport) -> Check:
    """Asks the service's gRPC health service, which has to answer SERVING."""

    async def check() -> str:
        try:
            reply = await transport.call(_HEALTH_CHECK, b"", metadata={}, timeout_s=WITHIN_S)
        except RpcError as error:
            # A service of another make may have no health service; it did answer.
            return "" if error.code is Code.UNIMPLEMENTED else error.message or error.code.name
        return "" if reply.response == _SERVING else "it says that it does not serve"

    return check
