"""What can be simulated of a project: its sagas, what starts them and comes to them, and where faults may strike."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from sagagen.runtime.engine.port import CANCEL
from sagagen.runtime.identity import fingerprint_of
from sagagen.runtime.messages.example import example
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Cancel, Event, Method, Saga, Step, StepKind, Wait, leaves
from sagagen.runtime.scope import EventScope, Scope, item_key
from sagagen.runtime.startup import StartupError
from sagagen.testing.samples import CANCEL as CANCEL_SAMPLE
from sagagen.testing.samples import DECLINES, Json, Sample
from sagagen.testing.simulation.inputs import Samples
from sagagen.testing.simulation.schedule import SentEvent, SentSaga

_SOUGHT = "5c0e2f9e-0000-5000-8000-00000000a5a5"
"""A saga's id that stands in no sample."""
_DEEPEST = 3


class CannotSimulate(StartupError):
    """Nothing can be simulated as the project is; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Point:
    """A call that a saga may make: where a fault may strike."""

    key: str
    kind: StepKind
    is_undone: bool
    is_read: bool
    timeout_s: float


@dataclass(frozen=True)
class Incoming:
    """An event of a saga, or the request to cancel it."""

    event: Event | Cancel
    samples: Samples
    path: tuple[str, ...]
    """Where its message names the saga."""

    @property
    def name(self) -> str:
        """What the engine calls it."""
        return self.event.name if isinstance(self.event, Event) else CANCEL

    @property
    def method(self) -> Method[Any, Any]:
        return self.event.method

    def payload(self, sent: SentEvent, saga_id: str) -> bytes:
        """The message for one saga. Raises ValueError where the contract refuses it."""
        message = self.samples.schema.message_type(self.method.request_name)()
        try:
            json_format.Parse(sent.payload, message, descriptor_pool=self.samples.schema.pool)
        except json_format.ParseError as error:
            raise ValueError(f"no {self.method.request_name}: {sent.payload}: {error}") from error
        _set(message, self.path, saga_id)
        return message.SerializeToString(deterministic=True)

    def fingerprint(self, payload: bytes) -> bytes:
        return fingerprint_of(self.method.path, payload)


@dataclass(frozen=True)
class Subject:
    """A saga that is simulated."""

    saga: Saga
    samples: Samples
    events: Mapping[str, Incoming]
    """By name; those whose message says in a field which saga they are for."""
    cancel: Incoming | None = None
    callers: tuple[str, ...] = ()
    """Who starts it in the samples."""
    notes: tuple[str, ...] = ()
    """What is not simulated of it, and why."""

    def points(self, given: str, caller: str) -> Sequence[Point]:
        """The calls that a saga of this input may make; of a loop whose list hangs on an answer none."""
        scope: Scope[Any] = Scope(
            _SOUGHT,
            self.saga.trigger.request,
            self.samples.encoded(given),
            {},
            caller=caller,
            started_ms=self.samples.now_s * 1000,
        )
        return [point for step in self.saga.calls for point in _points(step, scope)]

    def waits(self) -> Sequence[Wait]:
        """Those for events that can be sent."""
        found = (each for each in leaves(self.saga.steps) if isinstance(each, Wait))
        return [each for each in found if each.event in self.events]

    def simpler(self, sent: SentSaga) -> Iterator[SentSaga]:
        """The same saga with an input nearer to the sample."""
        for given in self.samples.simpler(sent.input):
            yield replace(sent, input=given)
        for place, event in enumerate(sent.events):
            incoming = self.events.get(event.event) if event.event else self.cancel
            for payload in incoming.samples.simpler(event.payload) if incoming else ():
                events = (*sent.events[:place], replace(event, payload=payload), *sent.events[place + 1 :])
                yield replace(sent, events=events)


def _points(step: Step, scope: Scope[Any]) -> Iterator[Point]:
    traits = (
        step.kind,
        step.compensation is not None,
        step.action.method.is_read,
        step.action.timeout_s,
    )
    for key in _keys(step, scope):
        yield Point(key, *traits)


def _keys(step: Step, scope: Scope[Any]) -> Sequence[str]:
    if step.for_each is None:
        return [step.name]
    try:
        items = step.for_each.items(scope)
        key = step.for_each.key
        keys = [str(number) if key is None else key(scope.of_item(each)) for number, each in enumerate(items)]
    except Exception:  # noqa: BLE001 - it reads an answer that there is not, or the input breaks it
        return []
    return [item_key(step.name, str(each)) for each in dict.fromkeys(keys)]


def subject(saga: Saga, schema: Schema, samples: Sequence[Sample], now_s: int) -> Subject:
    """A saga that is started with these samples and others like them."""
    incoming: list[Incoming] = []
    notes: list[str] = []
    for event in (*saga.events, saga.cancel):
        if event is None:
            continue
        found = _incoming(event, schema, samples, now_s)
        if found:
            incoming.append(found)
        else:
            name = event.name if isinstance(event, Event) else "cancel"
            notes.append(
                f"saga {saga.name}: {name} is never sent: no {event.method.request_name} was found that names a saga; "
                "give its fields an example"
            )
    inputs = tuple(json.dumps(sample.input, ensure_ascii=False) for sample in samples)
    return Subject(
        saga,
        Samples(schema, saga.trigger.request_name, inputs, now_s),
        {each.name: each for each in incoming if each.name != CANCEL},
        next((each for each in incoming if each.name == CANCEL), None),
        tuple(dict.fromkeys(sample.caller for sample in samples)),
        tuple(notes),
    )


def _incoming(
    event: Event | Cancel, schema: Schema, samples: Sequence[Sample], now_s: int
) -> Incoming | None:
    message = event.method.request_name
    bodies = [*_given(event, samples), example(schema, schema.descriptor(message))]
    texts = tuple(dict.fromkeys(json.dumps(body, ensure_ascii=False) for body in bodies if body is not None))
    path = _naming_path(event, schema)
    return Incoming(event, Samples(schema, message, texts, now_s), path) if texts and path else None


def _given(event: Event | Cancel, samples: Sequence[Sample]) -> Iterator[Json | None]:
    """What the project's samples say is sent."""
    name = event.name if isinstance(event, Event) else CANCEL_SAMPLE
    for sample in samples:
        for key in (name, f"{name}{DECLINES}"):
            yield sample.event(key).body


def _naming_path(event: Event | Cancel, schema: Schema) -> tuple[str, ...] | None:
    """The field of the event's message that says which saga it is for: found by trying each text."""
    name = event.method.request_name
    for path in _texts(schema.descriptor(name)):
        message = schema.message_type(name)()
        _set(message, path, _SOUGHT)
        scope: EventScope[Any, Any] = EventScope(event.method.request, message.SerializeToString())
        try:
            if event.saga_id(scope) == _SOUGHT:
                return path
        except Exception:  # noqa: BLE001 - an expression over a message that is nearly empty
            continue
    return None


def _texts(message: Descriptor, depth: int = 0) -> Iterator[tuple[str, ...]]:
    for each in message.fields:
        if each.is_repeated:
            continue
        if each.message_type and depth < _DEEPEST:
            yield from ((each.name, *rest) for rest in _texts(each.message_type, depth + 1))
        elif each.type == FieldDescriptor.TYPE_STRING:
            yield (each.name,)


def _set(message: Message, path: Sequence[str], text: str) -> None:
    *outer, last = path
    target: Any = message
    for name in outer:
        target = getattr(target, name)
    setattr(target, last, text)


def no_such_saga(name: str, known: Sequence[str]) -> CannotSimulate:
    """With the names that exist."""
    close = get_close_matches(name, known, n=1)
    hint = f'did you mean "{close[0]}"?' if close else f"there are: {', '.join(known)}"
    return CannotSimulate(f'there is no saga "{name}" in this project: {hint}')
