"""What becomes of a request with an idempotency key: one row for each case, over real HTTP and a real log."""

import shutil
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from edge_library import Served, library, served

from sagagen.runtime.model.definition import Mesh

KEY = "the-key"
DAY_MS = 86_400_000


class Desk:
    """A library whose gateway can be stopped, killed and deployed anew over the same data."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "first"
        self._folder = folder
        self._stack = AsyncExitStack()
        self.running: Served

    async def open(self, mesh: Mesh | None = None) -> None:
        self.running = await self._stack.enter_async_context(served(self.data_dir, mesh=mesh))

    async def close(self) -> None:
        await self._stack.aclose()

    async def crash(self) -> None:
        """Go on with the data as it is on disk at this moment, which is what kill -9 leaves."""
        shutil.copytree(self.data_dir, self._folder / "after-the-crash")
        self.running.shelf.gate.set()
        await self.close()
        self.data_dir = self._folder / "after-the-crash"
        await self.open()

    async def lend(self, key: str | None = KEY, book: str = "b", **headers: str) -> httpx.Response:
        sent = {**({"idempotency-key": key} if key is not None else {}), **headers}
        return await self.running.client.post("/loans", json={"name": book, "reader": "ann"}, headers=sent)

    def log(self, statement: str, *values: object) -> list[tuple[int]]:
        with closing(sqlite3.connect(self.data_dir / "saga-log.db")) as log, log:
            return log.execute(statement, values).fetchall()


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncGenerator[Desk]:
    desk = Desk(tmp_path)
    await desk.open()
    yield desk
    await desk.close()


async def first(desk: Desk) -> httpx.Response:
    return await desk.lend()


async def replay_of_a_success(desk: Desk) -> httpx.Response:
    answer = await desk.lend()
    again = await desk.lend()
    assert again.content == answer.content
    return again


async def replay_of_a_refusal(desk: Desk) -> httpx.Response:
    answer = await desk.lend(book="lost")
    again = await desk.lend(book="lost")
    assert again.content == answer.content
    return again


async def duplicate_under_way(desk: Desk) -> httpx.Response:
    assert (await desk.lend(book="slow")).status_code == 202
    answer = await desk.lend(book="slow")
    assert int(answer.headers["retry-after"]) >= 1
    desk.running.shelf.gate.set()
    return answer


async def other_payload(desk: Desk) -> httpx.Response:
    await desk.lend()
    return await desk.lend(book="another")


async def missing(desk: Desk) -> httpx.Response:
    return await desk.lend(key=None)


async def malformed(desk: Desk) -> httpx.Response:
    return await desk.lend('"not closed')


async def two_headers(desk: Desk) -> httpx.Response:
    return await desk.lend(**{"x-idempotency-key": "another-key"})


async def expired(desk: Desk) -> httpx.Response:
    await desk.lend()
    await desk.running.engine.wait_until_idle()
    desk.log("UPDATE saga SET started_ms = started_ms - ?", 31 * DAY_MS)
    return await desk.lend()


async def after_a_crash(desk: Desk) -> httpx.Response:
    accepted = await desk.lend(book="slow")
    await desk.crash()
    desk.running.shelf.gate.set()
    await desk.running.engine.wait_until_idle()
    answer = await desk.lend(book="slow")
    assert answer.json()["loan_id"] == accepted.json()["id"]
    return answer


async def after_a_deployment(desk: Desk) -> httpx.Response:
    answer = await desk.lend()
    await desk.close()
    mesh = library().mesh
    newer = replace(
        mesh.sagas[0], version=2, digest="0" * 64, respond=replace(mesh.sagas[0].respond, status=200)
    )
    await desk.open(replace(mesh, sagas=(*mesh.sagas, newer)))
    again = await desk.lend()
    assert again.content == answer.content
    assert (await desk.lend(key="new")).status_code == 200
    return again


async def other_caller(desk: Desk) -> httpx.Response:
    await desk.lend(**{"x-caller": "ann"})
    return await desk.lend(**{"x-caller": "bob"})


async def other_route(desk: Desk) -> httpx.Response:
    await desk.lend()
    return await desk.running.client.delete("/loans/b", headers={"idempotency-key": KEY})


async def validation_failure(desk: Desk) -> httpx.Response:
    assert (await desk.lend(book="")).json()["reason"] == "VALIDATION_FAILED"
    return await desk.lend()


async def infrastructure_failure(desk: Desk) -> httpx.Response:
    await desk.lend(book="burning")
    answer = await desk.lend(book="burning")
    assert "retry-after" not in answer.headers
    return answer


@dataclass(frozen=True)
class Expected:
    status: int
    reason: str = ""
    is_replay: bool = False
    sagas: int = 1
    """In the log afterwards."""


Case = Callable[[Desk], Awaitable[httpx.Response]]
CASES: list[tuple[Case, Expected]] = [
    (first, Expected(201)),
    (replay_of_a_success, Expected(201, is_replay=True)),
    (replay_of_a_refusal, Expected(400, "BOOK_LOST", is_replay=True)),
    (duplicate_under_way, Expected(409, "IDEMPOTENCY_CONFLICT")),
    (other_payload, Expected(422, "IDEMPOTENCY_KEY_REUSED")),
    (missing, Expected(400, "IDEMPOTENCY_KEY_MISSING", sagas=0)),
    (malformed, Expected(400, "IDEMPOTENCY_KEY_INVALID", sagas=0)),
    (two_headers, Expected(400, "IDEMPOTENCY_KEY_INVALID", sagas=0)),
    (expired, Expected(409, "KEY_EXPIRED")),
    (after_a_crash, Expected(201, is_replay=True)),
    (after_a_deployment, Expected(201, is_replay=True, sagas=2)),
    (other_caller, Expected(201, sagas=2)),
    (other_route, Expected(202, sagas=2)),
    (validation_failure, Expected(201)),
    (infrastructure_failure, Expected(502, "SAGA_COMPENSATED", is_replay=True)),
]


@pytest.mark.parametrize(("case", "expected"), CASES, ids=[case.__name__ for case, _ in CASES])
async def test_idempotency(desk: Desk, case: Case, expected: Expected) -> None:
    answer = await case(desk)
    assert answer.status_code == expected.status, answer.text
    assert answer.json().get("reason", "") == expected.reason
    assert (answer.headers.get("idempotency-replayed") == "true") is expected.is_replay
    await desk.running.engine.wait_until_idle()
    assert desk.log("SELECT count(*) FROM saga") == [(expected.sagas,)]
