"""What a person at a terminal reads of sagas: a line for each outcome, that fits the terminal and obeys nobody."""

import fcntl
import os
import re
import struct
import termios
from collections.abc import Generator
from dataclasses import replace

import pytest
from grpclib.const import Status as Code
from small_mesh import SAGA_ID, TRACE, saga, step

from sagagen.runtime.engine import narration
from sagagen.runtime.engine.narration import Narrator
from sagagen.runtime.model.definition import Delay, Direction, StepKind
from sagagen.runtime.saga.events import (
    Accepted,
    Cancelled,
    Compensated,
    Done,
    Ended,
    Failed,
    GaveUp,
    NextRequest,
    Outcome,
    SagaStatus,
    Skipped,
    TimedOut,
)
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.scope import Failure
from sagagen.runtime.telemetry.console import Console, short_id

HOSTILE = "\x1b]0;owned\x07\nforged"
DEFINITION = replace(
    saga(step("reserve"), step("charge", StepKind.PIVOT)), name="place_order_of_a_very_long_name"
)
ACCEPTED = Accepted(
    at_ms=1_000,
    saga_id=SAGA_ID,
    saga=DEFINITION.name,
    version=1,
    digest="",
    run="",
    caller="",
    key="",
    fingerprint=b"",
    input=b"",
    trace=TRACE,
    next=NextRequest(),
)


class Terminal:
    """A real one, of which the other end is read."""

    def __init__(self, columns: int) -> None:
        self._read, write = os.openpty()
        fcntl.ioctl(write, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._stream = open(write, "w", encoding="utf-8")  # noqa: SIM115 - closed with the terminal
        self.console = Console(self._stream)

    def told(self) -> list[str]:
        """What was told since it was read last, without times of day, and with long lines whole."""
        whole = re.sub(r"\n {10}", "  ", "\n".join(self.lines()))
        return [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in whole.splitlines()]

    def lines(self) -> list[str]:
        """The same as it stands on the terminal."""
        self.console.tell("(read)")
        self.console.flush()
        text = ""
        while "(read)" not in text:
            text += os.read(self._read, 65536).decode()
        return text.replace("\r\n", "\n").split("(read)")[0].splitlines()

    def close(self) -> None:
        self._stream.close()
        os.close(self._read)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Generator[Terminal]:
    monkeypatch.setenv("NO_COLOR", "1")
    made = Terminal(80)
    yield made
    made.close()


@pytest.fixture
def narrator(terminal: Terminal) -> Narrator:
    return Narrator(terminal.console, [DEFINITION])


def done(step: str, attempt: int = 1) -> Done:
    return Done(at_ms=1_005, step=step, attempt=attempt, response=b"", next=NextRequest())


def failed(
    step: str, outcome: Outcome, message: str, code: Code = Code.UNAVAILABLE, reason: str = ""
) -> Failed:
    return Failed(
        at_ms=1_005,
        step=step,
        direction=Direction.ACTION,
        attempt=1,
        outcome=outcome,
        code=code,
        reason=reason,
        message=message,
    )


def history() -> History:
    return fold([ACCEPTED])


async def test_each_outcome_is_a_line_and_the_saga_s_end_too(narrator: Narrator, terminal: Terminal) -> None:
    narrator.tell_attempt(ACCEPTED, done("reserve"), 0.0034)
    no = failed("charge", Outcome.REFUSED, "is above 5", Code.FAILED_PRECONDITION, "TOO_MUCH")
    narrator.tell_attempt(ACCEPTED, no, 0.25)
    narrator.tell_attempt(ACCEPTED, Compensated(at_ms=1_006, step="reserve", attempt=1), 12.0)
    end = Ended(at_ms=1_700, status=SagaStatus.COMPENSATED)
    narrator.tell_rows(DEFINITION, history(), [done("reserve"), no, end])
    lines = [line.split() for line in terminal.told()]
    assert lines[0][1:] == ["5c0e2f9e", "reserve", "done", "3.4", "ms"]
    assert lines[1][1:] == ["5c0e2f9e", "charge", "refused", "250", "ms", "TOO_MUCH:", "is", "above", "5"]
    assert lines[2][1:] == ["5c0e2f9e", "reserve", "undone", "12.0", "s"]
    assert lines[3][1:] == ["5c0e2f9e", "COMPENSATED", "700", "ms"]
    assert len(lines) == 4
    assert lines[0][0] == "place_order_of_a_very_lo…"


async def test_a_call_that_keeps_failing_is_told_with_its_error_once(
    narrator: Narrator, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = failed("charge", Outcome.DOUBT, "no route")
    for _ in range(11):
        narrator.tell_attempt(ACCEPTED, again, 0.001)
    (first,) = terminal.told()
    assert first.endswith("UNAVAILABLE: no route")
    monkeypatch.setattr(narration, "AGAIN_S", 0.0)
    narrator.tell_attempt(ACCEPTED, again, 0.001)
    narrator.tell_attempt(ACCEPTED, failed("charge", Outcome.DOUBT, "another"), 0.001)
    narrator.tell_attempt(ACCEPTED, done("charge", 14), 0.001)
    narrator.tell_attempt(ACCEPTED, done("charge", 15), 0.001)
    repeated, other, at_last, after = terminal.told()
    assert repeated.endswith(" ms  x12")
    assert other.endswith("UNAVAILABLE: another")
    assert at_last.endswith("after 1 failed")
    assert after.endswith("ms")


async def test_no_line_is_wider_than_the_terminal_and_none_obeys_a_stranger(
    narrator: Narrator, terminal: Terminal
) -> None:
    error = f"{HOSTILE} {'many words ' * 30}"
    narrator.tell_attempt(ACCEPTED, failed("charge", Outcome.DOUBT, error), 0.001)
    narrator.tell_attempt(ACCEPTED, done(f"reserve[{HOSTILE}]"), 0.001)
    given_up = GaveUp(
        at_ms=1_010, failure=Failure("UNAVAILABLE", "", error, f"mail[{HOSTILE}]"), note=HOSTILE
    )
    narrator.tell_rows(DEFINITION, history(), [given_up, Cancelled(at_ms=1_010, note=error)])
    lines = terminal.lines()
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)
    assert r"\x1b]0;owned\x07\nforged" in " ".join(lines)
    assert len([line for line in lines if not line.startswith(" ")]) == 4


async def test_waits_delays_and_what_clients_do_are_told(narrator: Narrator, terminal: Terminal) -> None:
    definition = replace(DEFINITION, steps=(Delay("rest", StepKind.COMPENSATABLE, after_s=1.0),))
    rows = [
        done("rest", attempt=0),
        TimedOut(at_ms=1_010, step="answer"),
        Skipped(at_ms=1_010, step="check"),
        Cancelled(at_ms=1_010, reason="CUSTOMER_CANCELLED"),
    ]
    narrator.tell_rows(definition, history(), rows)
    assert [line.split()[2:4] for line in terminal.told()] == [
        ["rest", "done"],
        ["answer", "silent"],
        ["check", "skipped"],
        ["cancelled", "CUSTOMER_CANCELLED"],
    ]


def test_the_short_id_tells_sagas_of_one_minute_apart() -> None:
    assert short_id(SAGA_ID) == "5c0e2f9e"
    assert short_id("0192f3a4-5b6c-7000-8000-000000000001") == "0192f3a4-5b6c"


async def test_what_is_told_before_a_log_line_stands_before_it(terminal: Terminal) -> None:
    terminal.console.tell("first")
    terminal.console.write("second\n")
    assert terminal.lines() == ["first", "second"]
