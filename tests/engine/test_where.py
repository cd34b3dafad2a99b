"""`sagas list --where`: which values the log keeps of a saga, and what finds it."""

from dataclasses import replace
from pathlib import Path

import pytest
from engine_world import World
from hypothesis import given
from hypothesis import strategies as st
from small_mesh import ManualClock, Text, acceptance, saga, step

from sagagen.cli.sagas_where import BadCondition, read_where
from sagagen.runtime.admin.operations import SagaOperations
from sagagen.runtime.admin.parsing import BadOrder, query_of
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.model.definition import IndexValue
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.logged import LoggedSaga
from sagagen.runtime.saga.search import SagaQuery
from sagagen.runtime.saga.where import Both, Comparison, Either, Negated, Where, as_data, where_of
from sagagen.runtime.scope import Scope


def word(scope: Scope[Text]) -> str:
    return scope.input.value


def length(scope: Scope[Text]) -> int:
    return len(scope.input.value)


def is_long(scope: Scope[Text]) -> bool:
    return len(scope.input.value) > 3


def broken(scope: Scope[Text]) -> int:
    raise OverflowError(scope.saga_id)


INDEX = (IndexValue("word", word), IndexValue("length", length), IndexValue("is_long", is_long))
DEFINITION = saga(step("one"), index=(*INDEX, IndexValue("broken", broken)))
WORDS = ("ann", "bob", "caroline", "o'brien")


NOTHING: set[str] = set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('word == "ann"', {"ann"}),
        ('"ann" != word', {"bob", "caroline", "o'brien"}),
        ("length > 3", {"caroline", "o'brien"}),
        ("8 <= length", {"caroline"}),
        ("length > -1 && is_long", {"caroline", "o'brien"}),
        ('!is_long || word == "o\'brien"', {"ann", "bob", "o'brien"}),
        ("is_long == false", {"ann", "bob"}),
        ('!(word < "b") && !(length == 8)', {"bob", "o'brien"}),
        ('length == "3"', NOTHING),
        ("broken == 1", NOTHING),
        ('word == "\' OR TRUE --"', NOTHING),
    ],
)
async def test_what_a_condition_finds(tmp_path: Path, text: str, found: set[str]) -> None:
    world = World(ManualClock())
    async with (
        SagaLog.open(tmp_path / "log.db") as log,
        EmbeddedEngine(sagas=[DEFINITION], log=log, transports={"one": world}) as running,
    ):
        for number, each in enumerate(WORDS):
            await running.accept(acceptance(DEFINITION, f"saga-{number}", each))
        await running.wait_until_idle()
        query = SagaQuery(statuses=tuple(SagaStatus), where=where_of(as_data(read_where(text))))
        ids = {each.accepted.saga_id for each in await log.search(query) if isinstance(each, LoggedSaga)}
        assert {WORDS[int(each.removeprefix("saga-"))] for each in ids} == found
        assert await log.purge("place", 2**62) == len(WORDS), "values go with their saga"
        assert await log.search(replace(query, where=None)) == []


CONSTANTS = st.text(max_size=5) | st.booleans() | st.integers(-(2**63), 2**63 - 1)
COMPARISONS = st.builds(
    Comparison, st.from_regex(r"[a-z]+", fullmatch=True), st.sampled_from(("==", "<", ">=")), CONSTANTS
)
CONDITIONS: st.SearchStrategy[Where] = st.recursive(
    COMPARISONS,
    lambda parts: (
        st.builds(Negated, parts)
        | st.builds(Both, st.tuples(parts, parts))
        | st.builds(Either, st.tuples(parts, parts))
    ),
    max_leaves=8,
)


@given(CONDITIONS)
def test_a_condition_comes_through_json_as_it_was(where: Where) -> None:
    assert where_of(as_data(where)) == where


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("word", None),
        ("word ==", "ends too early"),
        ("word == other", "a text in quotes"),
        ("1 == 1", "the name of an index value"),
        ("word.size() > 1", "the name of an index value"),
        ("word + 'x'", "a comparison is expected"),
        ("total > 1.5", "a whole number"),
    ],
)
def test_what_is_no_condition_is_shown_where_it_is_wrong(text: str, said: str | None) -> None:
    if said is None:
        assert read_where(text) == Comparison("word", "==", True)
        return
    with pytest.raises(BadCondition) as caught:
        read_where(text)
    assert text in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "data", ["{}", "[]", '["==", "a"]', '["~", "a", 1]', '["&&"]', '["==", "a", 1.5]', "["]
)
def test_the_admin_listener_refuses_what_is_no_condition(data: str) -> None:
    with pytest.raises(BadOrder):
        query_of({"where": data})


async def test_a_name_that_no_saga_can_be_found_by_is_told(tmp_path: Path) -> None:
    world = World(ManualClock())
    async with (
        SagaLog.open(tmp_path / "log.db") as log,
        EmbeddedEngine(sagas=[DEFINITION], log=log, transports={"one": world}) as running,
    ):
        operations = SagaOperations(running)
        with pytest.raises(BadOrder, match="no saga can be found by wrod; the contract's index has broken"):
            await operations.list(SagaQuery(where=read_where('wrod == "x"')))
