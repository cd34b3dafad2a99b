"""Trees of elements that are made up: whatever keeps the rules is accepted, becomes that tree, and has its digest."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from contract_bench import delivery_yaml, resolve_delivery
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import FUZZ_ROUNDS

from sagagen.contract.model import Branch, Delay, Element, Mesh, Parallel, Step, Wait
from sagagen.diagnostics import Diagnostic, Severity

HEAD = delivery_yaml()[: delivery_yaml().index("sagas:")]
SAGA = """defaults: { compensation: { retry: { give_up_after: 1m } } }
sagas:
  made_up:
    trigger: delivery.v1.OrderingService/PlaceOrder
    deadline: 10d
    respond: { after: acceptance, status: 202 }
    events: { answered: { rpc: delivery.v1.TabletService/AnswerTicket, saga_id: event.order_id, allow: true } }
    steps:
"""
LAST = "      - { name: last, wait: answered, within: 1m }\n"


@dataclass(frozen=True)
class Made:
    """A kind of element; a block has branches."""

    verb: str
    when: bool
    branches: "tuple[tuple[Made, ...], ...]" = ()


LEAVES = st.builds(Made, st.sampled_from(["call", "loop", "wait", "delay"]), st.booleans())


def blocks(inner: "st.SearchStrategy[Made]") -> "st.SearchStrategy[Made]":
    branches = st.lists(st.lists(inner, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple)
    return st.builds(Made, st.just("parallel"), st.booleans(), branches)


TREES = st.lists(st.recursive(LEAVES, blocks, max_leaves=6), min_size=1, max_size=4)


def written(tree: list[Made], *, minutes: int = 5, at_once: int = 3) -> str:
    names = (f"s{number}" for number in count())
    pace = {"minutes": minutes, "at_once": at_once}
    return HEAD + SAGA + "".join(_element(each, 6, names, pace) for each in tree) + LAST


def _element(made: Made, indent: int, names: Iterator[str], pace: dict[str, int]) -> str:
    pad, inner = " " * indent, " " * (indent + 2)
    text = f"{pad}- name: {next(names)}\n"
    if made.when:
        text += f"{inner}when: input.total_minor > 5\n"
    match made.verb:
        case "wait":
            return f"{text}{inner}wait: answered\n{inner}within: {pace['minutes']}m\n"
        case "delay":
            return f"{text}{inner}delay: {{ after: {pace['minutes']}m }}\n"
        case "parallel":
            branches = "".join(
                f"{inner}  b{number}:\n" + "".join(_element(each, indent + 6, names, pace) for each in branch)
                for number, branch in enumerate(made.branches)
            )
            return f"{text}{inner}parallel:\n{branches}"
        case verb:
            loop = f"{inner}for_each: {{ item: d, in: input.dishes, key: d.dish_id, at_once: {pace['at_once']} }}\n"
            call = f"{inner}call: payment/AuthorisePayment\n{inner}request: {{ order_id: saga.id }}\n"
            undo = f"{inner}compensate: {{ call: payment/VoidPayment, request: {{ order_id: saga.id }} }}\n"
            return text + (loop if verb == "loop" else "") + call + undo


def shape(elements: tuple[Element, ...]) -> list[Made]:
    return [Made(_verb(each), each.when is not None, _branches(each)) for each in elements]


def _verb(element: Element) -> str:
    match element:
        case Step():
            return "call" if element.for_each is None else "loop"
        case Wait():
            return "wait"
        case Delay():
            return "delay"
        case Parallel():
            return "parallel"


def _branches(element: Element) -> tuple[tuple[Made, ...], ...]:
    branches: tuple[Branch, ...] = element.branches if isinstance(element, Parallel) else ()
    return tuple(tuple(shape(branch.steps)) for branch in branches)


def accepted(found: tuple[Mesh | None, tuple[Diagnostic, ...]]) -> Mesh:
    mesh, findings = found
    assert mesh is not None, findings
    assert Severity.ERROR not in {each.severity for each in findings}
    return mesh


@settings(max_examples=10 * FUZZ_ROUNDS)
@given(TREES)
def test_what_keeps_the_rules_becomes_the_tree_that_is_written(tree: list[Made]) -> None:
    saga = accepted(resolve_delivery(written(tree))).sagas[0]
    assert shape(saga.steps[:-1]) == tree
    names = [each.name for each in saga.calls]
    assert names == sorted(names, key=lambda name: int(name[1:])), "in the order of the file"


@settings(max_examples=10 * FUZZ_ROUNDS)
@given(TREES, st.integers(1, 60), st.integers(1, 1000))
def test_pace_leaves_the_digest_and_structure_does_not(tree: list[Made], minutes: int, at_once: int) -> None:
    def digest(text: str) -> str:
        return accepted(resolve_delivery(text)).sagas[0].digest

    as_it_is = digest(written(tree))
    assert digest(written(tree, minutes=minutes, at_once=at_once)) == as_it_is
    assert digest(written([*tree, Made("delay", when=False)])) != as_it_is
    in_a_block = [Made("parallel", when=False, branches=(tuple(tree),))]
    assert digest(written(in_a_block)) != as_it_is
