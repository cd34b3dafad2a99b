"""Builds the requests that a saga sends: the contract's expressions, applied to what the log holds."""

from dataclasses import replace
from typing import Any

import structlog

from sagagen.runtime.model.definition import Saga, Step
from sagagen.runtime.rpc.errors import ExpressionError
from sagagen.runtime.rpc.transport import MAX_MESSAGE_BYTES
from sagagen.runtime.saga.decision import StepCall
from sagagen.runtime.saga.events import DoneByHand, GaveUp, NextRequest, OperatorRow
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.result import SagaResult, Succeeded
from sagagen.runtime.scope import AnswerScope, CompensationScope, NoResponse, Scope

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Requests:
    """One saga's requests. Input and responses are decoded at most once each."""

    def __init__(self, saga: Saga, history: History) -> None:
        self._saga = saga
        self._saga_id = history.accepted.saga_id
        self._input = history.accepted.input
        self._responses = dict(history.responses)
        self._scope = Scope(self._saga_id, saga.trigger.request, self._input, self._responses)
        self._is_incomplete = any(isinstance(row, GaveUp) for row in history.settled.values())

    def after(self, step: str, response: bytes) -> NextRequest:
        """Note the response of a step that is done, and build what the step after it is sent."""
        self._responses[step] = response
        return self._following(step)

    def _following(self, step: str) -> NextRequest:
        names = [each.name for each in self._saga.calls]
        following = names.index(step) + 1
        return built(self._saga.calls[following], self._scope) if following < len(names) else NextRequest()

    def complete(self, row: OperatorRow) -> OperatorRow:
        """A row of an operator's, with what follows from the step that it settles: the next request, and the answer."""
        match row:
            case DoneByHand(step=step, response=response):
                return replace(row, next=self.after(step, response), result=self._answered_by(step))
            case GaveUp():
                self._is_incomplete = True
                return replace(row, next=self._following(row.step), result=self._answered_by(row.step))
            case _:
                return row

    def _answered_by(self, step: str) -> SagaResult | None:
        return self.success() if self._saga.respond.after == step else None

    def success(self) -> Succeeded:
        """The saga's result, from what is done so far."""
        return Succeeded(self._saga.respond.status, self._saga.trigger.response_name, self._answer_body())

    def _answer_body(self) -> bytes:
        """The trigger's response. The default one if it can't be built: that the saga has ended stays true."""
        scope = self._scope
        if self._is_incomplete:
            scope = AnswerScope(self._saga_id, self._saga.trigger.request, self._input, self._responses)
        try:
            return answer_body(self._saga, scope)
        except Exception:
            _logger.exception("an answer could not be built; the default one is given", saga_id=self._saga_id)
            return b""

    def request(self, call: StepCall, history: History) -> bytes:
        """The request of a call: as logged, or built from the failure if it compensates."""
        if call.request is not None:
            return call.request
        assert history.turned_back, "compensations begin after TurnedBack"
        scope = CompensationScope(
            self._saga_id,
            self._saga.trigger.request,
            self._input,
            self._responses,
            history.turned_back.failure,
        )
        return bytes(call.action.request(scope))


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
