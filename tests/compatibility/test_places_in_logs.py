"""Where an open saga is, as the rows of its log tell."""

from collections.abc import Sequence

import pytest
from grpclib.const import Status as Code
from small_mesh import TRACE
from test_diff_elements import A, block, call, delay, look, loop, saga, wait

from sagagen.cli.diff_places import has_begun, places
from sagagen.compatibility.tree import Tree
from sagagen.contract.model import Saga
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.saga.events import (
    START,
    Accepted,
    Compensated,
    Done,
    Failed,
    LogEvent,
    LoopPlanned,
    NextRequest,
    Outcome,
    Planned,
    Skipped,
    Stuck,
    TimedOut,
    TurnedBack,
)
from sagagen.runtime.saga.history import fold
from sagagen.runtime.scope import Failure

LINE = saga(A, call("b"))
"""create_order, a, b, confirm_order."""
TREE = saga(
    A, block("p", x=[look("b"), wait("w")], y=[loop("l"), call("c")]), delay("d", after_s=9.0), call("e")
)


def accepted(next: NextRequest, starts_ms: int | None = None) -> Accepted:
    return Accepted(
        at_ms=1, saga_id="s", saga="place_order", version=1, digest="d", run="r", caller="", key="k",
        fingerprint=b"", input=b"", trace=TRACE, next=next, starts_ms=starts_ms,
    )  # fmt: skip


def planned(step: str) -> Planned:
    return Planned(at_ms=1, next=NextRequest(b"x", step=step))


def done(step: str, following: str = "") -> Done:
    return Done(at_ms=1, step=step, attempt=1, response=b"", next=NextRequest(b"x", step=following))


def back(step: str, *doubt: str, outcome: Outcome = Outcome.REFUSED) -> TurnedBack:
    return TurnedBack(at_ms=1, failure=Failure("c", "r", "m", step), outcome=outcome, doubt=doubt)


def stuck(step: str) -> Stuck:
    return Stuck(at_ms=1, direction=Direction.ACTION, failure=Failure("c", "r", "m", step))


def compensated(step: str) -> Compensated:
    return Compensated(at_ms=1, step=step, attempt=1)


def failed(step: str) -> Failed:
    return Failed(
        at_ms=1,
        step=step,
        direction=Direction.ACTION,
        attempt=1,
        outcome=Outcome.DOUBT,
        code=Code.UNAVAILABLE,
    )


FIRST = accepted(NextRequest(b"x"))
IN_BLOCK = [
    accepted(NextRequest(b"x", step="create_order")),
    done("create_order", "a"),
    done("a"),
    planned("b"),
    LoopPlanned(at_ms=1, step="l", keys=("1", "2"), at_once=1),
    planned("l[1]"),
    planned("l[2]"),
]

CASES: dict[str, tuple[Saga, Sequence[LogEvent], Sequence[str]]] = {
    "a line at its first step": (LINE, [FIRST], ["create_order"]),
    "a line further on": (LINE, [FIRST, done("create_order"), done("a")], ["b"]),
    "a line that is stuck": (LINE, [FIRST, done("create_order"), stuck("a")], ["a"]),
    "a line on its way back": (LINE, [FIRST, done("create_order"), done("a"), back("b")], ["a"]),
    "a line whose last call is in doubt": (
        LINE,
        [FIRST, done("create_order"), failed("a"), back("a", outcome=Outcome.DOUBT)],
        ["a"],
    ),
    "a line of which one step is undone": (
        LINE,
        [FIRST, done("create_order"), done("a"), back("b"), compensated("a")],
        ["create_order"],
    ),
    "two branches": (TREE, IN_BLOCK, ["b", "l"]),
    "one item of a loop is done": (TREE, [*IN_BLOCK, done("l[1]")], ["b", "l"]),
    "a loop is done": (TREE, [*IN_BLOCK, done("l[1]"), done("l[2]", "c")], ["b", "c"]),
    "a wait": (TREE, [*IN_BLOCK, done("b", "w")], ["w", "l"]),
    "a wait that timed out": (TREE, [*IN_BLOCK, done("b", "w"), TimedOut(at_ms=1, step="w")], ["l"]),
    "a block that is skipped": (
        TREE,
        [*IN_BLOCK[:3], Skipped(at_ms=1, step="p"), planned("d")],
        ["d"],
    ),
    "branches on their way back": (
        TREE,
        [*IN_BLOCK, done("l[1]"), done("b", "w"), back("w", "l[2]")],
        ["b", "l"],
    ),
    "branches of which one is undone": (
        TREE,
        [*IN_BLOCK, done("l[1]"), done("b", "w"), back("l[2]"), compensated("l[1]")],
        ["b"],
    ),
    "two stuck branches": (TREE, [*IN_BLOCK, stuck("b"), stuck("l[1]")], ["b", "l"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_log_tells_where_a_saga_is(name: str) -> None:
    of, rows, expected = CASES[name]
    history, tree = fold(rows), Tree.of(of)
    assert places(history, tree) == tuple(expected)
    assert has_begun(history, tree)


def test_a_saga_that_starts_later_has_not_begun() -> None:
    history = fold([accepted(NextRequest(), starts_ms=9)])
    assert (places(history, Tree.of(TREE)), has_begun(history, Tree.of(TREE))) == ((), False)
    begun = history.with_rows([done(START, "create_order")])
    assert (places(begun, Tree.of(TREE)), has_begun(begun, Tree.of(TREE))) == (("create_order",), True)


def test_a_saga_whose_definition_is_gone_is_somewhere() -> None:
    history = fold(IN_BLOCK)
    assert (places(history, Tree(())), has_begun(history, Tree(()))) == ((), True)
