"""Routes that a service answers, over real HTTP on a real service."""

from collections.abc import AsyncGenerator

import httpx
import pytest
import pytest_asyncio
from edge_library import Served, served
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def shadow(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("never seen")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    extra = [Route("/hello", hello), Route("/loans", shadow, methods=["POST"])]
    async with served(tmp_path_factory.mktemp("reads"), extra) as running:
        yield running


def assert_problem(answer: httpx.Response, status: int, reason: str) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["reason"], document["type"]) == (status, reason, "about:blank")
    assert document["trace_id"] in answer.headers["traceparent"]
    assert document["detail"]
    return document


async def test_a_read_is_transcoded_to_its_service(library: Served) -> None:
    answer = await library.client.get("/v1/shelves/1/books/2%203")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["name"], answer.json()["title"]) == ("shelves/1/books/2 3", "Der Prozess")


async def test_an_additional_binding_answers_with_its_own_body(library: Served) -> None:
    answer = await library.client.get("/files/a/b/c")
    assert answer.json()["book"]["name"] == "a/b/c"


async def test_a_query_arrives_at_the_service(library: Served) -> None:
    answer = await library.client.get(
        "/v1/shelves/1/books", params={"page_size": 5, "tags": ["a", "b"], "filter.genre": "ESSAY"}
    )
    request = answer.json()["request"]
    assert (request["parent"], request["page_size"], request["tags"]) == ("shelves/1", 5, ["a", "b"])
    assert request["filter"]["genre"] == "ESSAY"


async def test_a_patch_with_a_nested_variable_arrives(library: Served) -> None:
    answer = await library.client.patch("/v1/shelves/1/books/2", json={"title": "Neu", "copies": 2**60})
    assert answer.json()["book"] | {"copies": 0} == answer.json()["book"] | {"copies": 0}
    assert (answer.json()["book"]["name"], answer.json()["book"]["copies"]) == (
        "shelves/1/books/2",
        str(2**60),
    )


async def test_a_custom_verb_has_its_own_route(library: Served) -> None:
    answer = await library.client.post("/v1/shelves/1/books/2:archive", json={"reason": "old"})
    assert answer.json() == {"name": "shelves/1/books/2", "reason": "old"}


async def test_a_write_with_a_key_takes_effect_once(library: Served) -> None:
    before = library.shelf.created
    headers = {"idempotency-key": "book-1"}
    first = await library.client.post("/v1/shelves/1/books?book_id=7", json={"title": "T"}, headers=headers)
    again = await library.client.post("/v1/shelves/1/books?book_id=7", json={"title": "T"}, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert library.shelf.created == before + 1


async def test_the_same_key_of_another_caller_is_another_write(library: Served) -> None:
    before = library.shelf.created
    for name in ("ann", "bob"):
        headers = {"idempotency-key": "book-2", "x-caller": name}
        await library.client.post("/v1/shelves/1/books", json={}, headers=headers)
    assert library.shelf.created == before + 2


async def test_writes_without_a_key_are_each_their_own(library: Served) -> None:
    before = library.shelf.created
    for _ in range(2):
        assert (await library.client.post("/v1/shelves/1/books", json={})).status_code == 200
    assert library.shelf.created == before + 2


async def test_a_services_error_becomes_a_problem_by_grpc_gateways_table(library: Served) -> None:
    document = assert_problem(await library.client.get("/v1/shelves/1/books/missing"), 404, "BOOK_NOT_FOUND")
    assert document["code"] == "NOT_FOUND"
    declined = await library.client.post("/v1/shelves/1/books/gone:archive", json={})
    assert assert_problem(declined, 400, "ALREADY_ARCHIVED")["code"] == "FAILED_PRECONDITION"


async def test_a_service_that_is_away_for_a_moment_is_asked_again(library: Served) -> None:
    library.shelf.reads = 0
    answer = await library.client.get("/v1/shelves/1/books/flaky")
    assert (answer.status_code, library.shelf.reads) == (200, 2)


async def test_a_service_that_stays_away_is_503_with_its_own_retry_after(library: Served) -> None:
    answer = await library.client.get("/v1/shelves/1/books/down")
    assert_problem(answer, 503, "UNAVAILABLE")
    assert answer.headers["retry-after"] == "8"


async def test_a_request_may_ask_for_a_shorter_timeout(library: Served) -> None:
    answer = await library.client.get("/v1/shelves/1/books/endless", headers={"grpc-timeout": "50m"})
    assert assert_problem(answer, 504, "DEADLINE_EXCEEDED")["code"] == "DEADLINE_EXCEEDED"
    broken = await library.client.get("/v1/shelves/1/books/1", headers={"grpc-timeout": "soon"})
    assert_problem(broken, 400, "INVALID_TIMEOUT")


async def test_broken_rules_and_broken_bodies_name_their_fields(library: Served) -> None:
    long = await library.client.post("/v1/shelves/1/books", json={"title": "x" * 201})
    document = assert_problem(long, 400, "VALIDATION_FAILED")
    assert [violation["field"] for violation in document["violations"]] == ["book.title"]  # pyright: ignore
    broken = await library.client.post("/v1/shelves/1/books", content=b'{"title": ')
    assert "line 1 column 11" in str(assert_problem(broken, 400, "INVALID_BODY")["detail"])


async def test_an_unknown_route_is_404_and_a_wrong_method_405(library: Served) -> None:
    assert_problem(await library.client.get("/nothing/here"), 404, "NO_ROUTE")
    wrong = await library.client.put("/v1/shelves/1/books/2")
    assert_problem(wrong, 405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["allow"] == "GET, HEAD, PATCH"


@pytest.mark.parametrize("path", ["/v1/shelves/%zz/books", "/v1/shelves/%ff/books"])
async def test_a_path_that_cannot_be_decoded_is_400(library: Served, path: str) -> None:
    request = httpx.Request("GET", library.client.base_url)
    request.url = request.url.copy_with(raw_path=path.encode())
    assert_problem(await library.client.send(request), 400, "INVALID_PATH")


async def test_head_and_options_are_answered(library: Served) -> None:
    head = await library.client.head("/v1/shelves/1/books/2")
    get = await library.client.get("/v1/shelves/1/books/2")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))
    options = await library.client.options("/v1/shelves/1/books/2")
    assert (options.status_code, options.headers["allow"], options.content) == (204, "GET, HEAD, PATCH", b"")
    assert_problem(await library.client.options("/nothing"), 404, "NO_ROUTE")


async def test_the_trace_of_the_request_goes_on_in_the_answer(library: Served) -> None:
    sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await library.client.get("/v1/shelves/1/books/2", headers={"traceparent": sent})
    assert answer.headers["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    new = await library.client.get("/v1/shelves/1/books/2", headers={"traceparent": "nonsense"})
    assert len(new.headers["traceparent"]) == 55


async def test_health_and_readiness(library: Served) -> None:
    assert (await library.client.get("/healthz")).text == "ok\n"
    assert (await library.client.get("/readyz")).text == "ready\n"
    assert_problem(await library.client.post("/healthz"), 405, "METHOD_NOT_ALLOWED")


async def test_the_projects_own_routes_fill_the_gaps_of_the_contract(library: Served) -> None:
    answer = await library.client.get("/hello")
    assert (answer.text, "traceparent" in answer.headers) == ("hello", True)
    assert "never seen" not in (await library.client.post("/loans", json={})).text


async def test_a_body_is_limited_whether_or_not_it_says_its_length(library: Served) -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    told = await library.client.post("/v1/shelves/1/books", content=b" " * 10_000_000)
    assert_problem(told, 413, "REQUEST_TOO_LARGE")
    chunked = await library.client.post("/v1/shelves/1/books", content=chunks())
    assert chunked.status_code == 413
    assert chunked.headers["content-type"] == "application/problem+json"
    after = await library.client.get("/v1/shelves/1/books/2")
    assert after.status_code == 200


async def test_a_long_address_and_long_headers_are_refused(library: Served) -> None:
    assert_problem(
        await library.client.get("/v1/shelves/1/books?tags=" + "x" * 9000), 414, "REQUEST_TOO_LARGE"
    )
    long = await library.client.get("/healthz", headers={"x-long": "x" * 40_000})
    assert_problem(long, 431, "REQUEST_TOO_LARGE")


async def test_a_compressed_body_is_415(library: Served) -> None:
    answer = await library.client.post(
        "/v1/shelves/1/books", content=b"x", headers={"content-encoding": "gzip"}
    )
    assert_problem(answer, 415, "UNSUPPORTED_ENCODING")


async def test_the_callers_hook_may_refuse_or_fail(library: Served) -> None:
    refused = await library.client.get("/v1/shelves/1/books/2", headers={"x-caller": "nobody"})
    assert assert_problem(refused, 401, "UNAUTHORIZED")["code"] == "UNAUTHENTICATED"
    assert refused.headers["www-authenticate"] == "Bearer"
    failed = await library.client.get("/v1/shelves/1/books/2", headers={"x-caller": "broken"})
    assert "broken" not in str(assert_problem(failed, 500, "GATEWAY_FAILED")["detail"])


async def test_handlers_are_told_who_calls(library: Served) -> None:
    library.shelf.callers.clear()
    headers = {"x-caller": "ann (100%)", "idempotency-key": "told"}
    await library.client.get("/v1/shelves/1/books/2", headers=headers)
    await library.client.post("/v1/shelves/1/books?book_id=2", json={"title": "Momo"}, headers=headers)
    await library.client.get("/v1/shelves/1/books/2", headers={"x-caller": ""})
    assert library.shelf.callers == ["ann (100%)", "ann (100%)", ""]


async def test_a_caller_that_services_can_not_be_told_is_the_hooks_failure(
    library: Served, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    longest = await library.client.get("/v1/shelves/1/books/2", headers={"x-caller": "x" * 1024})
    assert longest.status_code == 200
    token = await library.client.get("/v1/shelves/1/books/2", headers={"x-caller": "x" * 1025})
    assert_problem(token, 500, "GATEWAY_FAILED")
    assert "the caller hook returned 1025 bytes" in caplog.text + capsys.readouterr().out
