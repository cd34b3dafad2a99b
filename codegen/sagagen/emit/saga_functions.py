"""The functions of generated/sagas/<name>_v<N>.py: what a saga's expressions have become."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from sagagen.contract.model import (
    Call,
    Cancel,
    Decline,
    Delay,
    Element,
    Event,
    ForEach,
    IndexValue,
    Saga,
    Start,
    Step,
    Wait,
)
from sagagen.emit.imports import Imports
from sagagen.emit.saga_tree import every
from sagagen.expression import MessageExpr, RenderedFunction, ValueExpr, render_function, render_value
from sagagen.python_names import PythonNames, allot, identifier, with_underscore

OF_THE_SAGA = frozenset({"respond", "starts_after", "starts_at", "saga_to_cancel", "may_cancel", "subject"})
"""Functions that belong to no element and no event."""


@dataclass(frozen=True, slots=True)
class Function:
    """What a function is for. Its name in the module is `prefix_owner`, as far as that is free."""

    prefix: str
    owner: str


def function_names(saga: Saga) -> Mapping[Function, str]:
    """The names of all functions but those of the saga itself."""
    of_elements = (Function(prefix, each.name) for each in every(saga.steps) for prefix in _prefixes(each))
    functions = [*of_elements, *_of_events(saga)]
    wishes = [identifier(f"{each.prefix}_{each.owner}") for each in functions]
    return dict(zip(functions, allot(wishes, OF_THE_SAGA, with_underscore), strict=True))


def _prefixes(element: Element) -> Iterator[str]:
    if element.when:
        yield "when"
    match element:
        case Step():
            if element.for_each:
                yield from ("items", "key") if element.for_each.key else ("items",)
            yield from ("request", "compensate") if element.compensation else ("request",)
        case Wait():
            yield from ("declined",) if element.decline else ()
        case Delay():
            yield from ("after",) if element.after else ()
            yield from ("at",) if element.at else ()
        case _:
            pass


def _of_events(saga: Saga) -> Iterator[Function]:
    for event in saga.events:
        yield Function("saga_of", event.name)
        yield from (Function("allow", event.name),) if event.allow else ()
        yield from (Function("answer", event.name),) if event.body else ()
    yield from (Function("index", value.name) for value in saga.index)


class Functions:
    """Renders the functions of one saga, in the order in which they are asked for; each records what it imports."""

    def __init__(self, saga: Saga, names: PythonNames, imports: Imports) -> None:
        self._input = saga.trigger.input_type
        self._events = {event.name: event for event in saga.events}
        self._names = names
        self._imports = imports
        self._called = function_names(saga)
        self._rendered: list[tuple[str, ...]] = []

    @property
    def rendered(self) -> tuple[tuple[str, ...], ...]:
        return tuple(self._rendered)

    def request(self, step: Step) -> str:
        target = step.action.method.descriptor.input_type
        name = self._called[Function("request", step.name)]
        return self._message(name, step.action.request, target, f"What step `{step.name}` sends.")

    def compensation(self, step: Step, call: Call) -> str:
        target = call.method.descriptor.input_type
        name, doc = self._called[Function("compensate", step.name)], f"What undoes step `{step.name}`."
        return self._message(name, call.request, target, doc, in_compensation=True)

    def respond(self, body: MessageExpr, target: Descriptor) -> str:
        return self._message("respond", body, target, "What the caller gets as the answer.")

    def answer(self, event: Event) -> str | None:
        if event.body is None:
            return None
        name = self._called[Function("answer", event.name)]
        doc = f"What the sender of an event `{event.name}` gets as the answer."
        return self._message(name, event.body, event.rpc.output_type, doc, event=event.rpc.input_type)

    def when(self, element: Element) -> str | None:
        doc = f"Whether `{element.name}` runs; otherwise it is skipped."
        return self._of("when", element.name, element.when, doc)

    def items(self, step: str, loop: ForEach) -> str:
        return self._value(Function("items", step), loop.items, f"What step `{step}` is repeated for.")

    def key(self, step: str, loop: ForEach) -> str | None:
        return self._of("key", step, loop.key, f"What tells the items of step `{step}` apart.")

    def after(self, delay: Delay) -> str | None:
        return self._of("after", delay.name, delay.after, f"How long `{delay.name}` takes, in seconds.")

    def at(self, delay: Delay) -> str | None:
        doc = f"When `{delay.name}` ends, in milliseconds since the epoch."
        return self._of("at", delay.name, delay.at, doc)

    def declined(self, wait: Wait, decline: Decline) -> str:
        doc = f"Whether the event that `{wait.name}` waits for is a refusal."
        rpc = self._events[wait.event].rpc
        return self._value(Function("declined", wait.name), decline.when, doc, rpc)

    def saga_of(self, event: Event) -> str:
        doc = f"Which saga an event `{event.name}` is for."
        return self._value(Function("saga_of", event.name), event.saga_id, doc, event.rpc)

    def allow(self, event: Event) -> str | None:
        doc = f"Whether its caller may send an event `{event.name}`."
        return self._of("allow", event.name, event.allow, doc, event.rpc)

    def saga_to_cancel(self, cancel: Cancel) -> str:
        return self._value("saga_to_cancel", cancel.saga_id, "Which saga is to be cancelled.", cancel.rpc)

    def may_cancel(self, cancel: Cancel) -> str | None:
        doc = "Whether the caller may cancel the saga."
        return cancel.allow and self._value("may_cancel", cancel.allow, doc, cancel.rpc)

    def starts_after(self, start: Start) -> str | None:
        doc = "How long after its acceptance the saga starts, in seconds."
        return start.after and self._value("starts_after", start.after, doc)

    def starts_at(self, start: Start) -> str | None:
        doc = "When the saga starts, in milliseconds since the epoch."
        return start.at and self._value("starts_at", start.at, doc)

    def index(self, value: IndexValue) -> str:
        doc = f"The value `{value.name}`, by which the saga can be found."
        return self._value(Function("index", value.name), value.value, doc)

    def subject(self, value: ValueExpr) -> str:
        return self._value("subject", value, "The person whose data the saga holds.")

    def _of(
        self, prefix: str, owner: str, expr: ValueExpr | None, doc: str, event: MethodDescriptor | None = None
    ) -> str | None:
        return expr and self._value(Function(prefix, owner), expr, doc, event)

    def _value(
        self, function: Function | str, expr: ValueExpr, doc: str, event: MethodDescriptor | None = None
    ) -> str:
        name = function if isinstance(function, str) else self._called[function]
        rendered = render_value(
            name,
            expr,
            scope="EventScope" if event else "Scope",
            input=self._input,
            event=event and event.input_type,
            names=self._names,
            doc=doc,
            refer=self._imports.refer,
        )
        return self._add(name, rendered)

    def _message(
        self,
        name: str,
        expr: MessageExpr,
        target: Descriptor,
        doc: str,
        *,
        in_compensation: bool = False,
        event: Descriptor | None = None,
    ) -> str:
        rendered = render_function(
            name,
            expr,
            target=target,
            input=self._input,
            in_compensation=in_compensation,
            event=event,
            names=self._names,
            doc=doc,
            refer=self._imports.refer,
        )
        return self._add(name, rendered)

    def _add(self, name: str, rendered: RenderedFunction) -> str:
        self._rendered.append(rendered.lines)
        for wanted in rendered.imports:
            self._imports.add(wanted)
        return name
