"""Which open sagas a change hits, by where they are in the tree, and how that is told."""

from dataclasses import replace

import pytest
from test_diff_elements import CREATE, MESH, A, block, call, delay, look, loop, saga, wait

from sagagen.compatibility.change import ChangeSeverity, Reach, Target
from sagagen.compatibility.compare import compare_contracts, weighed
from sagagen.compatibility.running import OpenSaga, OpenSagas

TREE = saga(
    A, block("p", x=[look("b"), wait("w")], y=[loop("l"), block("q", z=[look("c")])]), delay("d", after_s=9.0)
)
OLD = replace(MESH, sagas=(TREE,))
BEFORE, UNTIL, SINCE = Reach.BEFORE_STEP, Reach.BEFORE_END_OF_STEP, Reach.OWES_STEP


def at(*names: str, goes_back: bool | None = False, is_whole: bool = True) -> OpenSaga:
    return OpenSaga("place_order", 1, goes_back, names, 60.0, is_whole)


def is_hit(saga: OpenSaga, reach: Reach, step: str) -> bool:
    return bool(OpenSagas([saga], OLD).hit(Target("place_order", 1, reach, step)).count)


@pytest.mark.parametrize(
    ("names", "step", "before", "until", "since"),
    [
        (["a"], "a", False, True, True),
        (["a"], "w", True, True, False),
        (["a"], "p", True, True, False),
        (["a"], "c", True, True, False),
        (["w", "l"], "a", False, False, True),
        (["w", "l"], "b", False, False, True),
        (["w", "l"], "w", False, True, True),
        (["w", "l"], "c", True, True, False),
        (["w", "l"], "q", True, True, False),
        (["w", "l"], "p", False, True, True),
        (["w", "c"], "q", False, True, True),
        (["w", "c"], "l", False, False, True),
        (["w"], "l", False, False, True),
        (["l"], "d", True, True, False),
        (["d"], "w", False, False, True),
        ([], "w", True, True, True),
        (["gone"], "w", True, True, True),
    ],
)  # fmt: skip
def test_a_saga_on_its_way_is_before_at_or_past_an_element(
    names: list[str], step: str, before: bool, until: bool, since: bool
) -> None:
    found = [is_hit(at(*names), reach, step) for reach in (BEFORE, UNTIL, SINCE)]
    assert found == [before, until, since]


@pytest.mark.parametrize(
    ("names", "step", "owes"),
    [
        (["l"], "l", True),
        (["l"], "a", True),
        (["l"], "b", False),
        (["l", "b"], "b", True),
        (["l", "b"], "d", False),
        (["a"], "l", False),
    ],
)
def test_a_saga_on_its_way_back_owes_what_it_is_at_and_what_came_before(
    names: list[str], step: str, owes: bool
) -> None:
    found = [is_hit(at(*names, goes_back=True), reach, step) for reach in (BEFORE, UNTIL, SINCE)]
    assert found == [False, False, owes]


def test_what_a_list_does_not_tell_may_be_hit() -> None:
    """It names one element of a saga, and the other branch may be anywhere."""
    assert is_hit(at("w", is_whole=False), BEFORE, "c")
    assert not is_hit(at("w", is_whole=True), BEFORE, "c")
    assert not is_hit(at("d", is_whole=False), BEFORE, "c")


def test_a_stuck_saga_may_go_either_way() -> None:
    stuck = at("l", goes_back=None)
    assert is_hit(stuck, UNTIL, "d")
    assert is_hit(stuck, SINCE, "a")
    assert not is_hit(replace(stuck, goes_back=True), UNTIL, "d")


def test_a_saga_that_starts_later_is_before_everything() -> None:
    later = replace(at(), has_begun=False)
    assert [is_hit(later, reach, "a") for reach in (BEFORE, UNTIL, SINCE)] == [True, True, False]
    assert "1 at its start" in str(OpenSagas([later], OLD).hit(Target("place_order", 1)))


def test_sagas_are_counted_at_each_element_that_they_are_at() -> None:
    open_sagas = OpenSagas([at("w", "l"), at("w", "c"), at("d"), at(), at("l", goes_back=True)], OLD)
    hit = open_sagas.hit(Target("place_order", 1))
    assert str(hit) == (
        "5 open sagas (2 waiting at w, 2 in loop l, 1 at c, 1 in delay d, 1 at an unknown step),"
        " the oldest for 1 min"
    )


def test_an_end_that_is_logged_is_not_read_again() -> None:
    """A shorter wait hits whoever has not begun it."""
    new = saga(
        A,
        block(
            "p", x=[look("b"), wait("w", within_s=5.0)], y=[loop("l", at_once=1), block("q", z=[look("c")])]
        ),
        delay("d", after_s=9.0),
    )
    found = tuple(compare_contracts(OLD, replace(MESH, sagas=(new,))))
    hits = {
        change.rule.code: str(change.hit)
        for change in weighed(found, OpenSagas([at("w", "l"), at("b", "c")], OLD))
    }
    assert hits == {
        "SD309": "1 open saga (1 at b, 1 at c), the oldest for 1 min",
        "SD311": "None",
    }


def test_what_hits_no_saga_is_safe() -> None:
    unconditional = replace(TREE, steps=(CREATE, A, call("z"), *TREE.steps[2:]))
    (found,) = compare_contracts(OLD, replace(MESH, sagas=(unconditional,)))
    (quiet,) = weighed([found], OpenSagas([], OLD))
    assert (found.rule.code, quiet.severity, quiet.notes) == (
        "SD105",
        ChangeSeverity.SAFE,
        ("no open saga is hit",),
    )
