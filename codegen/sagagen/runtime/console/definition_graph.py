"""Where the elements of a saga stand in its picture: what is done downwards, and beside it, upwards, what undoes it.

Pure: from a definition, figures about it and the steps of one saga to boxes and lines, in pixels, which
`templates/graph.html` draws. Blocks of branches are frames whose branches stand side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sagagen.runtime.model.definition import (
    Delay,
    Direction,
    Element,
    Parallel,
    Saga,
    Step,
    StepKind,
    Wait,
)
from sagagen.runtime.saga.figures import CallFigures, DefinitionFigures
from sagagen.runtime.saga.view import StepStatus

BOX_W, BOX_H = 224, 60
GAP_Y = 48
UNDO_GAP, UNDO_W = 34, 206
PILL_H = 28
PAD = 16
HEADER_H = 34
LEAST_LANE_W = 330
"""Room for what stands beside the lines."""
LETTERS = 28
UNDO_LETTERS = 22

_UNTOUCHED = frozenset({StepStatus.PENDING, StepStatus.NOT_CALLED})
_BACK = frozenset({StepStatus.COMPENSATED, StepStatus.COMPENSATING, StepStatus.PASSED_OVER})
_TONES: Mapping[StepStatus, str] = {
    StepStatus.DONE: "good",
    StepStatus.RUNNING: "going",
    StepStatus.WAITING: "going",
    StepStatus.STUCK: "bad",
    StepStatus.REFUSED: "bad",
    StepStatus.GAVE_UP: "bad",
    StepStatus.IN_DOUBT: "back",
    StepStatus.TIMED_OUT: "back",
    StepStatus.COMPENSATED: "back",
    StepStatus.COMPENSATING: "back",
}


_TURNED_BACK = frozenset({StepStatus.NOT_CALLED, StepStatus.REFUSED})
"""What a step is only where the saga has turned back."""


@dataclass(frozen=True, slots=True)
class Box:
    x: int
    y: int
    w: int
    h: int
    kind: str
    """call, undo, wait, delay, or pill."""
    name: str
    line: str
    """What it calls, or waits for."""
    tone: str = ""
    """Of the saga that is lit: a class of console.css; empty: it was not there."""
    here: int = 0
    """Open sagas at it."""
    stuck: int = 0
    marks: str = ""
    """What is special about it; of what undoes a step the figures of its calls."""
    is_bad: bool = False
    """Calls of what undoes a step fail."""


@dataclass(frozen=True, slots=True)
class Line:
    path: str
    """As of SVG."""
    kind: str
    """down, or undo."""
    label: str = ""
    label_x: int = 0
    label_y: int = 0
    is_bad: bool = False
    """Calls fail."""
    is_lit: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    x: int
    y: int
    w: int
    h: int
    label: str


@dataclass(slots=True)
class Graph:
    width: int = 0
    height: int = 0
    boxes: list[Box] = field(default_factory=list[Box])
    lines: list[Line] = field(default_factory=list[Line])
    frames: list[Frame] = field(default_factory=list[Frame])


@dataclass(frozen=True, slots=True)
class _Point:
    x: int
    y: int


def graph_of(
    saga: Saga,
    figures: DefinitionFigures | None,
    lit: Mapping[str, StepStatus],
    trigger: str,
) -> Graph:
    """`lit` are the steps of one saga, by name; empty: none is lit. `trigger` is what starts it."""
    return _Drawing(saga, figures, lit).drawn(trigger)


class _Drawing:
    def __init__(self, saga: Saga, figures: DefinitionFigures | None, lit: Mapping[str, StepStatus]) -> None:
        self._saga = saga
        self._figures = figures
        self._lit = lit
        self._is_back = any(status in _BACK or status in _TURNED_BACK for status in lit.values())
        """The saga that is lit has turned back: what is stuck is stuck at its undoing."""
        self._graph = Graph()

    def drawn(self, trigger: str) -> Graph:
        graph, middle = self._graph, PAD + BOX_W // 2
        graph.boxes.append(Box(PAD, PAD, BOX_W, PILL_H, "pill", _cut(trigger, LETTERS), "", _if(self._lit)))
        width, end = self._list(self._saga.steps, PAD, _Point(middle, PAD + PILL_H))
        is_over = bool(self._lit) and all(status not in _UNTOUCHED for status in self._lit.values())
        is_done = is_over and not any(status in _BACK for status in self._lit.values())
        y = end.y + GAP_Y // 2
        self._line(end, _Point(middle, y), "", is_lit=is_done)
        graph.boxes.append(Box(PAD, y, BOX_W, PILL_H, "pill", "completed", "", "good" if is_done else ""))
        graph.width, graph.height = width + 2 * PAD, y + PILL_H + PAD
        return graph

    def _list(self, elements: Sequence[Element], x: int, start: _Point) -> tuple[int, _Point]:
        """Elements below each other in a lane that begins at `x`. Returns the lane's width and its last point."""
        width, end, undo_above = LEAST_LANE_W, start, None
        for element in elements:
            top = end.y + GAP_Y
            if isinstance(element, Parallel):
                block_width, end = self._block(element, x, top, end)
                width, undo_above = max(width, block_width), None
                continue
            is_lit = self._lit.get(element.name, StepStatus.PENDING) not in _UNTOUCHED
            entry = _Point(x + BOX_W // 2, top)
            self._line(end, entry, *self._label(element.name, Direction.ACTION), is_lit=is_lit)
            self._graph.boxes.append(self._box(element, x, top))
            if isinstance(element, Step) and element.compensation:
                width = max(width, BOX_W + UNDO_GAP + UNDO_W)
                undo_above = self._undo(element, x + BOX_W + UNDO_GAP, top, undo_above)
            end = _Point(entry.x, top + BOX_H)
        return width, end

    def _block(self, block: Parallel, x: int, top: int, start: _Point) -> tuple[int, _Point]:
        """Branches side by side in a frame."""
        is_lit = any(self._lit.get(name, StepStatus.PENDING) not in _UNTOUCHED for name in _names(block))
        self._line(start, _Point(x + BOX_W // 2, top), "", is_lit=is_lit)
        lane, bottom = x + PAD, top
        place = len(self._graph.frames)
        for branch in block.branches:
            begin = _Point(lane + BOX_W // 2, top + HEADER_H)
            self._graph.boxes.append(
                Box(lane, top + 10, BOX_W, HEADER_H - 10, "branch", _cut(branch.name, LETTERS), "")
            )
            width, end = self._list(branch.steps, lane, begin)
            lane, bottom = lane + width + PAD, max(bottom, end.y)
        bottom += PAD
        frame = Frame(x, top, lane - x, bottom - top, _cut(f"{block.name}{_when(block)}", LETTERS))
        self._graph.frames.insert(place, frame)
        return lane - x, _Point(x + BOX_W // 2, bottom)

    def _box(self, element: Step | Wait | Delay, x: int, y: int) -> Box:
        kind, line = _what(element)
        status = self._lit.get(element.name)
        tone = _TONES.get(status, "") if status else ""
        if status in _BACK:
            tone = "good"  # it was done; what came back stands beside it
        elif self._is_stuck_back(element):
            tone = "back"
        here, stuck = self._here(element.name, Direction.ACTION)
        name = _cut(element.name, LETTERS)
        return Box(x, y, BOX_W, BOX_H, kind, name, _cut(line, 34), tone, here, stuck, self._marks(element))

    def _undo(self, step: Step, x: int, y: int, above: _Point | None) -> _Point:
        """What undoes a step: beside it, with a line up to what is undone after it."""
        assert step.compensation
        status = self._lit.get(step.name)
        is_stuck = self._is_stuck_back(step)
        is_lit = is_stuck or (status in _BACK and status is not StepStatus.PASSED_OVER)
        middle = x + UNDO_W // 2
        across = f"M{x - UNDO_GAP} {y + BOX_H // 2}H{x}"
        self._graph.lines.append(Line(across, "undo", is_lit=is_lit))
        if above:
            self._graph.lines.append(Line(f"M{middle} {y}V{above.y}", "undo", is_lit=is_lit))
        here, stuck = self._here(step.name, Direction.COMPENSATION)
        rpc = step.compensation.method.path.rpartition("/")[2]
        tone = "bad" if is_stuck else "back" if is_lit else ""
        line = _cut(f"{step.compensation.service}/{rpc}", 28)
        name = _cut(f"undo {step.name}", UNDO_LETTERS)
        figures, is_bad = self._label(step.name, Direction.COMPENSATION)
        self._graph.boxes.append(
            Box(x, y, UNDO_W, BOX_H, "undo", name, line, tone, here, stuck, figures, is_bad=is_bad)
        )
        return _Point(middle, y + BOX_H)

    def _line(self, start: _Point, end: _Point, label: str, is_bad: bool = False, *, is_lit: bool) -> None:
        at = (end.x + 10, end.y - GAP_Y // 2 + 4)
        path = f"M{start.x} {start.y}V{end.y}"
        self._graph.lines.append(Line(path, "down", label, *at, is_bad=is_bad, is_lit=is_lit))

    def _label(self, name: str, direction: Direction) -> tuple[str, bool]:
        """What stands beside the line to a step, and whether its calls fail."""
        calls = self._figures.calls.get((name, direction)) if self._figures else None
        if calls is None:
            return "", False
        return label_of(calls), calls.failed > 0

    def _is_stuck_back(self, element: Element) -> bool:
        is_stuck = self._lit.get(element.name) is StepStatus.STUCK
        return is_stuck and self._is_back and isinstance(element, Step) and element.compensation is not None

    def _here(self, name: str, direction: Direction) -> tuple[int, int]:
        at = self._figures.at if self._figures else ()
        own = [each for each in at if (each.step, each.direction) == (name, direction)]
        return sum(each.count for each in own), sum(
            each.count for each in own if each.status.value == "STUCK"
        )

    def _marks(self, element: Step | Wait | Delay) -> str:
        marks = [
            "point of no return" if element.kind is StepKind.PIVOT else "",
            "each item" if isinstance(element, Step) and element.for_each else "",
            "if needed" if element.when else "",
            "answers" if element.name == self._saga.respond.after else "",
        ]
        return " · ".join(filter(None, marks))


def _if(lit: Mapping[str, StepStatus]) -> str:
    return "good" if lit else ""


def _names(block: Parallel) -> list[str]:
    return [
        name
        for branch in block.branches
        for element in branch.steps
        for name in (_names(element) if isinstance(element, Parallel) else [element.name])
    ]


def _when(block: Parallel) -> str:
    return " (if needed)" if block.when else ""


def _what(element: Step | Wait | Delay) -> tuple[str, str]:
    match element:
        case Step():
            return "call", calls_of(element)
        case Wait(event=event, within_s=within_s):
            return "wait", f"waits for {event}" + (f", {duration(within_s)}" if within_s else "")
        case Delay(after_s=after_s):
            return "delay", f"waits {duration(after_s)}" if after_s is not None else "waits for a time"


def calls_of(step: Step) -> str:
    return f"{step.action.service}/{step.action.method.path.rpartition('/')[2]}"


def label_of(calls: CallFigures) -> str:
    """`820 done · 7 declined · p99 40 ms · 3.2% fail`."""
    rate = calls.failure_rate
    parts = [
        f"{calls.done} done",
        f"{calls.refused} declined" if calls.refused else "",
        f"p99 {milliseconds(calls.p99_ms)}" if calls.p99_ms is not None else "",
        f"{percent(rate)} fail" if rate else "",
    ]
    return " · ".join(filter(None, parts))


def percent(rate: float) -> str:
    """`3.2%`; never 0% of something, and never 100% of less than all."""
    shown = min(max(rate * 100, 0.1), 100.0)
    return (
        f"{shown:.0f}%" if (shown >= 10 and rate == 1) or 10 <= shown < 99.5 else f"{min(shown, 99.9):.1f}%"
    )


def milliseconds(ms: int | None) -> str:
    if ms is None:
        return ""
    return f"{ms} ms" if ms < 1000 else duration(ms / 1000)


def duration(seconds: float) -> str:
    """`2 s`, `1.5 s`, `30 min`, `7 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
