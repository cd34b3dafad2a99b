"""What happens in one world, as a value: what sagas are sent, what goes wrong at which call, what comes from outside.

A schedule says all that is not a function of the project. So it plays the same on every machine, and a part of it can
be left out without moving the rest: each call, event and kill is named by its saga and place, and the time that a
message takes is a function of that name and of the schedule's pace, not of what was drawn before.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from typing import Any, cast

from sagagen.runtime.model.definition import Direction

GATEWAY = "gateway"
"""The process of the engine, where a service's name stands otherwise."""
REFUSED = "SIMULATED"
"""The reason of a refusal that no handler gave."""
CALM = 0
"""The pace of a world in which every message takes as long as every other."""
_FORM = 1
"""Of a code; another number is of another version of sagagen."""
_LARGEST_CODE = 1 << 20
"""Bytes of a schedule that a code may unfold to."""


class BadCode(ValueError):
    """What was given is no code of a schedule; the message says why."""


class FaultKind(StrEnum):
    """What goes wrong with one attempt of a call."""

    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost"
    FAILS = "fails"
    """The service answers UNAVAILABLE, and the handler has not run."""
    REFUSES = "refuses"
    """The service declines in the handler's place; of actions before the pivot alone."""
    LATE = "late"
    """The request arrives, and is answered, later than anybody waits."""
    TWICE = "twice"
    """It is delivered again, some time later."""
    DIES_BEFORE = "dies before"
    """The service's process ends after the handler has run, and before the commit."""
    DIES_AFTER = "dies after"
    """The service's process ends when the commit is on disk, and nobody has the answer."""
    GATEWAY_BEFORE = "gateway before"
    """The engine's process ends as the call is about to leave."""
    GATEWAY_AFTER = "gateway after"
    """The engine's process ends when the answer arrives, and is in no log."""
    GATEWAY_LATER = "gateway later"
    """The engine's process ends when the answer is in the log, and nothing has followed."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something that goes wrong with one attempt of a call."""

    step: str
    """The step's key: `reserve[margherita]`."""
    direction: Direction
    attempt: int
    """Starts at 1."""
    kind: FaultKind
    late_ms: int = 0
    """LATE, TWICE: how much later it arrives. Of a death: how long the process is down."""


@dataclass(frozen=True, slots=True)
class SentEvent:
    """An event, or a client's wish to cancel, that is sent until it is taken or refused for good."""

    event: str
    """Its name in the contract; empty: the cancellation."""
    after_ms: int
    """After the saga was sent."""
    payload: str
    """ProtoJSON, without what names the saga."""
    key: str
    """The idempotency key."""


@dataclass(frozen=True, slots=True)
class SentSaga:
    """One request that starts a saga, and what happens to it."""

    number: int
    """Its name in a story; in a schedule no other saga has it."""
    saga: str
    at_ms: int
    input: str
    """ProtoJSON."""
    caller: str = "anonymous"
    faults: tuple[Fault, ...] = ()
    events: tuple[SentEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Kill:
    """A process ends, whatever it is doing."""

    process: str
    at_ms: int
    down_ms: int = 1000


@dataclass(frozen=True, slots=True)
class Schedule:
    """What happens in one world."""

    pace: int
    """Decides how long messages take and processes are down; CALM: all of them the same."""
    sagas: tuple[SentSaga, ...]
    kills: tuple[Kill, ...] = ()

    def between(self, least: int, most: int, *name: object) -> int:
        """A number that is a function of the pace and of a name alone; where it is calm the least."""
        if self.pace == CALM:
            return least
        text = "\n".join([str(self.pace), *map(str, name)]).encode()
        drawn = int.from_bytes(blake2b(text, digest_size=8).digest(), "big")
        return least + drawn % (most - least + 1)

    @property
    def latest_ms(self) -> int:
        """How late a message may be that is under way when all sagas are over."""
        return max((fault.late_ms for saga in self.sagas for fault in saga.faults), default=0)

    @property
    def outage_ms(self) -> int:
        """How long processes are down at most, all together."""
        return self._late_ms + sum(kill.down_ms for kill in self.kills)

    @property
    def _late_ms(self) -> int:
        return sum(fault.late_ms for saga in self.sagas for fault in saga.faults)

    @property
    def size(self) -> int:
        """How much there is to tell: a smaller one is a shorter story."""
        parts = sum(3 + 2 * len(saga.faults) + 2 * len(saga.events) for saga in self.sagas)
        return parts + 2 * len(self.kills)


def encoded(schedule: Schedule) -> str:
    """Letters, digits, `-` and `_`, by which the schedule is played again. Equal schedules have equal codes."""
    sagas = [
        [
            saga.number,
            saga.saga,
            saga.at_ms,
            saga.input,
            saga.caller,
            [[*_fault_row(fault)] for fault in saga.faults],
            [[event.event, event.after_ms, event.payload, event.key] for event in saga.events],
        ]
        for saga in schedule.sagas
    ]
    kills = [[kill.process, kill.at_ms, kill.down_ms] for kill in schedule.kills]
    text = json.dumps([_FORM, schedule.pace, sagas, kills], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")


def decoded(code: str) -> Schedule:
    """The schedule of a code. Raises BadCode."""
    code = code.strip()
    try:
        if not code:
            raise ValueError
        packed = base64.b64decode(code + "=" * (-len(code) % 4), altchars=b"-_", validate=True)
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(packed, _LARGEST_CODE)
        if not unpacking.eof:
            raise BadCode("the code is cut off, or too long: copy all of it")
        form, *rest = cast(list[Any], json.loads(text))
    except (binascii.Error, zlib.error, ValueError, TypeError) as error:
        if isinstance(error, BadCode):
            raise
        raise BadCode("this is no code of a schedule: copy all of what `sagagen simulate` printed") from error
    if form != _FORM:
        raise BadCode(f"the code is of another version of sagagen: its form is {form!r}, and not {_FORM}")
    try:
        return _schedule(rest)
    except (ValueError, TypeError, KeyError) as error:
        raise BadCode(f"the code holds what no schedule does: {error}") from error


def _fault_row(fault: Fault) -> Sequence[object]:
    return fault.step, str(fault.direction), fault.attempt, str(fault.kind), fault.late_ms


def _schedule(rest: Sequence[Any]) -> Schedule:
    pace, sagas, kills = rest
    return Schedule(
        int(pace),
        tuple(_saga(row) for row in sagas),
        tuple(Kill(str(process), int(at_ms), int(down_ms)) for process, at_ms, down_ms in kills),
    )


def _saga(row: Sequence[Any]) -> SentSaga:
    number, saga, at_ms, given, caller, faults, events = row
    return SentSaga(
        int(number),
        str(saga),
        int(at_ms),
        str(given),
        str(caller),
        tuple(
            Fault(str(step), Direction(direction), int(attempt), FaultKind(kind), int(late_ms))
            for step, direction, attempt, kind, late_ms in faults
        ),
        tuple(
            SentEvent(str(event), int(after_ms), str(payload), str(key))
            for event, after_ms, payload, key in events
        ),
    )


def renumbered(schedule: Schedule) -> Schedule:
    """The same sagas as 1, 2, 3 and so on. How long their messages take changes."""
    sagas = (replace(saga, number=number) for number, saga in enumerate(schedule.sagas, start=1))
    return replace(schedule, sagas=tuple(sagas))
