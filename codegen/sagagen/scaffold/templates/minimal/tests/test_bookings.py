"""Bookings end confirmed, or with no seat held: the whole mesh in this process, on virtual time."""

import pytest

from generated.mesh import MESH
from generated.pb.booking.v1 import HoldSeatRequest
from handlers.booking import SEATS, BookingService
from sagagen.runtime import Declined
from sagagen.testing import Moment, SagaTest, handler_test, saga_test


async def seats_taken(t: SagaTest) -> int:
    return (await t.get("/seats")).json["taken"]


async def test_a_guest_gets_a_seat() -> None:
    async with saga_test(MESH) as t:
        answer = await t.post("/bookings", {"guest": "ann"})
        assert (answer.status, answer.json["guest"]) == (201, "ann")
        assert t.saga.called == ["hold", "confirm"]
        assert await seats_taken(t) == 1


async def test_the_same_key_is_the_same_booking() -> None:
    async with saga_test(MESH) as t:
        first = await t.post("/bookings", {"guest": "bob"}, key="bob-1")
        again = await t.post("/bookings", {"guest": "bob"}, key="bob-1")
        assert again.json == first.json
        assert await seats_taken(t) == 1


async def test_a_seat_that_is_not_confirmed_is_given_back() -> None:
    async with saga_test(MESH) as t:
        answer = await t.post("/bookings", {"guest": "mallory"})
        assert (answer.status, answer.json["reason"]) == (400, "UNWELCOME")
        assert (t.saga.status, t.saga.compensated) == ("COMPENSATED", ["hold"])
        assert await seats_taken(t) == 0


@pytest.mark.parametrize("moment", Moment)
async def test_wherever_a_process_dies_no_seat_is_lost_or_taken_twice(moment: Moment) -> None:
    async with saga_test(MESH) as t:
        t.crash("hold", moment)
        t.lose_answer("confirm")
        assert (await t.post("/bookings", {"guest": "ann"})).status == 201
        assert t.databases["booking"].rows("SELECT status FROM bookings") == [{"status": "CONFIRMED"}]


async def test_there_are_so_many_seats_and_no_more() -> None:
    async with handler_test(BookingService) as t:
        for number in range(SEATS):
            request = HoldSeatRequest(booking_id=str(number), guest="ann")
            await t.call(BookingService.hold_seat, request, saga=str(number))
        with pytest.raises(Declined, match="SOLD_OUT"):
            await t.call(
                BookingService.hold_seat, HoldSeatRequest(booking_id="late", guest="bob"), saga="late"
            )
