"""What the matrix expects of a saga of any shape is what the engine decides, though neither asks the other."""

from hypothesis import HealthCheck, given, settings
from made_up_trees import sagas, shop_s

from sagagen.contract.model import Saga
from sagagen.emit.failure_paths import ITEMS, Fault, failure_paths
from sagagen.emit.on_paper import on_paper
from sagagen.runtime.model import definition
from sagagen.runtime.model.definition import Step, StepKind, Wait, leaves
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.scope import item_key, step_name
from sagagen.testing.matrix.oracle import expected, is_without_end
from sagagen.testing.matrix.rows import Row, Way, rows
from sagagen.testing.places import Reached

ANY_SHAPE = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def all_of(saga: definition.Saga) -> Reached:
    """Every element is, and every loop has two items."""
    return {
        each.name: tuple(item_key(each.name, item) for item in ITEMS) if is_loop(each) else (each.name,)
        for each in leaves(saga.steps)
    }


def is_loop(element: definition.Element) -> bool:
    return isinstance(element, Step) and element.for_each is not None


def way_of(saga: definition.Saga, element: Step | Wait | definition.Delay, fault: Fault) -> Way | None:
    """The row that goes wrong in the same way; None where there is none."""
    match fault, element:
        case Fault.DECLINED, Step():
            return Way.DECLINED
        case Fault.DECLINED, _:
            return Way.EVENT_DECLINES
        case Fault.NO_ANSWER, _:
            return Way.KEEPS_FAILING
        case Fault.TIMED_OUT, Wait() if not is_without_end(saga, element):
            return Way.NEVER
        case Fault.CANCELLED, _ if not (isinstance(element, Step) and element.kind is StepKind.PIVOT):
            return Way.CANCELLED
        case _:
            return None


@ANY_SHAPE
@given(sagas())
def test_every_end_and_all_that_is_undone_is_what_the_engine_decides(contract: Saga) -> None:
    saga = on_paper(contract)
    elements = {element.name: element for element in leaves(saga.steps)}
    for (name, fault), path in failure_paths(contract).items():
        way = way_of(saga, elements[name], fault)
        if way is None:
            continue
        hit = all_of(saga).get(name, (name,))[-1]
        said = expected(saga, Row(saga.name, name, way, hit), all_of(saga))
        undone = {each.step for each in path.undone if not each.is_left}
        assert said.status is path.status, (name, fault)
        assert {step_name(key) for key in said.undone} <= undone, (name, fault)
        assert undone <= {step_name(key) for key in said.undone | said.may_be_undone}, (name, fault)


@ANY_SHAPE
@given(sagas())
def test_each_element_that_is_reached_has_its_rows_and_each_row_a_name_of_its_own(contract: Saga) -> None:
    saga = on_paper(contract)
    found = list(rows(saga, all_of(saga), lambda _: ("NO", "NEVER_EVER")))
    names = [row.name for row in found]
    assert len({*names}) == len(names)
    assert {row.element for row in found if row.element} == {each.name for each in leaves(saga.steps)}
    for row in found:
        assert expected(saga, row, all_of(saga)).status in SagaStatus


def test_a_step_that_no_sample_reaches_has_no_row() -> None:
    saga = on_paper(shop_s())
    reached = {name: keys for name, keys in all_of(saga).items() if name != "reserve_stock"}
    assert "reserve_stock" not in {row.element for row in rows(saga, reached, lambda _: ())}
