"""`GET /sagas` over real HTTP: a caller's own sagas, a page at a time, and nothing of anybody else's."""

from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from edge_library import Served, served

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with served(tmp_path_factory.mktemp("own")) as running:
        yield running


async def lend(library: Served, caller: str, key: str, book: str = "b") -> str:
    """Lend a book; the saga's id."""
    headers = {"x-caller": caller, "idempotency-key": key}
    answer = await library.client.post("/loans", json={"name": book, "reader": caller}, headers=headers)
    return answer.json().get("loan_id") or answer.json()["saga_id"]


async def asked(library: Served, caller: str, query: str = "") -> httpx.Response:
    return await library.client.get(f"/sagas{query}", headers={"x-caller": caller})


async def listed(library: Served, caller: str, query: str = "") -> list[str]:
    answer = await asked(library, caller, query)
    assert answer.status_code == 200, answer.text
    return [saga["id"] for saga in answer.json()["sagas"]]


async def pages(library: Served, caller: str, query: str) -> list[list[str]]:
    found: list[list[str]] = []
    token: Any = ""
    while token is not None:
        answer = (await asked(library, caller, f"?{query}&page_token={token}")).json()
        found.append([saga["id"] for saga in answer["sagas"]])
        token = answer["next_page_token"]
    return found


async def test_a_caller_sees_own_sagas_and_no_others(library: Served) -> None:
    of_ada = [await lend(library, "ada", f"ada-{number}") for number in range(5)]
    of_bob = await lend(library, "bob", "bob-1")
    assert await listed(library, "ada") == of_ada[::-1]
    assert await listed(library, "bob") == [of_bob]
    assert await listed(library, "eve") == []
    assert await pages(library, "ada", "page_size=2") == [of_ada[:2:-1], of_ada[2:0:-1], of_ada[:1]]
    assert await pages(library, "ada", "page_size=5") == [of_ada[::-1]]


async def test_a_saga_is_listed_as_it_is_shown(library: Served) -> None:
    saga_id = await lend(library, "carl", "carl-1")
    (summary,) = (await asked(library, "carl")).json()["sagas"]
    shown = (await library.client.get(f"/sagas/{saga_id}", headers={"x-caller": "carl"})).json()
    assert summary == {name: shown[name] for name in summary}
    assert {"id", "status", "created_at"} < set(summary)


async def test_statuses_narrow_the_list(library: Served) -> None:
    lent = await lend(library, "dora", "dora-1")
    refused = await lend(library, "dora", "dora-2", book="lost")
    assert await listed(library, "dora", "?status=COMPLETED") == [lent]
    assert await listed(library, "dora", "?status=COMPENSATED&status=RUNNING") == [refused]
    assert await listed(library, "dora", "?status=COMPENSATED,COMPLETED") == [refused, lent]
    assert await listed(library, "dora", "?status=STUCK") == []


async def test_a_token_of_another_caller_opens_nothing(library: Served) -> None:
    foreign = await lend(library, "fay", "fay-1")
    for token in (foreign, "none", "%27%20OR%201=1"):
        answer = await asked(library, "gil", f"?page_token={token}")
        assert (answer.status_code, answer.json()["violations"][0]["field"]) == (400, "page_token")


async def test_whom_nobody_knows_is_shown_no_list(library: Served) -> None:
    await lend(library, "anonymous", "anonymous-1")
    answer = await asked(library, "anonymous")
    assert (answer.status_code, answer.json()["reason"]) == (401, "CALLER_UNKNOWN")
    assert "www-authenticate" in answer.headers


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("status=running", 'status: running is no status; did you mean "RUNNING"?'),
        ("status=LOST", "status: LOST is no status; there are: RUNNING, COMPENSATING,"),
        ("page_size=101", "page_size: is a number from 1 to 100"),
        ("page_size=-1", "page_size: is a number from 1 to 100"),
        ("page_token=a&page_token=b", "page_token: stands there more than once"),
        ("pagesize=3", 'pagesize: is no parameter of this route; did you mean "page_size"?'),
    ],
)
async def test_what_is_asked_wrong_is_named(library: Served, query: str, said: str) -> None:
    answer = await asked(library, "hal", f"?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_PARAMETERS")
    assert said in answer.json()["detail"]
