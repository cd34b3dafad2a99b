"""What must hold after each row: what is built in, and what a project says in tests/invariants.py."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from stack import REPOSITORY

from generated.mesh import MESH
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.saga.events import SagaStatus
from sagagen.testing.invariants import (
    INVARIANTS,
    Databases,
    Effect,
    InvariantsError,
    broken,
    effects_twice,
    left_in_part,
    project_invariants,
    undone_in_wrong_order,
)

(SAGA,) = MESH.sagas
PAGE = (REPOSITORY / "docs" / "testing-matrix.md").read_text("utf-8")


def done(*keys: str) -> list[Effect]:
    return [Effect("s", key, Direction.ACTION) for key in keys]


def undone(*keys: str) -> list[Effect]:
    return [Effect("s", key, Direction.COMPENSATION) for key in keys]


def test_an_effect_that_happens_twice_is_named() -> None:
    assert list(effects_twice([*done("charge_payment"), *undone("charge_payment")])) == []
    assert list(effects_twice(done("charge_payment", "charge_payment"))) == [
        "charge_payment took effect 2 times"
    ]


def test_what_is_undone_too_early_is_named() -> None:
    right = undone("charge_payment", "reserve_stock", "create_order")
    assert list(undone_in_wrong_order(SAGA, right)) == []
    assert list(undone_in_wrong_order(SAGA, undone("create_order", "charge_payment"))) == [
        "create_order was undone before charge_payment, which came after it"
    ]


@pytest.mark.parametrize(
    ("status", "effects", "says"),
    [
        (SagaStatus.COMPLETED, done("create_order"), []),
        (SagaStatus.COMPENSATED, [*done("create_order"), *undone("create_order")], []),
        (
            SagaStatus.COMPENSATED,
            done("create_order"),
            ["the saga is COMPENSATED, and create_order was not undone"],
        ),
        (
            SagaStatus.COMPENSATED,
            done("confirm_order"),
            ["the saga is COMPENSATED, and confirm_order took effect, which nothing undoes"],
        ),
        (
            SagaStatus.COMPLETED,
            [*done("create_order"), *undone("create_order")],
            ["create_order was undone, and the saga is COMPLETED"],
        ),
        (SagaStatus.STUCK, undone("create_order"), ["create_order was undone, and was never done"]),
    ],
)
def test_a_saga_leaves_all_or_nothing(status: SagaStatus, effects: list[Effect], says: list[str]) -> None:
    assert list(left_in_part(SAGA, status, effects)) == says


# -- a project's own -----------------------------------------------------------------------------------------------


@pytest.fixture
def databases() -> Iterator[Databases]:
    with closing(sqlite3.connect(":memory:")) as kitchen:
        kitchen.row_factory = sqlite3.Row
        kitchen.executescript(
            "CREATE TABLE larder (dish_id TEXT, available INTEGER, reserved INTEGER);"
            "INSERT INTO larder VALUES ('margherita', 99998, 1);"
        )
        yield {"kitchen": kitchen}


def said(root: Path, databases: Databases, source: str) -> list[str]:
    path = root / INVARIANTS
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    return list(broken(project_invariants(root), databases, root))


def test_the_page_s_example_finds_what_is_lost(tmp_path: Path, databases: Databases) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert said(tmp_path, databases, source) == [
        "invariant_no_ingredient_is_lost: of margherita 99998 are there and 1 are reserved"
    ]


def test_an_assertion_a_text_and_a_mistake_are_told_with_their_line(
    tmp_path: Path, databases: Databases
) -> None:
    source = (
        "from sagagen.testing.invariants import invariant\n"
        "@invariant\n"
        "def nothing_is_odd(databases):\n"
        "    assert not databases, 'there is something'\n"
        "def invariant_told(databases):\n"
        "    return 'too much'\n"
        "def invariant_holds(databases):\n"
        "    return None\n"
        "def invariant_mistaken(databases):\n"
        "    databases['cellar'].execute('SELECT 1')\n"
    )
    assert said(tmp_path, databases, source) == [
        "nothing_is_odd: there is something:4",
        "invariant_told: too much",
        "invariant_mistaken itself fails:10: KeyError: 'cellar'",
    ]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module\n", r"tests/invariants.py:1: ModuleNotFoundError"),
        ("def f(:\n", r"tests/invariants.py:1: SyntaxError"),
        ("def check(databases): ...\n", r"has no invariant: name functions invariant_"),
    ],
)
def test_a_file_that_can_t_be_used_is_named(
    source: str, says: str, tmp_path: Path, databases: Databases
) -> None:
    with pytest.raises(InvariantsError, match=says):
        said(tmp_path, databases, source)


def test_without_a_file_there_are_none(tmp_path: Path) -> None:
    assert project_invariants(tmp_path) == ()
