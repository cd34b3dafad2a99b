"""Evaluates a saga's expressions, applied to what the log holds: requests, conditions, lists, times and the answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from sagagen.runtime.model.definition import Delay, Element, Parallel, Saga, Start, Step, Wait
from sagagen.runtime.rpc.caller_claims import claims_of
from sagagen.runtime.rpc.errors import ExpressionError
from sagagen.runtime.rpc.metadata import MAX_ITEM_KEY_BYTES
from sagagen.runtime.rpc.transport import MAX_MESSAGE_BYTES
from sagagen.runtime.saga.decision import StepCall
from sagagen.runtime.saga.events import (
    DoneByHand,
    EventTaken,
    GaveUp,
    LogEvent,
    LoopPlanned,
    NextRequest,
    OperatorRow,
    Planned,
    Skipped,
)
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.result import SagaResult, Succeeded
from sagagen.runtime.scope import AnswerScope, CompensationScope, EventScope, NoResponse, Scope, item_key

MAX_LOOP_BYTES = 16 * 1024 * 1024
"""Of all requests of a loop together."""

ValueT = TypeVar("ValueT")

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class CannotBuild(Exception):
    """What an expression says can't be worked out; the message says why."""


class Requests:
    """One saga's expressions. Input and responses are decoded at most once each."""

    def __init__(self, saga: Saga, history: History) -> None:
        self._saga = saga
        self._accepted = history.accepted
        self._responses = dict(history.responses)
        self._loops = {name: loop.keys for name, loop in history.loops.items()}
        self._items_of_loops: dict[str, dict[str, Any]] = {}
        self._scope: Scope[Any] = Scope(*self._what_is_logged(), **self._more())
        self._is_incomplete = any(isinstance(row, GaveUp) for row in history.settled.values())

    def _what_is_logged(self) -> tuple[str, type[Any], bytes, dict[str, bytes]]:
        return self._accepted.saga_id, self._saga.trigger.request, self._accepted.input, self._responses

    def _more(self) -> dict[str, Any]:
        accepted = self._accepted
        return {
            "caller": accepted.caller,
            "claims": claims_of(accepted.claims),
            "started_ms": accepted.started_ms,
            "loops": self._loops,
        }

    def after(self, step: str, response: bytes) -> NextRequest:
        """Note the response of a step that is done, and in a straight line build what the step after it is sent."""
        self._responses[step] = response
        return self._following(step)

    def _following(self, step: str) -> NextRequest:
        following = self._saga.following.get(step)
        return built(following, self._scope) if following else NextRequest()

    def follow(self, step: str, response: bytes) -> tuple[NextRequest, SagaResult | None]:
        """In a straight line: what is sent to the step after one that is done, and the result if that one answers."""
        self._responses[step] = response
        return self._following(step), self.answered_by(step)

    def next_of(self, step: Step) -> NextRequest:
        """What a step is sent that alone becomes ready."""
        return replace(built(step, self._scope), step=step.name)

    def plan(self, element: Element, now_ms: int) -> Sequence[LogEvent]:
        """The rows that say what an element is sent, until when it waits, or that it is skipped."""
        try:
            if isinstance(element, Step) and element.for_each:
                return self._plan_loop(element, now_ms)
            if not self._wanted(element, self._scope):
                return (Skipped(at_ms=now_ms, step=element.name),)
            following = self._planned(element, now_ms)
        except CannotBuild as error:
            following = NextRequest(problem=str(error))
        return (Planned(at_ms=now_ms, next=replace(following, step=element.name)),)

    def _wanted(self, element: Element, scope: Scope[Any]) -> bool:
        when = element.when
        return when is None or worked_out(lambda: when(scope), element.name)

    def _planned(self, element: Element, now_ms: int) -> NextRequest:
        match element:
            case Step():
                return built(element, self._scope)
            case Wait():
                within_s = element.within_s
                return NextRequest(until_ms=None if within_s is None else now_ms + round(within_s * 1000))
            case Delay():
                return NextRequest(until_ms=self._end_of(element, now_ms))
            case Parallel():
                return NextRequest()

    def _end_of(self, delay: Delay, now_ms: int) -> int:
        end_ms = ends_ms(delay, self._scope, now_ms)
        if delay.at_most_s is not None and end_ms > now_ms + delay.at_most_s * 1000:
            raise CannotBuild(f"the delay would end later than {delay.at_most_s:g} s from now")
        return max(now_ms, end_ms)

    def _plan_loop(self, step: Step, now_ms: int) -> Sequence[LogEvent]:
        assert step.for_each
        items = self._items(step)
        keys = tuple(items)
        self._loops[step.name] = keys
        rows = tuple(self._plan_items(step, items, now_ms))
        size = sum(len(row.next.body or b"") for row in rows if isinstance(row, Planned))
        if size > MAX_LOOP_BYTES:
            raise CannotBuild(
                f"the requests of the loop have {size} bytes, at most {MAX_LOOP_BYTES} are sent"
            )
        return (LoopPlanned(at_ms=now_ms, step=step.name, keys=keys, at_once=step.for_each.at_once), *rows)

    def _plan_items(self, step: Step, items: dict[str, Any], now_ms: int) -> Iterator[LogEvent]:
        for key, item in items.items():
            scope = self._scope.of_item(item)
            name = item_key(step.name, key)
            if self._wanted(step, scope):
                yield Planned(at_ms=now_ms, next=replace(built(step, scope), step=name))
            else:
                yield Skipped(at_ms=now_ms, step=name)

    def _items(self, step: Step) -> dict[str, Any]:
        """The items of a loop by their keys, in the order of the list. Raises CannotBuild."""
        loop = step.for_each
        assert loop
        items = worked_out(lambda: list(loop.items(self._scope)), step.name)
        if len(items) > loop.max_items:
            raise CannotBuild(f"the list has {len(items)} items, at most {loop.max_items} are allowed")
        found: dict[str, Any] = {}
        for number, item in enumerate(items):
            key = str(number) if loop.key is None else self._key(step, item)
            if key in found:
                raise CannotBuild(f"two items of the list have the key {key!r}")
            found[key] = item
        return found

    def _key(self, step: Step, item: object) -> str:
        key_of = step.for_each and step.for_each.key
        assert key_of, "only where items have keys of their own"
        key = str(worked_out(lambda: key_of(self._scope.of_item(item)), step.name))
        if not key.isprintable() or not 1 <= len(key.encode(errors="replace")) <= MAX_ITEM_KEY_BYTES:
            raise CannotBuild(
                f"{key[:MAX_ITEM_KEY_BYTES]!r} can't be an item's key: it is 1 to {MAX_ITEM_KEY_BYTES} bytes that print"
            )
        return key

    def complete(self, row: OperatorRow) -> OperatorRow:
        """A row of an operator's, with what follows from the step that it settles: the next request, and the answer."""
        match row:
            case DoneByHand(step=step, response=response):
                return replace(row, next=self.after(step, response), result=self.answered_by(step))
            case GaveUp():
                self._is_incomplete = True
                return replace(row, next=self._following(row.step), result=self.answered_by(row.step))
            case _:
                return row

    def answered_by(self, step: str) -> SagaResult | None:
        """The saga's result, if the contract says that it is answered once this step is settled."""
        return self.success() if self._saga.respond.after == step else None

    def success(self) -> Succeeded:
        """The saga's result, from what is done so far."""
        return Succeeded(self._saga.respond.status, self._saga.trigger.response_name, self._answer_body())

    def _answer_body(self) -> bytes:
        """The trigger's response. The default one if it can't be built: that the saga has ended stays true."""
        scope = self._scope
        if self._is_incomplete:
            scope = AnswerScope(*self._what_is_logged(), **self._more())
        try:
            return answer_body(self._saga, scope)
        except Exception:
            saga_id = self._accepted.saga_id
            _logger.exception("an answer could not be built; the default one is given", saga_id=saga_id)
            return b""

    def request(self, call: StepCall, history: History) -> bytes:
        """The request of a call: as logged, or built from the failure if it compensates. Raises CannotBuild."""
        if call.request is not None:
            return call.request
        assert history.turned_back, "compensations begin after TurnedBack"
        scope = CompensationScope(*self._what_is_logged(), history.turned_back.failure, **self._more())
        if call.step.for_each:
            scope = scope.of_item(self._item_of(call))
        return bytes(call.action.request(scope))

    def _item_of(self, call: StepCall) -> object:
        """The list is worked out again, from the same rows, to find what the item's key stands for; once for all."""
        name = call.step.name
        if name not in self._items_of_loops:
            self._items_of_loops[name] = self._items(call.step)
        key = call.key.removeprefix(f"{name}[").removesuffix("]")
        try:
            return self._items_of_loops[name][key]
        except KeyError:
            raise CannotBuild(
                f"the list of {name} has no item {key!r} any more: the loop began on another definition of this "
                "version; restore that and `retry`, or undo the item by hand and `resolve` it"
            ) from None

    def declines(self, wait: Wait, event: EventTaken) -> bool:
        """Whether the event is a refusal."""
        if wait.decline is None:
            return False
        method = next(each.method for each in self._saga.events if each.name == wait.event)
        scope = EventScope(
            method.request,
            event.payload,
            caller=event.caller,
            claims=claims_of(event.claims),
            saga_id=self._accepted.saga_id,
            started_ms=self._accepted.started_ms,
            input_type=self._saga.trigger.request,
            input=self._accepted.input,
        )
        return wait.decline.when(scope)


def ends_ms(pause: Delay | Start, scope: Scope[Any], now_ms: int) -> int:
    """When a delay, or a start, that begins now is over; ms since the epoch. Raises CannotBuild."""
    if pause.after_s is not None:
        return now_ms + round(pause.after_s * 1000)
    if after := pause.after:
        return now_ms + round(worked_out(lambda: after(scope), "delay") * 1000)
    at = pause.at
    assert at, "one of the three is set"
    return worked_out(lambda: at(scope), "delay")


def worked_out(expression: Callable[[], ValueT], what: str) -> ValueT:
    """The value of an expression of the contract. Raises CannotBuild for whatever it raises."""
    try:
        return expression()
    except (ExpressionError, NoResponse) as error:
        raise CannotBuild(str(error)) from error
    except Exception as error:
        _logger.exception("an expression could not be worked out", step=what)
        raise CannotBuild(f"{type(error).__name__}: {error}") from error


def answer_body(saga: Saga, scope: Scope[Any]) -> bytes:
    """The trigger's response, encoded, as the contract's `respond.body` says; its default if that says nothing."""
    body = saga.respond.body
    return b"" if body is None else bytes(body(scope))


def built(step: Step, scope: Scope[Any]) -> NextRequest:
    """What a step is sent, or why that can't be built: then the step is not called."""
    try:
        body = bytes(step.action.request(scope))
    except (ExpressionError, NoResponse) as error:
        return NextRequest(problem=str(error))
    except Exception as error:  # what can't be built is not sent, whatever the reason
        _logger.exception("a request could not be built", step=step.name)
        return NextRequest(problem=f"{type(error).__name__}: {error}")
    if len(body) > MAX_MESSAGE_BYTES:
        return NextRequest(
            problem=f"the request has {len(body)} bytes, at most {MAX_MESSAGE_BYTES} can be sent"
        )
    return NextRequest(body)
