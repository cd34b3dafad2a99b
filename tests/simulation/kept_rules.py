"""The rules that are taken out, each with a saga that shows it soon."""

from made_up_sagas import PIVOT, RETRIABLE, block, call, loop, saga_of, wait
from rules_taken_out import Rule

from sagagen.runtime.engine import acceptance, driver
from sagagen.runtime.engine.driver import SagaDriver
from sagagen.runtime.saga import forward, history
from sagagen.runtime.saga.backward import Backward
from sagagen.runtime.saga.forward import Forward
from sagagen.runtime.service.barrier import rules as barrier

SHORT = {"within_s": 6.0}
CANCELLED = {"cancels": 1.0, "within_s": 8.0}
MEDDLES = {"meddles": True}
TWO = {"gateways": 2}
TO_PIVOT = saga_of(call("one"), call("pivot", PIVOT, "two"))
ALONE = saga_of(call("pivot", PIVOT))
WAITS = saga_of(call("one"), wait("go", PIVOT, within_s=6.0), call("last", RETRIABLE, "two"))


RULES = [
    Rule("undone last to first", Backward, "_list", "reversed(elements)", "elements"),
    Rule(
        "nothing before a block is undone before the block is",
        Backward,
        "_list",
        "all(self._element(element) for element in reversed(elements))",
        "all([self._element(element) for element in reversed(elements)])",
    ),
    Rule(
        "turning back names what is in doubt",
        Forward,
        "_turn_back_with_doubt",
        "return replace(back, doubt=tuple(doubt))",
        "return back",
    ),
    Rule(
        "a pivot in doubt never turns back",
        forward,
        "_forward",
        "step.kind is StepKind.PIVOT and is_attempted(history, key)",
        "False",
        saga_of(call("one"), call("pivot", PIVOT, "two"), deadline_s=8.0),
    ),
    Rule(
        "a late answer settles nothing",
        SagaDriver,
        "_settle",
        "case Done() if self._ahead.turned_back:",
        "case Done() if False:",
        saga_of(block("both", [call("one")], [loop("each", 3, at_once=3)])),
        {"refuses": 0.3},
    ),
    Rule(
        "a call is sent when what releases it is on disk",
        SagaDriver,
        "_advance",
        "await self._write(0 if self._ahead.stuck else None)",
        "asyncio.create_task(self._write(0 if self._ahead.stuck else None))",
    ),
    Rule(
        "a saga leaves memory when its rows are on disk",
        SagaDriver,
        "_advance",
        "await self._write(until_ms)",
        "asyncio.create_task(self._write(until_ms))",
        WAITS,
        SHORT,
    ),
    Rule(
        "an event and what it makes of its wait are one commit",
        SagaDriver,
        "_advance",
        "decision = decide(self.saga, self._ahead)",
        "await self._write(); decision = decide(self.saga, self._ahead)",
    ),
    Rule(
        "an event comes before what happens after it",
        Forward,
        "decision",
        "if self._receive:",
        "if self._receive and not self._turn_back:",
        saga_of(
            block(
                "both",
                *([wait(name), wait(f"{name}2")] for name in "abc"),
                *([call(name)] for name in ("one", "two", "three")),
            )
        ),
        {"refuses": 0.3, "within_s": 3.0},
    ),
    Rule(
        "an event is checked against the newest rows",
        SagaDriver,
        "_take_delivery",
        "self.saga, self._ahead,",
        "self.saga, self.durable,",
        WAITS,
        CANCELLED,
    ),
    Rule("what is told is on disk", SagaDriver, "_tell", "if self._pending:", "if False:", WAITS, SHORT),
    Rule(
        "what a cancel calls off is in doubt",
        SagaDriver,
        "_call_off_for",
        "away = self._flights.call_off_all()",
        "away = self._flights.call_off_all()[:0]",
        TO_PIVOT,
        CANCELLED,
    ),
    Rule(
        "a cancel is refused while the pivot is on its way",
        SagaDriver,
        "_pivot_on_its_way",
        "if self._flights.has_left",
        "if False and self._flights.has_left",
        ALONE,
        CANCELLED,
    ),
    Rule(
        "what is released in a loop stays so",
        Forward,
        "_loop",
        "if key in was_stuck:",
        "if key in history.stuck:",
        saga_of(loop("each", 4, at_once=1), call("last")),
        MEDDLES,
    ),
    Rule(
        "a cancel of a run that owns nothing says nothing to a client",
        driver,
        "row_of",
        "if not (is_alone or",
        "if not history.cancelled and not (is_alone or",
        saga_of(call("one")),
        {"gateways": 2, "meddles": True, "cancels": 1.0},
    ),
    Rule(
        "a time-out settles its wait for good",
        history,
        "_resumed",
        "return _changed(history, row, progress=calm, resumed=resumed)",
        "return _changed(history, row, progress=calm, resumed=resumed, settled={"
        "key: row for key, row in history.settled.items() if not isinstance(row, TimedOut)})",
        saga_of(call("one"), wait("go", within_s=3.0, on_timeout=None), call("two"), call("three")),
        {"within_s": 12.0},
    ),
    Rule(
        "runs meet at one service before they have an effect",
        acceptance,
        "_first",
        "is_contested and needs_claim(saga)",
        "False",
        saga_of(block("both", [call("one")], [call("two", service="two")])),
        TWO,
    ),
    Rule(
        "the barrier keeps DONE",
        barrier,
        "rule",
        "own.state is not State.PENDING",
        "own.state is State.EMPTY",
    ),
    Rule(
        "a compensation shuts its action out",
        barrier,
        "rule",
        "rows.compensation is not None",
        "False",
        TO_PIVOT,
        CANCELLED,
    ),
    Rule(
        "a compensation waits for a manual action",
        barrier,
        "_compensate",
        "if now_ms <= action.not_after_ms:",
        "if False:",
        saga_of(call("one", is_manual=True), call("two")),
        CANCELLED,
    ),
    Rule("one run owns a service", barrier, "rule", "rows.owner != call.run", "False", world=TWO),
    Rule(
        "events are taken by a run that owns the saga",
        driver,
        "row_of",
        "has_written(saga, history)",
        "True",
        WAITS,
        SHORT | TWO,
    ),
]
