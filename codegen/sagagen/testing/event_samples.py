"""The messages that a saga waits for, made up so that the contract takes them: with the saga's id, from one who may."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from sagagen.runtime.messages.example import example
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Cancel, Event, Saga, Wait
from sagagen.runtime.scope import EventScope
from sagagen.testing.guesses import Json, constants_of, first_that, text_fields, variations, with_text_at
from sagagen.testing.samples import (
    ANONYMOUS,
    CANCEL,
    DECLINES,
    Sample,
    SampleError,
    encoded,
)


@dataclass(frozen=True, slots=True)
class EventMessage:
    """What a client sends."""

    event: str
    """Its name in the contract, or `cancel`."""
    payload: bytes
    """The event's message, encoded."""
    caller: str


def event_message(
    schema: Schema,
    saga: Saga,
    sample: Sample,
    saga_id: str,
    event: Event,
    wait: Wait | None,
    *,
    declines: bool = False,
) -> EventMessage:
    """A message of an event that the wait takes for a refusal, or for none.

    Raises SampleError naming what the contract wants where none is found.
    """
    name = f"{event.name}{DECLINES}" if declines else event.name
    given = sample.event(name)
    if declines and given.body is None and sample.event(event.name).body is not None:
        given = sample.event(event.name)
    maker = _Maker(schema, saga, sample, saga_id, event, name, is_given=sample.event(name).body is not None)
    decline = wait.decline.when if wait and wait.decline else None
    maker.hints += constants_of(decline)
    return maker.made(given.body, given.caller, lambda scope: bool(decline and decline(scope)) is declines)


def cancel_message(schema: Schema, saga: Saga, sample: Sample, saga_id: str, cancel: Cancel) -> EventMessage:
    """A request to cancel that is allowed. Raises SampleError where none is found."""
    given = sample.event(CANCEL)
    maker = _Maker(schema, saga, sample, saga_id, cancel, CANCEL, is_given=given.body is not None)
    return maker.made(given.body, given.caller, lambda _: True)


IsWanted = Callable[[EventScope[Any, Any]], bool]


class _Maker:
    def __init__(
        self,
        schema: Schema,
        saga: Saga,
        sample: Sample,
        saga_id: str,
        event: Event | Cancel,
        name: str,
        *,
        is_given: bool,
    ) -> None:
        self._schema = schema
        self._saga = saga
        self._sample = sample
        self._saga_id = saga_id
        self._event = event
        self._name = name
        self._is_given = is_given
        """Its file says what is sent: only the saga's id is put in."""
        self.hints: list[Any] = constants_of(event.allow)

    def made(self, body: Json | None, caller: str | None, is_wanted: IsWanted) -> EventMessage:
        """`is_wanted` is asked about an EventScope."""
        started = self._with_saga_id(body if body is not None else self._example())
        callers = [caller] if caller is not None else self._callers()
        for one in self._bodies(started):
            for who in callers:
                found = first_that([one], lambda each, who=who: self._is_taken(each, who, is_wanted))
                if found is not None:
                    return EventMessage(self._event_name, self._encoded(found), who)
        raise SampleError(self._why_not(started, callers))

    @property
    def _event_name(self) -> str:
        return self._event.name if isinstance(self._event, Event) else CANCEL

    def _example(self) -> Json:
        method = self._event.method
        return example(self._schema, self._schema.descriptor(method.request_name)) or {}

    def _with_saga_id(self, body: Json) -> Json:
        def is_for_it(each: Json) -> bool:
            return self._event.saga_id(self._scope(each, "", of_saga=False)) == self._saga_id

        paths = text_fields(self._schema, self._event.method.request_name)
        found = first_that([body, *(with_text_at(body, path, self._saga_id) for path in paths)], is_for_it)
        if found is None:
            raise SampleError(
                f"{self._where()}: no field of {self._event.method.request_name} was found that carries the saga's id "
                "in `saga_id`"
            )
        return found

    def _bodies(self, body: Json) -> Iterator[Json]:
        """The body itself, then with what the saga's input says, then varied."""
        yield body
        if self._is_given:
            return
        shared = {path[-1]: path for path in text_fields(self._schema, self._event.method.request_name)}
        like_input = {
            name: self._sample.input[name]
            for name in shared
            if isinstance(self._sample.input.get(name), str) and body.get(name) != self._saga_id
        }
        yield (fuller := {**body, **like_input})
        yield from variations(self._schema, self._event.method.request_name, fuller, self.hints)

    def _callers(self) -> list[str]:
        """Whom `allow` may let pass: who started the saga, anybody, whoever the input names."""
        if isinstance(self._event, Cancel) and self._event.allow is None:
            return [self._sample.caller]
        texts = [value for value in self._sample.input.values() if isinstance(value, str)]
        named = [each for each in constants_of(self._event.allow) if isinstance(each, str)]
        return list(dict.fromkeys([self._sample.caller, ANONYMOUS, *texts, *named]))

    def _is_taken(self, body: Json, caller: str, is_wanted: IsWanted) -> bool:
        scope = self._scope(body, caller)
        allow = self._event.allow
        return (
            self._event.saga_id(scope) == self._saga_id
            and (allow is None or allow(scope))
            and is_wanted(scope)
            and self._is_valid(body)
        )

    def _is_valid(self, body: Json) -> bool:
        self._encoded(body)
        return True

    def _scope(self, body: Json, caller: str, *, of_saga: bool = True) -> EventScope[Any, Any]:
        method = self._event.method
        message = self._parsed(body)
        if not of_saga:
            return EventScope(method.request, message, caller=caller)
        return EventScope(
            method.request,
            message,
            caller=caller,
            saga_id=self._saga_id,
            input_type=self._saga.trigger.request,
            input=self._sample.data,
        )

    def _parsed(self, body: Json) -> bytes:
        """Encoded, valid or not: what is tried need not be."""
        message = self._schema.message_type(self._event.method.request_name)()
        json_format.ParseDict(body, message, descriptor_pool=self._schema.pool)
        return message.SerializeToString(deterministic=True)

    def _encoded(self, body: Json) -> bytes:
        return encoded(self._schema, self._event.method, body, self._where())

    def _where(self) -> str:
        return f"{self._sample.source}, events.{self._name}"

    def _why_not(self, body: Json, callers: list[str]) -> str:
        """Of several reasons the first that holds of the message as it stands."""
        self._encoded(body)
        scope = [self._scope(body, who) for who in callers]
        allow = self._event.allow
        entry = f'"events": {{"{self._name}": {{"body": {{...}}, "caller": "..."}}}}'
        file = f"tests/samples/{self._saga.name}.json: {entry}"
        if allow is not None and not any(allow(each) for each in scope):
            return f"{self._where()}: `allow` lets none of {', '.join(callers)} pass; say who may in {file}"
        what = (
            "takes no message that was tried for a refusal" if self._name.endswith(DECLINES) else "refuses it"
        )
        return f"{self._where()}: the contract's `decline` {what}; write one in {file}"
