"""The sagas of the corpus: what each is asked for, and what goes wrong with it (handlers/trouble.py of the project)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

TRIPS, POINTS, GREETINGS = "/trips", "/points", "/greetings"


@dataclass(frozen=True)
class Journey:
    """A request that starts a saga. Its key says where the saga stands in the end."""

    key: str
    script: Sequence[str] = ()
    path: str = TRIPS
    fields: Mapping[str, str] = field(default_factory=lambda: {"guest": "ann", "seat": "7", "copies": "1"})

    def asked(self) -> dict[str, object]:
        return {"path": self.path, "body": self.body()}

    def body(self) -> dict[str, object]:
        return {**(self.fields if self.path == TRIPS else {}), "script": list(self.script)}


def trip(key: str, *script: str, seat: str = "7", copies: str = "1") -> Journey:
    return Journey(key, script, fields={"guest": "ann", "seat": seat, "copies": copies})


# Another gateway has run these before, and at least one service remembers that.
ELSEWHERE = trip("superseded")
ELSEWHERE_OTHERWISE = trip("superseded: another payload", "nothing: goes wrong")
ELSEWHERE_LATER = trip("turned back: another run at the bank", "charge_card: declined")
ELSEWHERE_AFTER_PIVOT = trip("stuck: another run at the mail")

FORGOTTEN = trip("stuck: the action is forgotten", "hold_seat: away")
FORGOTTEN_UNDO = trip("stuck: the compensation is forgotten", "charge_card: declined", "undo hold_seat: away")
REMEMBERED = trip("completed: while others are forgotten")

RESTORED = (
    trip("stuck: another payload after a restore", "open_trip: away", "charge_card: down"),
    trip("turned back: undone before a restore", "hold_seat: away", "charge_card: declined"),
)

HASTY = (
    trip("turned back: too late", "hold_seat: down"),
    trip("stuck: hold_seat is not undone", "charge_card: declined", "undo hold_seat: down"),
    trip("stuck: charge_card is not undone", "confirm_trip: declined", "undo charge_card: down"),
    trip("stuck: the ticket is not sent", "send_ticket: down"),
)
TO_BE_RETRIED = trip("retried: fails again", "charge_card: declined", "undo hold_seat: down")
TO_BE_RESOLVED = trip(
    "resolved: the next one fails", "charge_card: declined", "undo hold_seat: down", "undo open_trip: down"
)
TO_BE_RETRIED_AT_REST = trip("retried: not acted on yet", "charge_card: declined", "undo hold_seat: down")
OF_OPERATORS = (TO_BE_RETRIED, TO_BE_RESOLVED, TO_BE_RETRIED_AT_REST)

# Since schema 5. Those that an operator says are done, or leaves out:
TO_BE_DONE = trip("done by hand: completed", "send_ticket: down")
TO_BE_DONE_AND_GO_ON = trip("done by hand: add_points fails", "send_ticket: down", "add_points: down")
TO_BE_DONE_AT_REST = trip("done by hand: not acted on yet", "send_ticket: down")
TO_BE_SKIPPED = trip("skipped: completed", "send_ticket: down")
TO_BE_SKIPPED_AND_GO_ON = trip("skipped: add_points fails", "send_ticket: down", "add_points: down")
TO_BE_SKIPPED_AT_REST = trip("skipped: not acted on yet", "send_ticket: down")
SETTLED = (TO_BE_DONE, TO_BE_DONE_AND_GO_ON, TO_BE_SKIPPED, TO_BE_SKIPPED_AND_GO_ON)
SETTLED_AT_REST = (TO_BE_DONE_AT_REST, TO_BE_SKIPPED_AT_REST)

OF_VERSION_2 = trip("running: waits for version 2", "hold_seat: down")

RESUMED = (
    trip("resumed: hold_seat fails", "hold_seat: down"),
    trip("resumed: charge_card is in doubt", "charge_card: silent"),
    trip("resumed: the pivot is in doubt", "confirm_trip: down"),
    trip("resumed: after the pivot", "send_ticket: down"),
    trip("resumed: hold_seat is being undone", "charge_card: declined", "undo hold_seat: down"),
)

ENDED = (
    trip("completed"),
    trip("turned back: hold_seat declined", "hold_seat: declined"),
    trip("turned back: the pivot declined", "confirm_trip: declined"),
    trip("turned back: note_guest is in doubt", "note_guest: broken"),
    trip("turned back: hold_seat is in doubt", "hold_seat: broken"),
    trip("turned back: the request is not built", seat="window"),
    Journey("points: completed", path=POINTS),
    Journey("points: turned back", ["send_ticket: declined"], POINTS),
    Journey("greeting: completed", path=GREETINGS),
)

NOT_BUILT = trip("stuck: the request after the pivot is not built", copies="many")
NOT_WRITTEN = trip("stuck: the answer is not written", "hold_seat: endless")
"""Until schema 4: a handler that responds with what JSON can't say has failed since."""

ACTIVE = (
    trip("running: nothing is done", "look: silent"),
    trip("running: open_trip fails", "open_trip: down"),
    trip("running: note_guest fails", "note_guest: down"),
    trip("running: hold_seat fails", "hold_seat: down"),
    trip("running: charge_card is called", "charge_card: silent"),
    trip("running: charge_card fails", "charge_card: down"),
    trip("running: the pivot is in doubt", "confirm_trip: down"),
    trip("running: send_ticket fails", "send_ticket: down"),
    trip("running: add_points fails", "add_points: down"),
    trip("undoing: charge_card is in doubt", "charge_card: broken"),
    trip("undoing: charge_card fails", "confirm_trip: declined", "undo charge_card: down"),
    trip("undoing: charge_card is called", "confirm_trip: declined", "undo charge_card: silent"),
    trip("undoing: hold_seat fails", "charge_card: declined", "undo hold_seat: down"),
    trip("undoing: open_trip fails", "hold_seat: broken", "undo open_trip: down"),
    Journey("points: add_points fails", ["add_points: down"], POINTS),
    Journey("points: the pivot is in doubt", ["send_ticket: down"], POINTS),
    Journey("greeting: fails", ["send_ticket: down"], GREETINGS),
)
TO_BE_CANCELLED = trip("cancelled: open_trip is not undone", "hold_seat: down", "undo open_trip: down")
TO_BE_CANCELLED_AT_REST = trip("cancelled: not acted on yet", "charge_card: down")

# Since schema 5. Those that an operator holds:
HELD = (
    trip("held: charge_card fails", "charge_card: down"),
    trip("held: the pivot is in doubt", "confirm_trip: down"),
    trip("held: hold_seat is not undone", "charge_card: declined", "undo hold_seat: down"),
)
TO_BE_HELD_AT_REST = trip("held: not acted on yet", "hold_seat: down")
TO_BE_REFUSED = trip("refused by hand: compensated", "confirm_trip: down")
TO_BE_REFUSED_AND_GO_BACK = trip(
    "refused by hand: hold_seat fails", "confirm_trip: down", "undo hold_seat: down"
)
TO_BE_REFUSED_AT_REST = trip("refused by hand: not acted on yet", "confirm_trip: down")
REFUSED = (TO_BE_REFUSED, TO_BE_REFUSED_AND_GO_BACK)

LAST = Journey("greeting: the last", path=GREETINGS)
"""Its commit takes along what is known of the others' attempts."""

CALLED = Journey("points: the pivot is called", path=POINTS)
"""Its service does not get to answer, so the log knows nothing of the call."""
