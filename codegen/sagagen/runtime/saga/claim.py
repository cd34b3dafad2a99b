"""The call by which a run makes sure that no other run owns its saga, before any of them has an effect.

A saga that begins at once with an unconditional writing call needs none: that call is where two runs meet. Any other
claims its id first, at the service of its first write in the contract's order.
"""

from functools import cache
from typing import NoReturn

from betterproto2 import Message
from grpclib.const import Status as Code

from sagagen.runtime.model.definition import (
    RETRIED_BY_DEFAULT,
    Action,
    Method,
    Retry,
    Saga,
    Step,
    StepKind,
    leaves,
)
from sagagen.runtime.rpc.claim import CLAIM, CLAIM_PATH
from sagagen.runtime.saga.history import History
from sagagen.runtime.scope import step_name

CLAIM_TIMEOUT_S = 2.0
_RETRIED = RETRIED_BY_DEFAULT | {Code.UNIMPLEMENTED}
"""What a service of before says to a claim, too: it is deployed soon, and nothing has happened until then."""


def needs_claim(saga: Saga) -> bool:
    """Whether two runs of the saga could each have an effect before they meet."""
    if saga.start is not None:
        return claim_service(saga) is not None
    for element in saga.steps:
        if not isinstance(element, Step) or element.when or element.for_each:
            return claim_service(saga) is not None
        if not element.action.method.is_read:
            return False
    return False


def claim_service(saga: Saga) -> str | None:
    """The service of its first write in the contract's order; None: it writes nothing, so nobody has to own it."""
    writes = (
        step for step in leaves(saga.steps) if isinstance(step, Step) and not step.action.method.is_read
    )
    return next((step.action.service for step in writes), None)


def claim_step(saga: Saga) -> Step:
    service = claim_service(saga)
    assert service is not None, "a saga without writes claims nothing"
    return _claim_at(service)


@cache
def _claim_at(service: str) -> Step:
    retry = Retry(initial_s=0.05, multiplier=2.0, max_s=2.0, codes=_RETRIED)
    method = Method(CLAIM_PATH, Message, Message, handler="", request_name="", response_name="")
    action = Action(service, method, _no_request, CLAIM_TIMEOUT_S, retry)
    return Step(CLAIM, StepKind.COMPENSATABLE, action)


def _no_request(_scope: object) -> NoReturn:
    raise AssertionError("a claim is sent with no message")


def has_written(saga: Saga, history: History) -> bool:
    """A write of the saga's own is DONE, so it owns what it wrote to."""
    responses = history.responses
    if not responses:
        return False
    if saga.is_line:
        return any(step.name in responses and not step.action.method.is_read for step in saga.calls)
    writes = {step.name for step in saga.calls if not step.action.method.is_read} | {CLAIM}
    return any(step_name(key) in writes for key in responses)
