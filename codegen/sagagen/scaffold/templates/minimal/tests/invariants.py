"""What holds whenever no booking is under way. `sagagen test --matrix` and `sagagen simulate` ask for it."""

from collections.abc import Iterator

from sagagen.testing.invariants import Databases

SEATS = 10


def invariant_every_seat_that_is_held_is_confirmed(databases: Databases) -> Iterator[str]:
    for row in databases["booking"].execute("SELECT * FROM bookings WHERE status <> 'CONFIRMED'"):
        yield f"booking {row['booking_id']} of {row['guest']} is {row['status']}"


def invariant_no_seat_is_booked_twice(databases: Databases) -> str:
    ((taken,),) = databases["booking"].execute("SELECT count(*) FROM bookings")
    return "" if taken <= SEATS else f"{taken} of {SEATS} seats are taken"
