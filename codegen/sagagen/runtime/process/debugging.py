"""`sagagen up --debug`: somebody looks at a handler step by step, and nothing else moves meanwhile.

The whole mesh runs in one process, and a prompt holds it. So no time limit may pass while somebody thinks, and nothing
is repeated behind their back.
"""

import inspect
import os
import pdb
import signal
import sys
import threading
from dataclasses import replace
from types import FrameType, TracebackType
from typing import Any

from sagagen.runtime.model.definition import Action, Branch, Element, Mesh, Parallel, Saga, Step
from sagagen.runtime.telemetry.logs import console

PATIENCE_S = 24 * 3600.0
"""What takes the place of every time-out, in seconds."""
_ONCE_S = 0.001
"""The budget of a call that is made once; 0 would stand for the default."""


def unhurried(mesh: Mesh) -> Mesh:
    """The mesh without time-outs and deadlines, and with one attempt of each call. Digests stay: sagas go on with it.

    How long a wait waits for its event is the contract's business, and stays.
    """
    return replace(mesh, sagas=tuple(map(_saga, mesh.sagas)))


def _saga(saga: Saga) -> Saga:
    return replace(
        saga,
        deadline_s=max(saga.deadline_s, PATIENCE_S),
        respond=replace(saga.respond, wait_s=PATIENCE_S),
        steps=tuple(map(_element, saga.steps)),
    )


def _element(element: Element) -> Element:
    match element:
        case Step():
            undo = element.compensation
            return replace(
                element, action=_action(element.action), compensation=_action(undo) if undo else None
            )
        case Parallel():
            branches = (Branch(each.name, tuple(map(_element, each.steps))) for each in element.branches)
            return replace(element, branches=tuple(branches))
        case _:
            return element


def _action(action: Action) -> Action:
    once = replace(action.retry, max_attempts=1, give_up_after_s=_ONCE_S)
    return replace(action, timeout_s=PATIENCE_S, retry=once)


def stop_at_breakpoints() -> None:
    """From now on `breakpoint()` opens a prompt that fits a mesh. `PYTHONBREAKPOINT` wins, as Python has it."""
    if not os.environ.get("PYTHONBREAKPOINT"):
        sys.breakpointhook = _break


def _break(*_args: object, **_options: object) -> None:
    if terminal := console():
        terminal.flush()  # what was told before the prompt stands before it
    here = inspect.currentframe()
    Prompt().set_trace(here.f_back if here else None)


class Prompt(pdb.Pdb):
    """pdb, for code that runs in an event loop.

    Ctrl-C at the prompt is the prompt's own; from `continue` on it stops the mesh again, and does not open a prompt.
    """

    def __init__(self) -> None:
        super().__init__(nosigint=True)

    def interaction(self, frame: FrameType | None, traceback: TracebackType | None) -> None:
        if threading.current_thread() is not threading.main_thread():
            super().interaction(frame, traceback)
            return
        before: Any = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            super().interaction(frame, traceback)
        finally:
            signal.signal(signal.SIGINT, before)
