"""The handlers of a service, with a door through which faults come in: those of the project, or a test's own."""

import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from grpclib.const import Status as Code

from sagagen.runtime.model.definition import Method
from sagagen.runtime.rpc.errors import Declined, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.testing.faults import Fail, Moment
from sagagen.testing.mistakes import TestMistake
from sagagen.testing.trace import Handled

if TYPE_CHECKING:
    from sagagen.testing.processes import ServiceProcess
    from sagagen.testing.world import World

CALL: ContextVar[SagaCall | None] = ContextVar("call", default=None)
"""The call that a service answers, in the task that does; None for one that no saga makes."""

Handler = Callable[[Any, Any], Awaitable[Any]]


class FaultyHandlers:
    """An object with the handlers' methods, each behind that door."""

    def __init__(self, world: "World", process: "ServiceProcess", handlers: object) -> None:
        """Raises TestMistake for a method that is no coroutine."""
        self._world = world
        self._process = process
        for method in process.service.methods:
            handler = getattr(handlers, method.handler, None) or self._missing(method, type(handlers))
            if not inspect.iscoroutinefunction(handler):
                raise TestMistake(
                    f"{type(handlers).__name__}.{method.handler} can't be a handler of service {process.name}: "
                    f"write `async def {method.handler}(self, request, call)`"
                )
            setattr(self, method.handler, self._wrapped(handler))

    def _missing(self, method: Method[Any, Any], kind: type) -> Handler:
        async def missing(_request: Any, _call: Any) -> Any:
            mistake = (
                f"{kind.__name__} stands for service {self._process.name} and has no {method.handler}, "
                f"which was called: give it `async def {method.handler}(self, request, call)`"
            )
            self._world.mistake(mistake)
            raise RpcError(Code.UNIMPLEMENTED, mistake)

        return missing

    def _wrapped(self, handler: Handler) -> Handler:
        async def handle(request: Any, context: Any) -> Any:
            call = CALL.get()
            if call is None:
                return await handler(request, context)
            return await self._handle(handler, request, context, call)

        return handle

    async def _handle(self, handler: Handler, request: Any, context: Any, call: SagaCall) -> Any:
        world, outcome = self._world, "FAILED"
        try:
            failure = world.happens(Fail, call)
            if failure and not failure.is_late:
                raise failure.error
            response = await handler(request, context)
            if failure:
                raise failure.error
            outcome = "DONE"
        except Declined as declined:
            outcome = f"DECLINED: {declined.reason}"
            raise
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
            raise
        finally:
            world.note(
                Handled(
                    at_s=world.now_s,
                    service=self._process.name,
                    saga_id=call.saga_id,
                    step=call.step,
                    direction=call.direction,
                    attempt=call.attempt,
                    outcome=outcome,
                )
            )
        await world.may_crash_here(self._process, Moment.HANDLED, call)
        return response
