"""What expressions may read: the saga's input, the logged responses of earlier steps, the failure, an event."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Generic, Self, TypeVar, cast

from betterproto2 import Message

from sagagen.runtime.model.security import ClaimValue

InputT = TypeVar("InputT", bound=Message)
EventT = TypeVar("EventT", bound=Message)
MessageT = TypeVar("MessageT", bound=Message)
ItemT = TypeVar("ItemT")
ClaimT = TypeVar("ClaimT", str, bool, int)
RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_LOOPS: Mapping[str, Sequence[str]] = MappingProxyType({})
_NO_ITEM = object()
_NO_CLAIMS: Mapping[str, ClaimValue] = MappingProxyType({})


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
    """A step was skipped or given up, so nobody knows its response."""

    def __init__(self, step: str) -> None:
        super().__init__(f"it reads the response of step {step}, which was skipped")
        self.step = step


class _KnowsCaller:
    """The caller, and what a token says of them."""

    __slots__ = ("_caller", "_claims")

    _caller: str
    _claims: Mapping[str, ClaimValue]

    @property
    def caller(self) -> str:
        """Who started the saga, or sent the event, or calls the route, as the gateway's authentication says; empty for
        nobody in particular."""
        return self._caller

    @property
    def claims(self) -> Mapping[str, ClaimValue]:
        """What the caller's token says of them, as far as the contract names it. May lack any of it."""
        return self._claims

    def claim(self, name: str, type_: type[ClaimT]) -> ClaimT:
        """A claim that is a text, a bool or an integer.

        Its type's default where the caller has none, and where a claim that was logged earlier has another type: so
        this never fails.
        """
        value = self._claims.get(name)
        return cast(ClaimT, value) if type(value) is type_ else type_()

    def claim_list(self, name: str) -> list[str]:
        """A claim that is a list of texts; empty where the caller has none."""
        value = self._claims.get(name)
        return list(value) if isinstance(value, tuple) else []


class Scope(_KnowsCaller, Generic[InputT]):
    """What the request of a step, its `when`, a loop's list, and `respond.body` may read.

    `responses` holds what the log says is done: a step under its name, an item of a loop under `name[key]`. `loops`
    holds the keys of each loop that was planned, in the list's order. Both are read when an expression asks, so
    whoever keeps a scope may go on adding to them.
    """

    __slots__ = (
        "_decoded",
        "_input",
        "_input_type",
        "_item",
        "_loops",
        "_responses",
        "_saga_id",
        "_started_ms",
    )

    def __init__(
        self,
        saga_id: str,
        input_type: type[InputT],
        input: bytes,
        responses: Mapping[str, bytes],
        *,
        caller: str = "",
        claims: Mapping[str, ClaimValue] = _NO_CLAIMS,
        started_ms: int = 0,
        loops: Mapping[str, Sequence[str]] = _NO_LOOPS,
    ) -> None:
        self._saga_id = saga_id
        self._input_type = input_type
        self._input = input
        self._responses = responses
        self._caller = caller
        self._claims = claims
        self._started_ms = started_ms
        self._loops = loops
        self._item: Any = _NO_ITEM
        self._decoded: dict[str, Any] = {}

    def of_item(self, item: object) -> Self:
        """The same scope within an iteration of a loop. Messages that were decoded are decoded for both."""
        # One by one, since copy.copy takes ten times as long, and a loop may have a thousand items.
        view = object.__new__(type(self))
        view._saga_id = self._saga_id
        view._input_type = self._input_type
        view._input = self._input
        view._responses = self._responses
        view._caller = self._caller
        view._claims = self._claims
        view._started_ms = self._started_ms
        view._loops = self._loops
        view._decoded = self._decoded
        view._item = item
        return view

    @property
    def saga_id(self) -> str:
        return self._saga_id

    @property
    def started_at(self) -> datetime:
        """When the saga started, in UTC: what a field of type google.protobuf.Timestamp takes."""
        return moment(self._started_ms)

    @property
    def input(self) -> InputT:
        """The trigger's request, as accepted."""
        return self._decode("", self._input_type, self._input)

    def has(self, step: str) -> bool:
        """Whether the log has the response of a step, or of every item of a loop that was begun."""
        if step in self._responses:
            return True
        keys = self._loops.get(step)
        return keys is not None and all(item_key(step, key) in self._responses for key in keys)

    def response(self, step: str, response_type: type[MessageT]) -> MessageT:
        """The logged response of a step that is done.

        Raises NoResponse if it is not: the checks exclude that, unless an operator has skipped the step.
        """
        try:
            data = self._responses[step]
        except KeyError:
            raise NoResponse(step) from None
        return self._decode(step, response_type, data)

    def responses(self, step: str, response_type: type[MessageT]) -> list[MessageT]:
        """The logged responses of a loop, in the order of its list. Raises NoResponse unless all are there."""
        keys = self._loops.get(step)
        if keys is None:
            raise NoResponse(step)
        return [self.response(item_key(step, key), response_type) for key in keys]

    def item(self, item_type: type[ItemT]) -> ItemT:
        """What the loop's variable stands for; `item_type` is only for type checkers."""
        assert self._item is not _NO_ITEM, "only what belongs to a loop reads its item"
        return cast(ItemT, self._item)

    def _decode(self, name: str, message_type: type[MessageT], data: bytes) -> MessageT:
        return _decoded(self._decoded, name, message_type, data)


class AnswerScope(Scope[InputT]):
    """What `respond.body` may read: of a step that was skipped the default response."""

    __slots__ = ()

    def response(self, step: str, response_type: type[MessageT]) -> MessageT:
        return self._decode(step, response_type, self._responses.get(step, b""))

    def responses(self, step: str, response_type: type[MessageT]) -> list[MessageT]:
        keys = self._loops.get(step, ())
        return [self.response(item_key(step, key), response_type) for key in keys]


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
        *,
        caller: str = "",
        claims: Mapping[str, ClaimValue] = _NO_CLAIMS,
        started_ms: int = 0,
        loops: Mapping[str, Sequence[str]] = _NO_LOOPS,
    ) -> None:
        super().__init__(
            saga_id,
            input_type,
            input,
            responses,
            caller=caller,
            claims=claims,
            started_ms=started_ms,
            loops=loops,
        )
        self._failure = failure

    def of_item(self, item: object) -> Self:
        view = super().of_item(item)
        view._failure = self._failure
        return view

    @property
    def failure(self) -> Failure:
        return self._failure


class EventScope(_KnowsCaller, Generic[EventT, InputT]):
    """What the expressions of an event, and of a request to cancel, may read.

    Which saga it is for (`saga_id`) is asked before there is one: then the scope has neither its id nor its input.
    """

    __slots__ = (
        "_event",
        "_event_type",
        "_input",
        "_input_type",
        "_read",
        "_saga_id",
        "_started_ms",
    )

    def __init__(
        self,
        event_type: type[EventT],
        event: bytes,
        *,
        caller: str = "",
        claims: Mapping[str, ClaimValue] = _NO_CLAIMS,
        saga_id: str = "",
        started_ms: int = 0,
        input_type: type[InputT] | None = None,
        input: bytes = b"",
    ) -> None:
        self._event_type = event_type
        self._event = event
        self._caller = caller
        self._claims = claims
        self._saga_id = saga_id
        self._started_ms = started_ms
        self._input_type = input_type
        self._input = input
        self._read: dict[str, Any] = {}

    @property
    def event(self) -> EventT:
        """The event's message."""
        return _decoded(self._read, "event", self._event_type, self._event)

    @property
    def saga_id(self) -> str:
        """The id of the saga that it is for."""
        return self._saga_id

    @property
    def started_at(self) -> datetime:
        """When that saga started, in UTC."""
        return moment(self._started_ms)

    @property
    def input(self) -> InputT:
        """The request that started that saga."""
        assert self._input_type is not None, "which saga it is for is asked before its input is known"
        return _decoded(self._read, "input", self._input_type, self._input)


class AccessScope(_KnowsCaller, Generic[RequestT, ResponseT]):
    """What a route's `allow` may read: the request, the response of a read, and the caller."""

    __slots__ = ("_read", "_request", "_request_type", "_response", "_response_type")

    def __init__(
        self,
        request_type: type[RequestT],
        request: bytes,
        *,
        caller: str,
        claims: Mapping[str, ClaimValue],
        response_type: type[ResponseT] | None = None,
        response: bytes = b"",
    ) -> None:
        self._request_type = request_type
        self._request = request
        self._response_type = response_type
        self._response = response
        self._read: dict[str, Any] = {}
        self._caller = caller
        self._claims = claims

    @property
    def request(self) -> RequestT:
        return _decoded(self._read, "request", self._request_type, self._request)

    @property
    def response(self) -> ResponseT:
        """What the service has answered."""
        assert self._response_type is not None, "only what reads the response is asked after it"
        return _decoded(self._read, "response", self._response_type, self._response)


def item_key(step: str, key: str) -> str:
    """The name under which an item of a loop stands in the log: `reserve[margherita]`."""
    return f"{step}[{key}]"


def step_name(key: str) -> str:
    """The name of the step that a key is of: `reserve` of `reserve[margherita]`."""
    return key.partition("[")[0] if "[" in key else key


def moment(at_ms: int) -> datetime:
    """A time of the log, milliseconds since the epoch, as messages have it."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def _decoded(known: dict[str, Any], name: str, message_type: type[MessageT], data: bytes) -> MessageT:
    """The message of this name, parsed at most once."""
    if name not in known:
        known[name] = message_type.parse(data)
    return known[name]
