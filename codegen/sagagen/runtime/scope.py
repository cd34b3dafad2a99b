"""What a request builder may read: the saga's input, the logged responses of earlier steps, and the failure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from betterproto2 import Message

InputT = TypeVar("InputT", bound=Message)
MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a saga turned back, as expressions read it."""

    code: str
    """gRPC code name, for example `FAILED_PRECONDITION`."""
    reason: str
    """UPPER_SNAKE token, never empty, for example `INSUFFICIENT_STOCK`."""
    message: str
    """Free text."""
    step: str
    """The step that failed."""


class NoResponse(Exception):
    """A step was given up, so nobody knows its response."""

    def __init__(self, step: str) -> None:
        super().__init__(f"it reads the response of step {step}, which was skipped")
        self.step = step


class Scope(Generic[InputT]):
    """What the request of a step, and `respond.body`, may read."""

    __slots__ = ("_decoded", "_input", "_input_type", "_responses", "_saga_id")

    def __init__(
        self, saga_id: str, input_type: type[InputT], input: bytes, responses: Mapping[str, bytes]
    ) -> None:
        self._saga_id = saga_id
        self._input_type = input_type
        self._input = input
        self._responses = responses
        self._decoded: dict[str, Message] = {}

    @property
    def saga_id(self) -> str:
        return self._saga_id

    @property
    def input(self) -> InputT:
        """The trigger's request, as accepted."""
        return self._decode("", self._input_type, self._input)

    def response(self, step: str, response_type: type[MessageT]) -> MessageT:
        """The logged response of a step that is done.

        Raises NoResponse if it is not: the checks exclude that, unless an operator has skipped the step.
        """
        try:
            data = self._responses[step]
        except KeyError:
            raise NoResponse(step) from None
        return self._decode(step, response_type, data)

    def _decode(self, name: str, message_type: type[MessageT], data: bytes) -> MessageT:
        if name not in self._decoded:
            self._decoded[name] = message_type.parse(data)
        return cast(MessageT, self._decoded[name])


class AnswerScope(Scope[InputT]):
    """What `respond.body` may read: of a step that was skipped the default response."""

    __slots__ = ()

    def response(self, step: str, response_type: type[MessageT]) -> MessageT:
        return self._decode(step, response_type, self._responses.get(step, b""))


class CompensationScope(Scope[InputT]):
    """What the request of a compensation may read besides."""

    __slots__ = ("_failure",)

    def __init__(
        self,
        saga_id: str,
        input_type: type[InputT],
        input: bytes,
        responses: Mapping[str, bytes],
        failure: Failure,
    ) -> None:
        super().__init__(saga_id, input_type, input, responses)
        self._failure = failure

    @property
    def failure(self) -> Failure:
        return self._failure
