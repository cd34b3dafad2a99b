"""Requests that can be tried at once: one that starts a saga, and one for each event that the saga waits for."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from types import CodeType
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from sagagen.cli.up_callers import Sender, Senders
from sagagen.runtime.edge.events import CANCEL
from sagagen.runtime.edge.paths.template import Template, parse_template
from sagagen.runtime.engine.acceptance import accepted_row
from sagagen.runtime.engine.port import Acceptance, NotAcceptable
from sagagen.runtime.identity import saga_id
from sagagen.runtime.messages.example import example
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Event, Mesh, Method, Route, Saga, Wait, leaves
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.scope import AccessScope, EventScope

Json = dict[str, Any]

UNKNOWN = (
    "No request for {route} could be made up that keeps its rules: give fields an example, as in "
    '[(buf.validate.field).string.example = "..."].'
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One request, as a person types it."""

    verb: str
    url: str
    headers: Sequence[str]
    body: Json

    def command(self) -> str:
        """A curl command on several lines."""
        headers = " ".join(f"-H {shlex.quote(each)}" for each in self.headers)
        return f"curl -X {self.verb} {self.url} \\\n  {headers} \\\n  -d {shlex.quote(json.dumps(self.body))}"


@dataclass(frozen=True, slots=True)
class _Started:
    """A saga that the first request will have started."""

    saga: Saga
    saga_id: str
    input: bytes


class Samples:
    """Made up for one mesh, at one time."""

    def __init__(self, mesh: Mesh, senders: Senders, url: str, now_ms: int, word: str) -> None:
        """`word` makes the idempotency keys of this run different from those of others."""
        self._mesh = mesh
        self._senders = senders
        self._url = url
        self._now_ms = now_ms
        self._word = word
        self._schema = Schema(mesh.descriptors.read_bytes())
        self._claims = mesh.default_claims

    def lines(self) -> Sequence[str]:
        """Commands for the first saga that can be started, or in one line why there are none."""
        why = ""
        for route in self._mesh.routes:
            if not (route.starts_saga and route.body == "*" and "{" not in route.template):
                continue
            sender = self._senders.sender(route.access)
            if sender is None:
                return [self._senders.why_nobody(route.access)]
            saga = self._newest(route.target)
            if found := next(self._starts(route, saga, sender), None):
                sample, started = found
                events = [each.command() for each in self._events(started)]
                return [sample.command(), *events, self._look(started)]
            why = why or UNKNOWN.format(route=f"{route.verb} {route.template}")
        return [why] if why else []

    def _look(self, started: _Started) -> str:
        """What became of it."""
        sender = self._senders.sender(None)
        headers = sender.headers if sender else ()
        return " ".join(
            ["curl", f"{self._url}/sagas/{started.saga_id}", *(f"-H {shlex.quote(each)}" for each in headers)]
        )

    def _newest(self, name: str) -> Saga:
        return max((saga for saga in self._mesh.sagas if saga.name == name), key=lambda saga: saga.version)

    def _starts(self, route: Route, saga: Saga, sender: Sender) -> Iterator[tuple[Sample, _Started]]:
        """Requests that start the saga: first those that start it at once."""
        key, caller = f"try-{self._word}", sender.caller
        for body in self._of_caller(route, caller):
            data = self._encoded(route.method, body)
            named = saga_id(self._mesh.project, caller, saga.trigger.path, key)
            if data is None or not self._is_accepted(saga, named, caller, key, data):
                continue
            if self._is_allowed(route, data, caller):
                yield self._sample(route, route.template, key, sender, body), _Started(saga, named, data)

    def _of_caller(self, route: Route, caller: str) -> Iterator[Json]:
        """Made-up requests; where a rule has to hold, also with the caller in each text."""
        for body in self._bodies(route.method):
            yield body
            if route.access and route.access.allow:
                for name, value in body.items():
                    if isinstance(value, str):
                        yield {**body, name: caller}

    def _is_allowed(self, route: Route, data: bytes, caller: str) -> bool:
        """Whether the route's own rule lets a request pass. Who sends a sample has no claims."""
        access, method = route.access, route.method
        if access is None or access.allow is None or access.reads_response:
            return True
        scope: AccessScope[Any, Any] = AccessScope(method.request, data, caller=caller, claims=self._claims)
        return access.allow(scope)

    def _bodies(self, method: Method[Any, Any]) -> Iterator[Json]:
        """The made-up request, and without one of the messages that may be left out: a time in the future, perhaps."""
        descriptor = self._schema.descriptor(method.request_name)
        body = example(self._schema, descriptor)
        if body is None:
            return
        yield body
        for field in descriptor.fields:
            if field.message_type and not field.is_repeated and field.name in body:
                yield {name: value for name, value in body.items() if name != field.name}

    def _is_accepted(self, saga: Saga, named: str, caller: str, key: str, data: bytes) -> bool:
        acceptance = Acceptance(
            saga=saga,
            saga_id=named,
            caller=caller,
            key=key,
            fingerprint=b"",
            input=data,
            trace=TraceContext.new(),
        )
        try:
            row = accepted_row(acceptance, self._now_ms, "")
        except NotAcceptable:
            return False
        return row.starts_ms is None and not row.next.problem

    def _events(self, started: _Started) -> Iterator[Sample]:
        """One request for each event, in the order in which the saga waits for them."""
        waits = [leaf for leaf in leaves(started.saga.steps) if isinstance(leaf, Wait)]
        for name in dict.fromkeys(wait.event for wait in waits):
            event = next(each for each in started.saga.events if each.name == name)
            declines = [wait.decline.when for wait in waits if wait.event == name and wait.decline]
            if sample := next(self._event(event, declines, started), None):
                yield sample

    def _event(self, event: Event, declines: Sequence[Any], started: _Started) -> Iterator[Sample]:
        """Requests that the saga takes and that are no refusal."""
        for route in self._mesh.routes:
            if (route.event, route.target) != (event.name, started.saga.name) or route.event == CANCEL:
                continue
            template = parse_template(route.template)
            for message, caller in product(
                self._messages(route, template, started), self._who(event, started)
            ):
                sender = self._senders.sender(route.access, caller)
                data = self._encoded(route.method, message)
                if data is None or sender is None or (caller and sender.caller != caller):
                    continue
                scope = self._scope(event, data, sender.caller, started)
                is_for_it = event.saga_id(scope) == started.saga_id
                is_allowed = event.allow is None or event.allow(scope)
                is_allowed = is_allowed and self._is_allowed(route, data, sender.caller)
                if is_for_it and is_allowed and not any(declined(scope) for declined in declines):
                    key = f"{event.name}-{self._word}"
                    yield self._in_body(route, template, message, key, sender)

    def _messages(self, route: Route, template: Template, started: _Started) -> Iterator[Json]:
        """Made-up messages that may be for this saga: its id in the path, or in a field; each switch on, and off."""
        descriptor = self._schema.descriptor(route.method.request_name)
        body = example(self._schema, descriptor) or {}
        texts = [
            field.name
            for field in descriptor.fields
            if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated
        ]
        places = [name for name in template.variables if name in texts] or texts
        switches = [name for name, value in body.items() if isinstance(value, bool)]
        for place in places:
            named = {**body, place: started.saga_id}
            yield named
            for switch in switches:
                yield {**named, switch: not body[switch]}

    def _who(self, event: Event, started: _Started) -> Iterator[str | None]:
        """Callers that `allow` may accept: an anonymous one, those named in the input, and those named in the rule."""
        yield None
        if not self._senders.names_anybody or event.allow is None:
            return
        values = json_format.MessageToDict(
            self._schema.message_type(started.saga.trigger.request_name).FromString(started.input)
        ).values()
        yield from (value for value in values if isinstance(value, str) and value)
        for text in _texts(getattr(event.allow, "__code__", None)):
            yield f"{text}1"  # of a prefix, somebody
            yield text

    def _scope(self, event: Event, data: bytes, caller: str, started: _Started) -> EventScope[Any, Any]:
        return EventScope(
            event.method.request,
            data,
            caller=caller,
            saga_id=started.saga_id,
            started_ms=self._now_ms,
            input_type=started.saga.trigger.request,
            input=started.input,
        )

    def _encoded(self, method: Method[Any, Any], body: Json) -> bytes | None:
        """None if it breaks a rule of the contract."""
        message = self._schema.message_type(method.request_name)()
        try:
            json_format.ParseDict(body, message, descriptor_pool=self._schema.pool)
        except json_format.ParseError:
            return None
        return None if self._schema.violations(message) else message.SerializeToString()

    def _in_body(self, route: Route, template: Template, message: Json, key: str, sender: Sender) -> Sample:
        path, left = route.template, dict(message)
        for variable in template.variables:
            path = path.replace(f"{{{variable}}}", str(left.pop(variable, "")))
        return self._sample(route, path, key, sender, left)

    def _sample(self, route: Route, path: str, key: str, sender: Sender, body: Json) -> Sample:
        headers = ("Content-Type: application/json", f"X-Idempotency-Key: {key}", *sender.headers)
        return Sample(route.verb, f"{self._url}{path}", headers, body)


def _texts(code: CodeType | None) -> Iterator[str]:
    """The texts that a function's source names."""
    if code:
        yield from (each for each in code.co_consts if isinstance(each, str) and each.isprintable() and each)
