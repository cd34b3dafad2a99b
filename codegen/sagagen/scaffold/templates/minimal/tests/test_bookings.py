"""Bookings end confirmed, or with no seat held."""

from conftest import Mesh


def test_a_guest_gets_a_seat(mesh: Mesh) -> None:
    status, booking = mesh.post("/bookings", {"guest": "ann"}, key="ann-1")
    assert status == 201
    assert booking["guest"] == "ann"
    assert mesh.get("/seats") == {"taken": 1}


def test_the_same_key_is_the_same_booking(mesh: Mesh) -> None:
    first = mesh.post("/bookings", {"guest": "bob"}, key="bob-1")
    assert mesh.post("/bookings", {"guest": "bob"}, key="bob-1") == first
    assert mesh.get("/seats") == {"taken": 1}


def test_a_seat_that_is_not_confirmed_is_given_back(mesh: Mesh) -> None:
    status, problem = mesh.post("/bookings", {"guest": "mallory"}, key="mallory-1")
    assert status == 400
    assert problem["reason"] == "UNWELCOME"
    mesh.until(lambda: mesh.get("/seats") == {"taken": 0})
