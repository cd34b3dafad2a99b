"""What trips, points and greetings leave in the services' databases: all of it, or nothing that was not undone."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from stack import Stack


@dataclass(frozen=True)
class Effects:
    """Of one saga."""

    trip: str | None = None
    """Status; None if it was never opened."""
    is_held: bool = False
    charge: str | None = None
    """Status; None if nothing was charged."""
    is_sent: bool = False
    points: int = 0


NOTHING = Effects()
WHOLE = {
    "book_trip": Effects("CONFIRMED", is_held=True, charge="CHARGED", is_sent=True, points=12),
    "gather_points": Effects(is_sent=True, points=12),
    "send_greeting": Effects(is_sent=True),
}
"""Of a saga that is COMPLETED."""


def effects_of_all(stack: Stack) -> Mapping[str, Effects]:
    """By saga id; a saga that is not in it had none."""
    found: dict[str, Effects] = defaultdict(Effects)
    for trip_id, status in stack.rows("trips", "SELECT trip_id, status FROM trips"):
        found[trip_id] = replace(found[trip_id], trip=status)
    for (trip_id,) in stack.rows("seats", "SELECT trip_id FROM held"):
        found[trip_id] = replace(found[trip_id], is_held=True)
    for trip_id, status in stack.rows("bank", "SELECT trip_id, status FROM charges"):
        found[trip_id] = replace(found[trip_id], charge=status)
    for trip_id, points in stack.rows("bank", "SELECT trip_id, points FROM points"):
        found[trip_id] = replace(found[trip_id], points=points)
    for (trip_id,) in stack.rows("mail", "SELECT trip_id FROM letters"):
        found[trip_id] = replace(found[trip_id], is_sent=True)
    return found


def left(effects: Effects) -> Effects:
    """Without what was undone: a trip that is closed, a charge that is refunded."""
    return replace(
        effects,
        trip=None if effects.trip == "CLOSED" else effects.trip,
        charge=None if effects.charge == "REFUNDED" else effects.charge,
    )
