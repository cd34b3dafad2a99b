"""*Definition*: a saga's steps as a picture, how they do, and what happens if one fails; on it the way of one saga."""

from collections.abc import Mapping, Sequence
from typing import Any

from sagagen.runtime.admin.figures_shown import definition_asked_for
from sagagen.runtime.clock import rfc3339_or_none
from sagagen.runtime.console.definition_graph import (
    calls_of,
    duration,
    graph_of,
    milliseconds,
    percent,
)
from sagagen.runtime.console.failure_rows import failure_rows
from sagagen.runtime.console.page import Page, View, Visit
from sagagen.runtime.model.definition import (
    Delay,
    Direction,
    Element,
    Mesh,
    Parallel,
    Saga,
    Step,
    Wait,
)
from sagagen.runtime.saga.figures import CallFigures, DefinitionFigures
from sagagen.runtime.saga.view import StepStatus
from sagagen.runtime.scope import step_name

_NO_CALLS = CallFigures(0, 0, 0, 0, None, None)
_WORST = (
    StepStatus.STUCK,
    StepStatus.RUNNING,
    StepStatus.WAITING,
    StepStatus.COMPENSATING,
    StepStatus.REFUSED,
    StepStatus.IN_DOUBT,
    StepStatus.GAVE_UP,
)


async def look(visit: Visit) -> Page:
    operations = visit.desk.operations
    one = await operations.show(visit.asked["saga"]) if "saga" in visit.asked else None
    names = operations.definitions.names
    asked = {"saga": visit.asked.get("name", names[0]), "version": visit.asked.get("version", "")}
    if one:
        asked = {"saga": one["saga"], "version": str(one["version"])}
    saga = definition_asked_for(operations.definitions, asked)
    figures = await operations.figures.of_definition(saga)
    lit = _lit(one) if one else {}
    rows = failure_rows(saga)
    return Page(
        f"{saga.name} version {saga.version}",
        {
            "saga": saga,
            "one": one,
            "choices": [
                (name, version)
                for name in names
                for version in reversed(operations.definitions.versions(name))
            ],
            "graph": graph_of(saga, figures, lit, _trigger(visit.desk.mesh, saga)),
            "steps": list(_steps(saga.steps, figures, lit, ())),
            "figures": figures,
            "since": rfc3339_or_none(figures.since_ms) if figures else None,
            "rows": rows,
            "hit": _hit(one) if one else "",
            "deadline": duration(saga.deadline_s),
            "trigger": _trigger(visit.desk.mesh, saga),
        },
        f"sagagen sagas steps {saga.name} --version {saga.version}",
    )


def _trigger(mesh: Mesh, saga: Saga) -> str:
    routes = (route for route in mesh.routes if route.starts_saga and route.target == saga.name)
    return next((f"{route.verb} {route.template}" for route in routes), saga.trigger.path.rpartition("/")[2])


def _lit(one: Mapping[str, Any]) -> dict[str, StepStatus]:
    """Of a loop, what needs to be looked at most."""
    found: dict[str, StepStatus] = {}
    for step in one["steps"]:
        name, status = step_name(step["name"]), StepStatus(step["status"])
        known = found.get(name)
        if known is None or _rank(status) < _rank(known):
            found[name] = status
    return found


def _rank(status: StepStatus) -> int:
    return _WORST.index(status) if status in _WORST else len(_WORST)


def _hit(one: Mapping[str, Any]) -> str:
    """Name of the step that failed."""
    failed = ("STUCK", "REFUSED", "IN_DOUBT", "TIMED_OUT", "COMPENSATING")
    return next((step_name(each["name"]) for each in one["steps"] if each["status"] in failed), "")


def _steps(
    elements: Sequence[Element],
    figures: DefinitionFigures | None,
    lit: Mapping[str, StepStatus],
    path: tuple[str, ...],
) -> "list[dict[str, Any]]":
    """Rows of the table."""
    found: list[dict[str, Any]] = []
    for element in elements:
        if isinstance(element, Parallel):
            for branch in element.branches:
                found += _steps(branch.steps, figures, lit, (*path, f"{element.name}/{branch.name}"))
            continue
        found.append(_row(element, Direction.ACTION, figures, lit, path))
        if isinstance(element, Step) and element.compensation:
            found.append(_row(element, Direction.COMPENSATION, figures, lit, path))
    return found


def _row(
    element: Step | Wait | Delay,
    direction: Direction,
    figures: DefinitionFigures | None,
    lit: Mapping[str, StepStatus],
    path: tuple[str, ...],
) -> dict[str, Any]:
    calls = (figures.calls.get((element.name, direction)) if figures else None) or _NO_CALLS
    at = (
        [each for each in figures.at if (each.step, each.direction) == (element.name, direction)]
        if figures
        else []
    )
    rate = calls.failure_rate
    return {
        "name": element.name,
        "is_undo": direction is Direction.COMPENSATION,
        "path": " › ".join(path),
        "kind": str(element.kind),
        "what": _what(element, direction),
        "here": sum(each.count for each in at),
        "stuck": sum(each.count for each in at if each.status.value == "STUCK"),
        "attempts": calls.attempts,
        "refused": calls.refused,
        "failed": calls.failed,
        "done": calls.done,
        "rate": percent(rate) if rate else "",
        "p50": milliseconds(calls.p50_ms),
        "p99": milliseconds(calls.p99_ms),
        "status": lit.get(element.name) if direction is Direction.ACTION else None,
    }


def _what(element: Step | Wait | Delay, direction: Direction) -> str:
    match element:
        case Step(compensation=undo) if direction is Direction.COMPENSATION and undo:
            return f"{undo.service}/{undo.method.path.rpartition('/')[2]}"
        case Step():
            return calls_of(element)
        case Wait(event=event):
            return f"waits for {event}"
        case _:
            return "lets time pass"


VIEW = View("definition", "Definition", "/definition", look)
