"""Sagas that try less often: what is repeated for a day is thousands of attempts, each of which shows the same."""

from dataclasses import replace

from sagagen.runtime.model.definition import Action, Element, Mesh, Parallel, Saga, Step, StepKind
from sagagen.runtime.saga.decision import DEFAULT_BUDGET_S

_LONGEST, _FIRST = 10, 20
"""A budget, or a deadline, has room for so many of the longest back-offs, and of the first."""


def slower(mesh: Mesh) -> Mesh:
    """The mesh with longer back-offs. Budgets, deadlines, time-outs and numbers of attempts stay as they are."""
    return replace(mesh, sagas=tuple(map(_saga, mesh.sagas)))


def _saga(saga: Saga) -> Saga:
    return replace(saga, steps=tuple(_element(each, saga.deadline_s) for each in saga.steps))


def _element(element: Element, deadline_s: float) -> Element:
    match element:
        case Parallel():
            branches = (
                replace(each, steps=tuple(_element(inner, deadline_s) for inner in each.steps))
                for each in element.branches
            )
            return replace(element, branches=tuple(branches))
        case Step():
            back, is_undoable = element.compensation, element.kind is StepKind.COMPENSATABLE
            return replace(
                element,
                action=_action(element.action, deadline_s if is_undoable else DEFAULT_BUDGET_S),
                compensation=back and _action(back, DEFAULT_BUDGET_S),
            )
        case _:
            return element


def _action(action: Action, bound_s: float) -> Action:
    retry = action.retry
    bound_s = retry.give_up_after_s or bound_s
    longest_s, first_s = max(retry.max_s, bound_s / _LONGEST), max(retry.initial_s, bound_s / _FIRST)
    return replace(action, retry=replace(retry, initial_s=first_s, max_s=longest_s))
