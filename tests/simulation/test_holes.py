"""Holes that the language had before it was built, by their numbers: schedules that must end well.

Where a rule closes a hole, the worlds that show it hold with the rule, and do not without it.
"""

import pytest
from invariants import at_the_end
from kept_rules import RULES
from made_up_sagas import PIVOT, RETRIABLE, block, call, loop, never, saga_of
from participants import Weather
from rules_taken_out import notices
from small_mesh import Text
from world import Plan, World

from sagagen.runtime.engine.requests import Requests
from sagagen.runtime.model.definition import Action, Saga, Step
from sagagen.runtime.saga.commands import Act
from sagagen.runtime.saga.events import Done, GaveUp, LoopPlanned, SagaStatus, Stuck
from sagagen.runtime.scope import Scope

WORLDS = 200


def closed_by(name: str, patch: pytest.MonkeyPatch) -> None:
    rule = next(rule for rule in RULES if rule.name == name)
    assert not notices(rule, 40)
    rule.take_out(patch)
    assert notices(rule, WORLDS)


def test_hole_01_an_answer_that_comes_after_turning_back(monkeypatch: pytest.MonkeyPatch) -> None:
    closed_by("a late answer settles nothing", monkeypatch)


def test_hole_02_two_runs_and_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    closed_by("runs meet at one service before they have an effect", monkeypatch)


def test_hole_03_events_taken_by_a_run_that_owns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed_by("events are taken by a run that owns the saga", monkeypatch)


def test_hole_04_an_event_and_then_a_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    closed_by("an event and what it makes of its wait are one commit", monkeypatch)


def test_hole_05_an_event_while_turning_back_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    closed_by("an event is checked against the newest rows", monkeypatch)


def test_hole_08_what_was_released_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    closed_by("what is released in a loop stays so", monkeypatch)


def test_hole_08_what_was_never_released_is_not_undone() -> None:
    world = still_world(saga_of(loop("each", 20, at_once=2)), refuses=0.3)
    called = {call.step for call in world.sent}
    assert len(called) < 20
    assert {deed.step for deed in world.order} <= called


def test_hole_10_a_time_out_settles_its_wait_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    closed_by("a time-out settles its wait for good", monkeypatch)


def test_hole_12_a_stuck_branch_is_shown_while_others_go_on() -> None:
    broken = _reading("broken", "missing")
    branches = [broken], [call("good", RETRIABLE), call("better", RETRIABLE)]
    saga = saga_of(
        call("missing", when=never), call("pivot", PIVOT), block("both", *branches, kind=RETRIABLE)
    )
    rows = still_world(saga).gateways[0].rows
    stuck = next(place for place, row in enumerate(rows) if isinstance(row, Stuck))
    done = [row.step for row in rows[stuck:] if isinstance(row, Done)]
    assert done == ["good", "better"]


def test_hole_20_what_an_operator_skipped_is_read_without_a_guard() -> None:
    saga = saga_of(
        call("missing", when=never),
        call("pivot", PIVOT),
        _reading("first", "missing"),
        _reading("second", "first"),
    )
    rows = still_world(saga).gateways[0].rows
    stuck = [row.failure.step for row in rows if isinstance(row, Stuck)]
    assert stuck == ["first", "second"]
    assert [row.step for row in rows if isinstance(row, GaveUp)] == ["first", "second"]


def test_hole_23_an_empty_loop_leaves_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    saga = saga_of(loop("none", 0), call("last"))
    rows = still_world(saga).gateways[0].rows
    assert [row.keys for row in rows if isinstance(row, LoopPlanned)] == [()]
    plan, asked = Requests.plan, iter(range(50))

    def without_it(self: Requests, element: Step, now_ms: int) -> object:
        next(asked)  # it is asked for ever
        return [row for row in plan(self, element, now_ms) if not isinstance(row, LoopPlanned)]

    monkeypatch.setattr(Requests, "plan", without_it)
    assert World(Plan(saga, weather=Weather(), dies=0)).run().broken


def still_world(saga: Saga, *, refuses: float = 0.0) -> World:
    """One in which nothing fails, run; it is calm soon, and what is stuck is ended."""
    still = Weather(refuses=refuses, fails=0, loses=0, doubles=0, straggles=0)
    world = World(
        Plan(saga, weather=still, dies=0, refuses=0, calm_at_s=20.0, ends_by=(Act.RETRY, Act.SKIP))
    ).run()
    assert at_the_end(world) == [], "\n".join(world.trace)
    history = world.gateways[0].history
    assert history
    assert history.status is (SagaStatus.COMPENSATED if refuses else SagaStatus.COMPLETED)
    return world


def _reading(name: str, other: str) -> Step:
    """A step after the pivot that reads what another one answered, whether it is there or not."""

    def request(scope: Scope[Text]) -> Text:
        return scope.response(other, Text)

    made = call(name, RETRIABLE)
    action = made.action
    return Step(
        name, RETRIABLE, Action(action.service, action.method, request, action.timeout_s, action.retry)
    )
