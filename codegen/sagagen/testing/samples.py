"""Sample inputs of sagas, and the events that they wait for.

A sample is a file of tests/samples, or made of the contract's examples as `sagagen up` makes them:

    tests/samples/place_order.json          the saga's sample
    tests/samples/place_order.large.json    another one, for what the first does not reach

    { "input":  {"customer_id": "ann", "total_minor": 3400},
      "caller": "ann",
      "events": { "answered": { "body": {"accepted": true}, "caller": "da mario" },
                  "answered declines": { "body": {"accepted": false} },
                  "cancel": { "body": {"customer_id": "ann"} } } }

All but `input` may be left out. Of an event's message what is left out is found by trying: the field that carries the
saga's id, a caller whom `allow` lets pass, a message that `decline` takes for a refusal or for none.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from google.protobuf import json_format

from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.messages.starting import starting_example
from sagagen.runtime.model.definition import Element, Method, Saga
from sagagen.runtime.scope import Scope
from sagagen.testing.guesses import Json, constants_of, first_that, variations
from sagagen.testing.virtual_time import BEGINNING_MS

CONTRACT = "the contract's examples"
"""The source of a sample that no file has."""
SAMPLES = Path("tests", "samples")
"""Where samples are, relative to the project's root."""
CANCEL = "cancel"
"""Under this name the request to cancel stands among a sample's events. No event has such a name."""
DECLINES = " declines"
"""What follows an event's name for a message that is a refusal."""
ANONYMOUS = "anonymous"
"""Who starts a saga, if the sample does not say."""

_KEYS = ("input", "caller", "events")
_EVENT_KEYS = ("body", "caller")


class SampleError(Exception):
    """A sample can't be used; the message names the file, the field and the rule."""


@dataclass(frozen=True, slots=True)
class EventSample:
    body: Json | None = None
    """ProtoJSON; None: of the contract's examples."""
    caller: str | None = None
    """None: found by trying."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that starts a saga, and what comes for it later."""

    saga: str
    source: str
    """Where it is from: a path, or the contract."""
    input: Json
    """ProtoJSON of the trigger's request."""
    data: bytes
    """The same, encoded."""
    name: str = ""
    """Empty for a saga's first sample."""
    caller: str = ANONYMOUS
    events: Mapping[str, EventSample] = field(default_factory=dict[str, EventSample])

    def event(self, name: str) -> EventSample:
        return self.events.get(name, EventSample())


def samples_of(root: Path, schema: Schema, saga: Saga) -> list[Sample]:
    """A saga's samples, the first of which has no name. Raises SampleError if one can't be used, or none is found."""
    found = [_read(root, path, name, schema, saga) for name, path in _paths(root, saga.name)]
    if any(not sample.name for sample in found):
        return found
    return [_from_contract(schema, saga), *found]


def reaching(schema: Schema, sample: Sample, saga: Saga, element: Element) -> Sample | None:
    """The sample changed so that an element's `when` holds, which reads the input alone; None if none was found."""
    when = element.when
    if when is None:
        return None

    def is_reached(body: Json) -> bool:
        data = encoded(schema, saga.trigger, body, sample.source)
        return when(Scope("", saga.trigger.request, data, {}, caller=sample.caller))

    tried = variations(schema, saga.trigger.request_name, sample.input, constants_of(when))
    found = first_that(tried, is_reached)
    if found is None or found == sample.input:
        return None
    data = encoded(schema, saga.trigger, found, sample.source)
    return replace(sample, input=found, data=data, name=element.name)


def others_like(schema: Schema, sample: Sample, saga: Saga) -> Iterator[Sample]:
    """Samples that differ from one of the contract's examples in one field each; none like a sample from a file."""
    if sample.source != CONTRACT:
        return
    for body in variations(schema, saga.trigger.request_name, sample.input, ["1"]):
        try:
            data = encoded(schema, saga.trigger, body, CONTRACT)
        except SampleError:
            continue
        if body != sample.input:
            yield replace(
                sample, input=body, data=data, source=f"{CONTRACT}, changed to {_changed(sample, body)}"
            )


def _changed(sample: Sample, body: Json) -> str:
    return ", ".join(
        f"{name}: {json.dumps(value)}" for name, value in body.items() if sample.input.get(name) != value
    )


def check_names(root: Path, sagas: Iterable[Saga]) -> None:
    """Raises SampleError for a file of tests/samples that belongs to no saga."""
    known = sorted({saga.name for saga in sagas})
    for path in sorted((root / SAMPLES).glob("*.json")):
        saga = path.name.partition(".")[0]
        if saga not in known:
            raise SampleError(f"{_shown(root, path)}: there is no saga {saga}{_did_you_mean(saga, known)}")


def _paths(root: Path, saga: str) -> Iterator[tuple[str, Path]]:
    """Name and path of each of its samples."""
    for path in sorted((root / SAMPLES).glob("*.json")):
        first, _, name = path.name.removesuffix(".json").partition(".")
        if first == saga:
            yield name, path


def _from_contract(schema: Schema, saga: Saga) -> Sample:
    made = starting_example(schema, saga, BEGINNING_MS)
    path = SAMPLES / f"{saga.name}.json"
    if made is None:
        raise SampleError(
            f"no request of saga {saga.name} could be made up that keeps its rules: give fields an example, as in "
            f'[(buf.validate.field).string.example = "..."], or write {path.as_posix()}: {{"input": {{...}}}}'
        )
    return Sample(saga.name, CONTRACT, made, encoded(schema, saga.trigger, made, CONTRACT))


def _read(root: Path, path: Path, name: str, schema: Schema, saga: Saga) -> Sample:
    shown = _shown(root, path)
    try:
        content: Any = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SampleError(f"{shown}: {error}") from error
    except json.JSONDecodeError as error:
        raise SampleError(f"{shown}:{error.lineno}:{error.colno}: no JSON: {error.msg}") from error
    _check_keys(shown, "", content, _KEYS)
    if "input" not in content:
        raise SampleError(f'{shown}: "input" is missing: the ProtoJSON of {saga.trigger.request_name}')
    events = content.get("events", {})
    known = [*(event.name for event in saga.events), *([CANCEL] if saga.cancel else [])]
    declining = [f"{event.name}{DECLINES}" for event in saga.events]
    _check_keys(shown, "events.", events, (*known, *declining))
    return Sample(
        saga.name,
        shown,
        content["input"],
        encoded(schema, saga.trigger, content["input"], shown),
        name,
        _text(shown, "caller", content.get("caller", ANONYMOUS)),
        {event: _event(shown, event, value) for event, value in events.items()},
    )


def _event(shown: str, name: str, value: Any) -> EventSample:
    _check_keys(shown, f"events.{name}.", value, _EVENT_KEYS)
    caller = value.get("caller")
    where = f"events.{name}.caller"
    return EventSample(value.get("body"), None if caller is None else _text(shown, where, caller))


def _text(shown: str, where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise SampleError(f"{shown}: {where} is a text, not {json.dumps(value)}")
    return value


def _check_keys(shown: str, where: str, value: Any, known: Iterable[str]) -> None:
    """Raises SampleError unless it is an object with no other keys than these."""
    if not isinstance(value, dict):
        raise SampleError(
            f"{shown}: {where.removesuffix('.') or 'a sample'} is an object, not {json.dumps(value)}"
        )
    for key in cast(Json, value):
        if key not in known:
            hint = _did_you_mean(key, list(known))
            raise SampleError(f'{shown}: "{where}{key}" is unknown{hint}')


def _did_you_mean(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; there are: {', '.join(known)}" if known else ""


def _shown(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


# -- messages ------------------------------------------------------------------------------------------------------


def encoded(schema: Schema, method: Method[Any, Any], body: Json, where: str) -> bytes:
    """The request of an rpc from its ProtoJSON. Raises SampleError naming place, field and rule."""
    message = schema.message_type(method.request_name)()
    try:
        json_format.ParseDict(body, message, descriptor_pool=schema.pool)
    except json_format.ParseError as error:
        raise SampleError(f"{where}: no {method.request_name}: {error}") from error
    if broken := schema.violations(message):
        rules = "; ".join(
            f"{each.field or 'the message'}: {each.description} ({each.rule})" for each in broken
        )
        raise SampleError(f"{where}: the contract refuses {method.request_name}: {rules}")
    return message.SerializeToString(deterministic=True)
