"""What must hold of any saga, and what a project adds to it.

Built in: each effect happens once, what is done is undone in mirrored order, and a saga leaves all of its effects or
none. They look at what services committed, not at what the engine believes.

A project's own stand in tests/invariants.py: functions named `invariant_*`, or decorated with `@invariant`. Each gets
the services' databases by name and says what is wrong, by AssertionError or by what it returns:

    def invariant_no_stock_is_lost(databases: Databases) -> Iterator[str]:
        for row in databases["inventory"].execute("SELECT * FROM stock WHERE available + reserved != 1000"):
            yield f"{row['product_id']}: {row['available']} + {row['reserved']}"
"""

import importlib.util
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from sagagen.runtime.model.definition import Direction, Saga, Step, StepKind
from sagagen.runtime.saga.events import SagaStatus
from sagagen.testing.places import wrong_orders

INVARIANTS = Path("tests", "invariants.py")
"""Where a project's own are, relative to its root."""
PREFIX = "invariant_"
_MARK = "__sagagen_invariant__"


class Database(Protocol):
    """A service's database, to be read and not written."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Iterable[Any]:
        """Rows, which are read by name or position. Raises what sqlite3 raises."""
        ...


Databases = Mapping[str, Database]
"""The services' databases by name."""
Invariant = Callable[[Databases], Iterable[str] | str | None]
InvariantT = TypeVar("InvariantT", bound=Invariant)


class InvariantsError(Exception):
    """tests/invariants.py can't be used; the message says where and why."""


def invariant(function: InvariantT) -> InvariantT:
    """Mark a function of tests/invariants.py as one that must hold, whatever it is called."""
    setattr(function, _MARK, True)
    return function


@dataclass(frozen=True, slots=True)
class Effect:
    """A write that a service has committed for a step of a saga."""

    saga_id: str
    key: str
    """The step's key."""
    direction: Direction


def project_invariants(root: Path) -> Sequence[tuple[str, Invariant]]:
    """Name and function of each of the project's own. Raises InvariantsError where the file can't be imported."""
    path = root / INVARIANTS
    if not path.exists():
        return ()
    spec = importlib.util.spec_from_file_location("sagagen_project_invariants", path)
    assert spec is not None, "a Python file has one"
    assert spec.loader is not None, "a Python file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InvariantsError(f"{INVARIANTS.as_posix()}{_line(error, path)}: {_said(error)}") from error
    found = [
        (name, cast(Invariant, each))
        for name, each in vars(module).items()
        if callable(each) and (name.startswith(PREFIX) or getattr(each, _MARK, False))
    ]
    if not found:
        hint = f"name functions {PREFIX}..., or decorate them with @invariant of sagagen.testing"
        raise InvariantsError(f"{INVARIANTS.as_posix()} has no invariant: {hint}")
    return found


def broken(invariants: Iterable[tuple[str, Invariant]], databases: Databases, root: Path) -> Iterator[str]:
    """What the project's own invariants say of the databases. One that raises anything else is a mistake in it."""
    for name, check in invariants:
        try:
            said = check(databases)
            problems = (said,) if isinstance(said, str) else tuple(said or ())
        except AssertionError as error:
            yield f"{name}: {error or 'does not hold'}{_line(error, root / INVARIANTS)}"
        except Exception as error:  # noqa: BLE001 - code of the project
            yield f"{name} itself fails{_line(error, root / INVARIANTS)}: {_said(error)}"
        else:
            yield from (f"{name}: {problem}" for problem in problems if problem)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _line(error: BaseException, path: Path) -> str:
    """`:12`, where the error passed through that file."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    found = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path
    ]
    return f":{found[-1]}" if found else ""


# -- built in ------------------------------------------------------------------------------------------------------


def effects_twice(effects: Sequence[Effect]) -> Iterator[str]:
    """Each effect happens once."""
    for effect, count in Counter(effects).items():
        if count > 1:
            yield f"{_named(effect)} took effect {count} times"


def undone_in_wrong_order(saga: Saga, effects: Sequence[Effect]) -> Iterator[str]:
    """What is done last is undone first. `effects`: of one saga, in the order in which they were committed."""
    undone_at = {
        effect.key: moment
        for moment, effect in enumerate(effects)
        if effect.direction is Direction.COMPENSATION
    }
    for first, second in wrong_orders(saga.steps, undone_at):
        yield f"{first} was undone before {second}, which came after it"


def left_in_part(saga: Saga, status: SagaStatus, effects: Sequence[Effect]) -> Iterator[str]:
    """A saga that has ended leaves all of its effects, or none that can be undone."""
    done = {effect.key for effect in effects if effect.direction is Direction.ACTION}
    undone = {effect.key for effect in effects if effect.direction is Direction.COMPENSATION}
    steps: Mapping[str, Step] = {step.name: step for step in saga.calls}
    for key in sorted(undone - done):
        yield f"{key} was undone, and was never done"
    if status is SagaStatus.COMPLETED:
        yield from (f"{key} was undone, and the saga is COMPLETED" for key in sorted(undone))
    elif status is not SagaStatus.STUCK:
        for key in sorted(done - undone):
            step = steps[key.partition("[")[0]]
            if step.kind is not StepKind.COMPENSATABLE:
                yield f"the saga is {status}, and {key} took effect, which nothing undoes"
            elif step.compensation is not None:
                yield f"the saga is {status}, and {key} was not undone"


def _named(effect: Effect) -> str:
    return f"undoing {effect.key}" if effect.direction is Direction.COMPENSATION else effect.key
