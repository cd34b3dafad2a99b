"""Starting sagas over real HTTP: keys, replays, conflicts, refusals, and what happens when an answer takes long."""

import asyncio
import operator
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from edge_library import Served, served
from waiting import LIMIT_S, eventually_async

from sagagen.runtime.engine.port import Acceptance, SagaRuntime, Started

pytestmark = pytest.mark.asyncio(loop_scope="module")
ENDED = ("COMPLETED", "COMPENSATED", "SUPERSEDED", "STUCK")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with served(tmp_path_factory.mktemp("sagas")) as running:
        yield running


async def lend(library: Served, key: str | None, book: str = "b", **headers: str) -> httpx.Response:
    named = {"idempotency-key": key} if key is not None else {}
    return await library.client.post(
        "/loans", json={"name": book, "reader": "ann"}, headers={**named, **headers}
    )


async def saga_of(library: Served, saga_id: str, **headers: str) -> dict[str, Any]:
    """The saga once it is over."""

    async def read() -> dict[str, Any]:
        return (await library.client.get(f"/sagas/{saga_id}", headers=headers)).json()

    return await eventually_async("the saga to end", read, lambda saga: saga["status"] in ENDED)


async def test_a_saga_answers_with_its_status_and_body(library: Served) -> None:
    answer = await lend(library, "first")
    assert answer.status_code == 201, answer.text
    assert answer.headers["content-type"] == "application/json"
    saga_id = answer.json()["loan_id"]
    assert UUID(saga_id).version == 5
    assert answer.json()["book"]["is_lent"] is True
    assert answer.headers["link"] == f'</sagas/{saga_id}>; rel="monitor"'
    assert "idempotency-replayed" not in answer.headers


async def test_a_replay_repeats_status_body_and_trace(library: Served) -> None:
    first = await lend(library, "again")
    again = await lend(library, "again")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["traceparent"].split("-")[1] == first.headers["traceparent"].split("-")[1]


@pytest.mark.parametrize("spelled", ['"spelled"', "spelled"])
async def test_a_key_is_the_same_quoted_and_bare_and_in_either_header(library: Served, spelled: str) -> None:
    first = await lend(library, "spelled")
    again = await library.client.post(
        "/loans", json={"name": "b", "reader": "ann"}, headers={"x-idempotency-key": spelled}
    )
    assert again.json()["loan_id"] == first.json()["loan_id"]


async def test_both_headers_may_agree_but_not_differ(library: Served) -> None:
    both = await lend(library, "both", **{"x-idempotency-key": '"both"'})
    assert both.status_code == 201
    differ = await lend(library, "both", **{"x-idempotency-key": "other"})
    assert (differ.status_code, differ.json()["reason"]) == (400, "IDEMPOTENCY_KEY_INVALID")


@pytest.mark.parametrize("key", ["", '""', '"open', '"a"b', "a\tb", "caf\xe9", "x" * 256, '"a\\b"'])
async def test_a_malformed_key_is_refused(library: Served, key: str) -> None:
    answer = await library.client.post(
        "/loans",
        json={"name": "b", "reader": "ann"},
        headers=[(b"idempotency-key", key.encode("latin-1"))],
    )
    assert (answer.status_code, answer.json()["reason"]) == (400, "IDEMPOTENCY_KEY_INVALID")


async def test_the_longest_key_and_a_quoted_one_with_escapes_are_fine(library: Served) -> None:
    assert (await lend(library, "x" * 255)).status_code == 201
    quoted = await lend(library, '"a\\"b\\\\c"')
    bare = await lend(library, 'a"b\\c')
    assert quoted.json()["loan_id"] == bare.json()["loan_id"]


async def test_a_missing_key_is_refused_where_the_contract_requires_one(library: Served) -> None:
    answer = await lend(library, None)
    assert (answer.status_code, answer.json()["reason"]) == (400, "IDEMPOTENCY_KEY_MISSING")
    assert "Idempotency-Key" in answer.json()["detail"]


async def test_the_same_key_with_another_payload_is_422(library: Served) -> None:
    first = await lend(library, "payload")
    other = await lend(library, "payload", book="another")
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert other.json()["saga_id"] == first.json()["loan_id"]
    assert other.json()["trace_id"] in first.headers["traceparent"]
    assert other.json()["trace_id"] in other.headers["traceparent"]


async def test_spelling_does_not_make_another_payload(library: Served) -> None:
    first = await lend(library, "spelling")
    again = await library.client.post(
        "/loans", content=b'{ "reader":"\\u0061nn" ,"name":"b"}', headers={"idempotency-key": "spelling"}
    )
    assert again.content == first.content


async def test_the_handlers_of_a_saga_are_told_who_started_it(library: Served) -> None:
    library.shelf.callers.clear()
    await lend(library, "told", **{"x-caller": "ann@example.org"})
    assert library.shelf.callers == ["ann@example.org"]


async def test_the_same_key_of_another_caller_is_another_saga(library: Served) -> None:
    mine = await lend(library, "shared", **{"x-caller": "ann"})
    theirs = await lend(library, "shared", **{"x-caller": "bob"})
    assert mine.json()["loan_id"] != theirs.json()["loan_id"]


async def test_a_refusal_is_final_and_replayed(library: Served) -> None:
    first = await lend(library, "refused", book="lost")
    document = first.json()
    assert (first.status_code, first.headers["content-type"]) == (400, "application/problem+json")
    assert (document["code"], document["reason"], document["step"]) == (
        "FAILED_PRECONDITION",
        "BOOK_LOST",
        "take_book",
    )
    assert document["detail"] == "nobody knows where it is"
    again = await lend(library, "refused", book="lost")
    assert (again.status_code, again.content) == (400, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    saga = await saga_of(library, document["saga_id"])
    assert (saga["status"], saga["steps"][0]["status"]) == ("COMPENSATED", "REFUSED")
    assert saga["trace_id"] == document["trace_id"]


async def test_a_failure_of_the_infrastructure_is_502_and_asks_for_a_new_key(library: Served) -> None:
    answer = await lend(library, "burning", book="burning")
    document = answer.json()
    assert (answer.status_code, document["reason"], document["code"]) == (
        502,
        "SAGA_COMPENSATED",
        "UNAVAILABLE",
    )
    assert "new idempotency key" in document["detail"]
    assert "retry-after" not in answer.headers
    assert (await saga_of(library, document["saga_id"]))["status"] == "COMPENSATED"


async def test_what_takes_long_is_202_then_409_then_the_answer(library: Served) -> None:
    library.shelf.gate.clear()
    late = await lend(library, "late", book="slow")
    assert late.status_code == 202
    saga_id = late.json()["id"]
    assert late.headers["location"] == f"/sagas/{saga_id}"
    during = await lend(library, "late", book="slow")
    assert (during.status_code, during.json()["reason"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert int(during.headers["retry-after"]) >= 1
    library.shelf.gate.set()
    await saga_of(library, saga_id)
    after = await lend(library, "late", book="slow")
    assert (after.status_code, after.headers["idempotency-replayed"]) == (201, "true")
    assert after.json()["loan_id"] == saga_id


class NotReadableYet:
    """An engine that knows which sagas were accepted, and not yet with what."""

    def __init__(self, engine: SagaRuntime) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def accept(self, acceptance: Acceptance) -> Started:
        started = await self._engine.accept(acceptance)
        return started if started.is_new else replace(started, fingerprint=None)


async def test_a_repeat_of_what_cannot_be_read_yet_may_be_sent_again_whatever_its_payload(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, seen=NotReadableYet) as running:  # pyright: ignore[reportArgumentType]
        assert (await lend(running, "unread")).status_code == 201
        for book in ("b", "another"):
            again = await lend(running, "unread", book=book)
            assert (again.status_code, again.json()["reason"]) == (409, "IDEMPOTENCY_CONFLICT")
            assert int(again.headers["retry-after"]) >= 1


async def test_twenty_at_once_with_one_key_are_one_saga(library: Served) -> None:
    answers = await asyncio.gather(*(lend(library, "twenty") for _ in range(20)))
    # 202 where this machine is too slow for the contract's wait.
    assert {answer.status_code for answer in answers} <= {201, 202, 409}
    accepted = next(answer for answer in answers if answer.status_code != 409)
    await saga_of(library, accepted.json().get("loan_id") or accepted.json()["id"])
    final = await lend(library, "twenty")
    assert final.status_code == 201
    created = [answer for answer in answers if answer.status_code == 201]
    assert {answer.content for answer in created} <= {final.content}


async def test_a_duplicate_waits_where_the_contract_says_so(library: Served) -> None:
    library.shelf.gate.clear()
    renewals = [
        asyncio.create_task(library.client.post("/loans/slow:renew", headers={"idempotency-key": "renew"}))
        for _ in range(3)
    ]
    await asyncio.sleep(0.05)
    library.shelf.gate.set()
    answers = await asyncio.gather(*renewals)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert {answer.content for answer in answers} == {b'{"loan_id":"slow"}'}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 2


async def test_without_a_key_each_request_is_a_saga(library: Served) -> None:
    links = [(await library.client.post("/loans/b:renew")).headers["link"] for _ in range(2)]
    assert len(set(links)) == 2
    assert all(re.search(r"/sagas/[0-9a-f]{8}-[0-9a-f]{4}-7", link) for link in links)


async def test_a_saga_answered_at_acceptance_is_202_at_once_and_then_its_end(library: Served) -> None:
    first = await library.client.delete("/loans/b", headers={"idempotency-key": "end"})
    assert first.status_code == 202
    assert first.headers["location"] == f"/sagas/{first.json()['id']}"
    assert (await saga_of(library, first.json()["id"]))["status"] == "COMPLETED"
    again = await library.client.delete("/loans/b", headers={"idempotency-key": "end"})
    # The contract says 202, which is the answer that promises this one.
    assert (again.status_code, again.json()) == (200, {})
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_saga_is_shown_to_its_owner_only(library: Served) -> None:
    mine = await lend(library, "owned", **{"x-caller": "ann"})
    saga = await saga_of(library, mine.json()["loan_id"], **{"x-caller": "ann"})
    assert {key: saga[key] for key in ("id", "saga", "version", "status", "waiting_for")} == {
        "id": mine.json()["loan_id"],
        "saga": "lend_book",
        "version": 1,
        "status": "COMPLETED",
        "waiting_for": None,
    }
    assert saga["steps"] == [
        {
            "name": "take_book",
            "path": [],
            "status": "DONE",
            "attempts": 1,
            "compensation_attempts": 0,
            "error": None,
            "event": None,
            "since": None,
            "until": None,
        }
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", saga["created_at"])
    assert saga["created_at"] <= saga["updated_at"]
    for path in (f"/sagas/{mine.json()['loan_id']}", "/sagas/none"):
        hidden = await library.client.get(path, headers={"x-caller": "bob"})
        assert (hidden.status_code, hidden.json()["reason"]) == (404, "SAGA_NOT_FOUND")


BAD = {
    "broken JSON": b'{"name": ',
    "wrong type": b'{"name": 5, "reader": "a"}',
    "unknown field": b'{"name": "b", "reader": "a", "colour": 1}',
    "missing field": b'{"name": "b"}',
    "no object": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("case", BAD)
async def test_what_fails_validation_is_not_stored(library: Served, case: str) -> None:
    headers = {"idempotency-key": f"bad {case}"}
    bad = await library.client.post("/loans", content=BAD[case], headers=headers)
    assert bad.status_code == 400
    good = await lend(library, f"bad {case}")
    assert good.status_code == 201
    assert "idempotency-replayed" not in good.headers


async def test_a_query_beside_a_whole_body_is_refused(library: Served) -> None:
    answer = await library.client.post(
        "/loans?reader=x", json={"name": "b"}, headers={"idempotency-key": "query"}
    )
    assert (answer.status_code, answer.json()["violations"][0]["field"]) == (400, "reader")


async def hang_up(url: httpx.URL, number: int) -> None:
    body = b'{"name": "b", "reader": "ann"}'
    head = f"POST /loans HTTP/1.1\r\nHost: x\r\nIdempotency-Key: gone-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(head.encode() + body)
    await writer.drain()
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


async def test_sagas_of_clients_that_hang_up_reach_their_end(library: Served) -> None:
    for batch in range(0, 40, 20):
        await asyncio.gather(*(hang_up(library.client.base_url, batch + number) for number in range(20)))
    answers = await asyncio.gather(*(lend(library, f"gone-{number}") for number in range(40)))
    assert {answer.status_code for answer in answers} <= {201, 202, 409}  # 202 where this machine is slow
    await eventually_async("the engine to be idle", lambda: library.engine.running, operator.not_)
    sagas = [await lend(library, f"gone-{number}") for number in range(40)]
    assert {answer.status_code for answer in sagas} == {201}


async def test_a_stopping_server_answers_202_to_who_waits(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(served(tmp_path))
        async with httpx.AsyncClient(base_url=running.client.base_url, timeout=LIMIT_S) as client:
            waiting = asyncio.create_task(client.post("/loans/slow:renew"))
            await eventually_async("the engine to have begun", lambda: running.engine.running)
            asyncio.get_running_loop().call_later(0.3, running.shelf.gate.set)
            await stack.aclose()
            assert (await waiting).status_code == 202


async def test_a_draining_engine_accepts_nothing_but_still_replays(tmp_path: Path) -> None:
    async with served(tmp_path) as running:
        first = await lend(running, "before")
        running.engine.stop_accepting()
        new = await lend(running, "after")
        assert (new.status_code, new.json()["reason"]) == (503, "NOT_ACCEPTED")
        assert int(new.headers["retry-after"]) >= 1
        again = await lend(running, "before")
        assert (again.status_code, again.content) == (201, first.content)
        assert (await running.client.get("/readyz")).status_code == 503
        assert (await running.client.get("/healthz")).status_code == 200
    async with served(tmp_path) as restarted:
        replayed = await lend(restarted, "before")
        assert (replayed.content, replayed.headers["idempotency-replayed"]) == (first.content, "true")
        assert (await lend(restarted, "after")).status_code == 201
