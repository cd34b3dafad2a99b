"""A saga's definition as decisions read it, made from the contract; none of its functions is ever called."""

from typing import Any

from betterproto2 import Message

from sagagen.contract import model
from sagagen.contract.model import leaves
from sagagen.runtime.model.definition import (
    Action,
    Branch,
    Decline,
    Delay,
    Element,
    Event,
    ForEach,
    Method,
    Parallel,
    Respond,
    Saga,
    Step,
    Wait,
)


def on_paper(saga: model.Saga) -> Saga:
    """The same tree. Nothing in it has a `when`, so that nothing is skipped, and each wait has an event of its own."""
    return Saga(
        name=saga.name,
        version=saga.version,
        digest=saga.digest,
        trigger=_method(saga.trigger.name),
        key=saga.key,
        on_concurrent=saga.on_concurrent,
        retention_s=saga.retention_s,
        deadline_s=saga.deadline_s,
        respond=Respond(saga.respond.after, saga.respond.status, saga.respond.wait_s),
        steps=tuple(map(_element, saga.steps)),
        events=tuple(
            Event(each.name, _method(each.name), _never)
            for each in leaves(saga.steps)
            if isinstance(each, model.Wait)
        ),
    )


def _element(element: model.Element) -> Element:
    match element:
        case model.Step():
            compensation = element.compensation and _action(element.compensation)
            loop = ForEach(_never) if element.for_each else None
            action = _action(element.action)
            return Step(
                element.name, element.kind, action, compensation, for_each=loop, gives_up=element.gives_up
            )
        case model.Wait(name, kind, _, within_s):
            decline = element.decline and Decline(_never, element.decline.reason)
            return Wait(name, kind, name, within_s, decline, element.on_timeout)
        case model.Delay(name, kind):
            return Delay(name, kind, after_s=0.0)
        case model.Parallel(name, kind, branches):
            return Parallel(name, kind, tuple(map(_branch, branches)))


def _branch(branch: model.Branch) -> Branch:
    return Branch(branch.name, tuple(map(_element, branch.steps)))


def _action(call: model.Call) -> Action:
    method = call.method
    return Action(
        service=call.service.name,
        method=_method(method.descriptor.name, is_read=method.is_read),
        request=_never,
        timeout_s=call.timeout_s,
        retry=call.retry,
    )


def _method(name: str, *, is_read: bool = False) -> Method[Any, Any]:
    return Method(
        path=name,
        request=Message,
        response=Message,
        handler="",
        request_name="",
        response_name="",
        is_read=is_read,
    )


def _never(scope: object) -> Any:
    raise AssertionError("decisions evaluate nothing")
