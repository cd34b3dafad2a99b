"""What all sagas of an engine share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

from sagagen.runtime.engine.admission import Admission
from sagagen.runtime.engine.calls import Calls
from sagagen.runtime.engine.narration import Narrator
from sagagen.runtime.engine.time import SagaTime
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.saga.events import Accepted
from sagagen.runtime.saga.journal import Journal
from sagagen.runtime.saga.result import SagaResult

Ref = TypeVar("Ref")
"""What the journal knows a saga by."""

OnResult = Callable[[Saga, Accepted, SagaResult], None]


@dataclass(frozen=True, slots=True)
class EngineContext(Generic[Ref]):
    """Made once an engine opens."""

    journal: Journal[Ref]
    calls: Calls
    time: SagaTime
    random: Random
    on_result: OnResult | None
    """Called with each result, once that is durable."""
    is_alone: bool = True
    """No other engine can have a run of the same saga: none claims its id."""
    parks: bool = False
    """Sagas that only wait leave memory, and are woken by the journal's times."""
    admission: Admission = field(default_factory=Admission)
    """The line that a saga leaves with its first call."""
    narrator: Narrator | None = None
    """Tells a person at a terminal what becomes of each saga; None: nobody reads it."""
