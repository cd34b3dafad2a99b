"""Sagas of any shape, as the contract's model has them: their calls are the shop's."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import count

from hypothesis import strategies as st
from stack import REPOSITORY

from sagagen.contract import read_contract
from sagagen.contract.model import (
    Branch,
    Cancel,
    Decline,
    Delay,
    Element,
    Event,
    ForEach,
    Mesh,
    Parallel,
    Saga,
    Step,
    Wait,
)
from sagagen.expression import ListExpr, ValueExpr
from sagagen.expression.tree import Constant
from sagagen.expression.types import Simple
from sagagen.runtime.model.definition import StepKind

TRUE = ValueExpr(Constant(True, Simple.BOOL))
LIST = ListExpr(TRUE.root, Simple.STRING)


@cache
def shop_s_mesh() -> Mesh:
    mesh, findings = read_contract(REPOSITORY)
    assert mesh, findings
    return mesh


def shop_s() -> Saga:
    return shop_s_mesh().sagas[0]


class Elements:
    """Draws elements, each with a name of its own."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._names = (f"e{number}" for number in count(1))
        self._undone = next(step for step in shop_s().calls if step.compensation)

    def list_of(self, kind: StepKind, least: int, depth: int = 2) -> tuple[Element, ...]:
        number = self._draw(st.integers(least, 3))
        return tuple(self.one(kind, depth) for _ in range(number))

    def one(self, kind: StepKind, depth: int) -> Element:
        makers = [self.step, self.step, self.wait, self.delay, *([self.block] if depth else [])]
        made = self._draw(st.sampled_from(makers))(kind, depth)
        return replace(made, when=TRUE) if self._flag() else made

    def step(self, kind: StepKind, depth: int = 0) -> Step:
        is_undone = kind is StepKind.COMPENSATABLE and self._flag()
        compensation = self._undone.compensation if is_undone else None
        loop = ForEach("item", LIST, None, 2, 10) if kind is not StepKind.PIVOT and self._flag() else None
        gives_up = kind is StepKind.RETRIABLE and self._flag()
        step = replace(self._undone, name=next(self._names), kind=kind, compensation=compensation)
        return replace(step, for_each=loop, gives_up=gives_up)

    def wait(self, kind: StepKind, depth: int = 0) -> Wait:
        is_retriable = kind is StepKind.RETRIABLE
        goes_on = is_retriable or (kind is not StepKind.PIVOT and self._flag())
        return Wait(
            next(self._names),
            kind,
            "told",
            600.0 if is_retriable or goes_on or self._flag() else None,
            shop_s().span,
            decline=Decline(TRUE, "NO") if not is_retriable and self._flag() else None,
            on_timeout=None if goes_on else "SILENT",
        )

    def delay(self, kind: StepKind, depth: int = 0) -> Delay:
        at_most_s = 60.0 if self._flag() else None
        after = None if at_most_s is None else TRUE
        fixed = 5.0 if after is None else None
        return Delay(next(self._names), kind, shop_s().span, fixed, after, None, at_most_s)

    def block(self, kind: StepKind, depth: int) -> Parallel:
        name = next(self._names)
        branches = tuple(
            Branch(branch, self.list_of(kind, 1, depth - 1), shop_s().span) for branch in ("left", "right")
        )
        return Parallel(name, kind, branches, shop_s().span)

    def pivot(self) -> Element:
        return self.wait(StepKind.PIVOT) if self._flag() else self.step(StepKind.PIVOT)

    def _flag(self) -> bool:
        return self._draw(st.booleans())


@st.composite
def sagas(draw: st.DrawFn) -> Saga:
    elements = Elements(draw)
    steps = (
        *elements.list_of(StepKind.COMPENSATABLE, 1),
        elements.pivot(),
        *elements.list_of(StepKind.RETRIABLE, 0),
    )
    saga = shop_s()
    cancel = Cancel(saga.trigger, TRUE, "NO_LONGER_WANTED", None, saga.span) if draw(st.booleans()) else None
    return replace(
        saga, steps=steps, events=(Event("told", saga.trigger, TRUE, None, None, saga.span),), cancel=cancel
    )


def diagrams(page: str) -> Iterator[str]:
    """The Mermaid diagrams of a page."""
    for part in page.split("```mermaid\n")[1:]:
        yield part.partition("```")[0]
