"""Clients that mean harm, or are gone: the gateway answers, and goes on answering."""

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
from edge_library import Served, served

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with served(tmp_path_factory.mktemp("hostile")) as running:
        yield running


async def create(library: Served, book: str) -> httpx.Response:
    return await library.client.post("/v1/shelves/1/books", content=book)


@pytest.mark.parametrize("depth", [150, 2_000, 200_000])
@pytest.mark.parametrize(
    ("before", "after"),
    [('{"extras": {"a": ', "}}"), ('{"note": ', "}"), ('{"unknown": ', "}")],
    ids=["in a Struct", "in a Value", "in no field"],
)
async def test_json_of_any_depth_is_a_bad_request(
    library: Served, depth: int, before: str, after: str
) -> None:
    answer = await create(library, before + "[" * depth + "]" * depth + after)
    assert answer.status_code == 400, answer.text
    # Older versions of google.protobuf find only in the encoded message that it is nested too deeply.
    assert answer.json()["reason"] in ("INVALID_BODY", "INVALID_ARGUMENT")


async def test_messages_in_messages_of_any_depth_are_a_bad_request(library: Served) -> None:
    answer = await create(library, '{"sequels":[' * 5_000 + "{}" + "]}" * 5_000)
    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_BODY")


async def test_clients_that_are_gone_without_a_word_cost_nobody_else_an_answer(library: Served) -> None:
    address = urlsplit(str(library.client.base_url))
    body = '{"name":"b","reader":"ann"}'
    head = f"POST /loans HTTP/1.1\r\nHost: x\r\nIdempotency-Key: gone\r\nContent-Length: {len(body)}\r\n\r\n"
    for sent in (head[:20], head, head + body[:5], head + body):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(sent.encode())
        await writer.drain()
        writer.transport.abort()
    answer = await library.client.get("/v1/shelves/1/books/b")
    assert answer.status_code == 200
    await library.engine.wait_until_idle()
