"""A call that a saga made, as its gateway saw it."""

from dataclasses import dataclass
from typing import Any

from sagagen.runtime.model.definition import Direction, Method
from sagagen.testing.trace import called


@dataclass(slots=True, eq=False, repr=False)
class CallMade:
    """One attempt."""

    saga_id: str
    step: str
    """In a loop with the item's key: `reserve[margherita]`."""
    direction: Direction
    attempt: int
    """Starts at 1."""
    service: str
    method: Method[Any, Any]
    sent: bytes
    """The request, encoded."""
    outcome: str = ""
    """`DONE`, or the error: `FAILED_PRECONDITION: SOLD_OUT: none left`; empty if the gateway never learned of it."""
    received: bytes = b""
    """The response, encoded."""

    @property
    def is_compensation(self) -> bool:
        return self.direction is Direction.COMPENSATION

    @property
    def request(self) -> Any:
        """The message that was sent."""
        return self.method.request.parse(self.sent)

    @property
    def response(self) -> Any:
        """The message that came back. Raises ValueError if none did."""
        if self.outcome != "DONE":
            raise ValueError(f"{self!r} has no response")
        return self.method.response.parse(self.received)

    def __str__(self) -> str:
        """`reserve`, or `undo reserve`."""
        return called(self.step, self.direction)

    def __repr__(self) -> str:
        return f"<{self} #{self.attempt}: {self.outcome or 'no answer'}>"
