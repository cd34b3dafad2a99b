"""Two other contracts: generated into a fresh folder, started as processes, and every saga of theirs run."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from shop_invariants import await_terminal
from stack import Stack, keyed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def museum(
    tmp_path_factory: pytest.TempPathFactory, generated_project: Callable[[str], Path]
) -> Iterator[Stack]:
    var = tmp_path_factory.mktemp("museum") / "var"
    services = ("class", "exhibits", "tickets")
    with closing(Stack(var, root=generated_project("nested"), services=services)) as stack:
        stack.start("mesh")
        yield stack


def exhibit(**changes: Any) -> dict[str, Any]:
    return {
        "pieces": {"vase": {"title": "A vase", "size": {"width_m": 0.5}, "century": 12}},
        "opens": "2030-01-31T12:00:00Z",
        "lasts": "3600s",
        "motto": "Look!",
        "room": 7,
        "from": {"class": "abroad", "import": 3},
        "class": "CLASS_1",
        "names": ["one", "", "two"],
    } | changes


def open_exhibit(museum: Stack, key: str, **changes: Any) -> httpx.Response:
    return museum.http.post("/exhibits", json=exhibit(**changes), headers=keyed(key))


def test_a_saga_with_keywords_maps_and_oneofs_answers_at_its_end(museum: Stack) -> None:
    answer = open_exhibit(museum, "opens")
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["crates"] == 3
    assert body["room"] == 7
    assert body["exhibit"]["pieces"]["vase"]["century"] == 12
    assert body["exhibit"]["motto"] == "Look!"
    assert (body["exhibit"]["opens"], body["exhibit"]["lasts"]) == ("2030-01-31T12:00:00Z", "3600s")
    read = museum.http.get(f"/exhibits/{body['exhibit_id']}").json()
    assert read["status"] == "STATUS_OPEN"
    steps = museum.http.get(f"/sagas/{body['exhibit_id']}").json()["steps"]
    assert {step["status"] for step in steps} == {"DONE"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"class": "CLASS_None"}, "NOT_CARRIED"), ({"pieces": {}}, "NOTHING_TO_SEE")],
    ids=["compensatable step", "pivot"],
)
def test_a_refusal_leaves_nothing_behind(museum: Stack, changes: dict[str, Any], reason: str) -> None:
    answer = open_exhibit(museum, f"refused {reason}", **changes)
    assert answer.status_code == 400, answer.text
    problem = answer.json()
    assert problem["reason"] == reason
    saga_id = problem["saga_id"]
    assert await_terminal(museum, [saga_id]) == {saga_id: "COMPENSATED"}
    assert museum.http.get(f"/exhibits/{saga_id}").status_code == 404
    assert not museum.rows("class", f"SELECT 1 FROM crates WHERE exhibit_id = '{saga_id}'")


def test_a_saga_that_answers_at_acceptance_and_needs_no_key(museum: Stack) -> None:
    opened = open_exhibit(museum, "for tickets").json()["exhibit_id"]
    path = f"/exhibits/{opened}/tickets"
    answer = museum.http.post(path, json={"seats": {"adult": 2}, "payment": {"cash_minor": "100"}})
    assert answer.status_code == 202, answer.text
    saga_id = answer.headers["location"].rpartition("/")[2]
    assert await_terminal(museum, [saga_id]) == {saga_id: "COMPLETED"}
    assert museum.rows("tickets", "SELECT text FROM letters")[-1]["text"] == "costs 2400"
    assert museum.http.get(path).json()["tickets"] == "1"


def test_a_declined_first_step_of_it_is_compensated(museum: Stack) -> None:
    opened = open_exhibit(museum, "for nobody").json()["exhibit_id"]
    answer = museum.http.post(f"/exhibits/{opened}/tickets", json={"seats": {"adult": 2}})
    saga_id = answer.headers["location"].rpartition("/")[2]
    assert await_terminal(museum, [saga_id]) == {saga_id: "COMPENSATED"}
    assert museum.http.get(f"/exhibits/{opened}/tickets").json()["tickets"] == "0"


def test_a_saga_behind_a_verb_in_its_path(museum: Stack) -> None:
    opened = open_exhibit(museum, "to be closed").json()["exhibit_id"]
    answer = museum.http.post(f"/exhibits/{opened}:close", json={"for_good": True}, headers=keyed("close"))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"status": "STATUS_CLOSED", "text": "closed"}


def test_the_tiny_project_counts_and_undoes(tmp_path: Path, generated_project: Callable[[str], Path]) -> None:
    with closing(Stack(tmp_path / "var", root=generated_project("tiny"), services=("counter",))) as stack:
        stack.start("up")
        assert stack.http.post("/count", json={"amount": 2}).json() == {"total": "2"}
        assert stack.http.post("/count", json={"amount": 3}).json() == {"total": "5"}
        declined = stack.http.post("/count", json={"amount": -1})
        assert (declined.status_code, declined.json()["reason"]) == (400, "NEGATIVE")
        assert stack.http.post("/count", json={"amount": 1}).json() == {"total": "6"}
