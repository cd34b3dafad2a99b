"""A rule of the code, taken out of the text of the function that keeps it: what a test of the rule is to notice."""

import inspect
import textwrap
from types import FunctionType
from typing import Any

import pytest


def taken_out(patch: pytest.MonkeyPatch, owner: Any, function: str, was: str, now: str) -> None:
    """Let the function of a class or module read `now` where it reads `was`, until `patch` is undone."""
    original: FunctionType = inspect.unwrap(getattr(owner, function))
    text = textwrap.dedent(inspect.getsource(original))
    assert text.count(was) == 1, f"{function} reads otherwise now, not {was!r}:\n{text}"
    made: dict[str, Any] = {}
    code = compile(text.replace(was, now), original.__code__.co_filename, "exec")
    exec(code, original.__globals__, made)
    patch.setattr(owner, function, made[function])
