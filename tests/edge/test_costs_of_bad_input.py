"""No input costs more than in proportion to its bytes: counted before it is made, told in part, and read off the loop.

What the shapes of `bench/proportion.py` cost is measured there; these are the rules that it follows from.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import protovalidate
import pytest
import pytest_asyncio
from edge_library import Served, served
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from test_transcoding import CREATE, compiled, refusal

from sagagen.contract import read_contract
from sagagen.runtime.edge.json import protojson
from sagagen.runtime.edge.json.findings import JsonError
from sagagen.runtime.edge.json.protojson import JsonReader
from sagagen.runtime.messages.parts import MAX_PARTS, has_too_many_parts
from sagagen.runtime.messages.schema import Schema, field_path
from sagagen.runtime.rpc.errors import MAX_VIOLATIONS, FieldViolation, RpcError

T = TypeVar("T")
CPU_S = 3.0
"""Far more than any of these takes; each took 20 to 40 s before it was bounded."""


@cache
def schema() -> Schema:
    mesh, findings = read_contract(Path(__file__).parents[2] / "bench" / "proportion_contract")
    assert mesh, findings
    return Schema(mesh.descriptors)


def load(**fields: Any) -> Any:
    return json_format.ParseDict(
        fields, schema().message_type("load.v1.Load")(), descriptor_pool=schema().pool
    )


def within_cpu_s(limit_s: float, work: Callable[[], T]) -> T:
    before_s = time.process_time()
    done = work()
    assert time.process_time() - before_s < limit_s
    return done


def found_reading(data: bytes) -> tuple[FieldViolation, ...]:
    reader = JsonReader(schema().descriptor("load.v1.Load"), schema().pool)
    with pytest.raises(JsonError) as caught:
        within_cpu_s(CPU_S, lambda: reader.read(data, schema().message_type("load.v1.Load")()))
    return caught.value.violations


def all_violations(message: Any) -> list[FieldViolation]:
    """What protovalidate says of the whole message."""
    return [
        FieldViolation(field_path(each), each.proto.message, each.proto.rule_id)
        for each in protovalidate.Validator().collect_violations(message)
    ]


def encoded(field: int, content: bytes, times: int) -> bytes:
    return (bytes((field << 3 | 2, len(content))) + content) * times


# -- counted before it is made -------------------------------------------------------------------------------------


def test_more_items_than_the_contract_allows_are_counted_and_not_looked_at() -> None:
    body = b'{"few":[' + b",".join([b'{"x":1}'] * 100_000) + b"]}"
    told = FieldViolation("few", "must contain no more than 100 item(s)", "repeated.max_items")
    assert found_reading(body) == (told,)


COUNTED: list[dict[str, Any]] = [
    {"few": [{}] * 101},
    {"labels": {str(number): "" for number in range(101)}},
    {"name": "ä" * 101},
]


@pytest.mark.parametrize("fields", COUNTED, ids=["items", "entries", "characters"])
def test_it_does_not_show_who_counts(fields: dict[str, Any]) -> None:
    assert list(found_reading(json.dumps(fields).encode())) == all_violations(load(**fields))


@pytest.mark.parametrize(
    ("before", "each", "after"),
    [
        ('{"items":[', "{}", "]}"),
        ('{"items":[{"name":"a"}],"inner":{"items":[', '{"name":"a"}', "]}}"),
        ('{"extras":{"a":[', "1", "]}}"),
        ('{"extras":{"a":[', "[]", "]}}"),
        ('{"any":{"@type":"type.googleapis.com/load.v1.Load","items":[', "{}", "]}}"),
        ('{"unknown":[', "{}", '],"items":[{' + '},{' * MAX_PARTS + "}]}"),
    ],
)  # fmt: skip
def test_a_body_of_too_many_parts_is_refused(before: str, each: str, after: str) -> None:
    (found, *_) = reversed(found_reading((before + ",".join([each] * (MAX_PARTS + 1)) + after).encode()))
    assert f"more than {MAX_PARTS} messages" in found.description


def test_numbers_and_texts_are_no_parts() -> None:
    reader = JsonReader(schema().descriptor("load.v1.Load"), schema().pool)
    message: Any = schema().message_type("load.v1.Load")()
    reader.read(json.dumps({"whole": [1] * 50_000, "texts": ["a"] * 50_000}).encode(), message)
    assert len(message.whole) == len(message.texts) == 50_000


ENTRIES = b"".join(encoded(3, b"\x0a\x06%06x" % number, 1) for number in range(100_000))


@pytest.mark.parametrize("data", [encoded(1, b"", 512 * 1024), ENTRIES], ids=["items", "entries of a map"])
def test_a_service_counts_before_it_decodes(data: bytes) -> None:
    with pytest.raises(RpcError, match=f"more than {MAX_PARTS} messages"):
        within_cpu_s(CPU_S, lambda: schema().check_bytes("load.v1.Load", data))


# -- told in part --------------------------------------------------------------------------------------------------


def test_nobody_is_told_of_more_mistakes_than_a_problem_lists() -> None:
    body = json.dumps({"tags": [1] * 300_000})
    problem = within_cpu_s(CPU_S, lambda: refusal("CreateBook", CREATE, body=body))
    assert len(problem.violations) == MAX_VIOLATIONS
    assert len(found_reading(b'{"ruled":' + b"[" * 40 + b"]" * 40 + b"}")) == 1


def test_a_service_tells_of_as_many_rules() -> None:
    broken = encoded(13, b"", MAX_PARTS - 1)
    with pytest.raises(RpcError) as caught:
        within_cpu_s(CPU_S, lambda: schema().check_bytes("load.v1.Load", broken))
    assert len(caught.value.violations) == MAX_VIOLATIONS
    assert [each.field for each in caught.value.violations[:4]] == [
        "ruled[0].name",
        "ruled[0].count",
        "ruled[0].price",
        "ruled[1].name",
    ]


def nested(outer: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    return {**outer, "inner": inner}


EMPTY: dict[str, Any] = {}
RULED: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"name": st.sampled_from(["", "a"]), "count": st.sampled_from([0, 1]), "price": st.sampled_from([0, 1])}
)
SOME: dict[str, st.SearchStrategy[Any]] = {
    "ruled": st.lists(RULED, max_size=60),
    "few": st.integers(0, 110).map(lambda count: [EMPTY] * count),
    "labels": st.integers(0, 110).map(lambda count: {str(number): "" for number in range(count)}),
    "name": st.sampled_from(["", "b" * 101]),
}
PLAIN: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(EMPTY, optional=SOME)
LOADS = st.recursive(PLAIN, lambda inner: st.builds(nested, inner, inner), max_leaves=4)


@settings(max_examples=60, deadline=None)
@given(LOADS)
def test_what_is_told_of_a_message_is_true_of_it(fields: dict[str, Any]) -> None:
    message = load(**fields)
    found, whole = list(schema().violations(message)), all_violations(message)
    assert bool(found) == bool(whole)
    assert [each for each in found if each not in whole] == []
    elements = sum(len(value) for value in _lists(fields))
    if elements <= 40:
        assert found == whole[:MAX_VIOLATIONS]


def _lists(fields: dict[str, Any]) -> list[Any]:
    own = [value for name, value in fields.items() if name in ("ruled", "few", "labels")]
    return own + (_lists(fields["inner"]) if "inner" in fields else [])


def test_parts_are_counted_wherever_they_are() -> None:
    assert not has_too_many_parts(load(items=[{}] * (MAX_PARTS - 1)))
    too_many: list[dict[str, Any]] = [
        {"items": [{}] * MAX_PARTS},
        {"inner": {"items": [{}] * (MAX_PARTS - 1)}},
        {"extras": {"a": [1] * MAX_PARTS}},
        {"byName": {str(number): {} for number in range(MAX_PARTS)}},
        {"numbers": {str(number): 1 for number in range(MAX_PARTS)}},
    ]
    for fields in too_many:
        assert has_too_many_parts(load(**fields)), next(iter(fields))


# -- read off the loop ---------------------------------------------------------------------------------------------


async def test_the_loop_goes_on_while_a_large_body_is_read() -> None:
    reader, _ = compiled("CreateBook", 0)
    body = json.dumps({"tags": [f"{number}" for number in range(100_000)]}).encode()
    reading = asyncio.create_task(reader.read({"parent": "shelves/1"}, b"", body))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    assert len(await reading) > len(body) / 2


@pytest.mark.parametrize("each", ["1", "1.5"])
def test_other_threads_go_on_while_numbers_are_read(each: str) -> None:
    """json.loads alone keeps Python's lock until it has read all of them."""
    reads_s = time.pthread_getcpuclockid(threading.get_ident())
    turns_s: list[float] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            turns_s.append(time.clock_gettime(reads_s))
            time.sleep(0)

    data = f"[{','.join([each] * 500_000)}]".encode()
    other = threading.Thread(target=look)
    other.start()
    try:
        began_s = time.clock_gettime(reads_s)
        protojson._load(data)  # pyright: ignore[reportPrivateUsage]
        ended_s = time.clock_gettime(reads_s)
    finally:
        is_over.set()
        other.join()
    meanwhile_s = [began_s, *(each_s for each_s in turns_s if began_s < each_s < ended_s), ended_s]
    held_s = max(after_s - before_s for before_s, after_s in pairwise(meanwhile_s))
    assert held_s < (ended_s - began_s) / 3


# -- limits of routes ----------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with served(tmp_path_factory.mktemp("limits")) as started:
        yield started


async def in_chunks(chunk: bytes, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield chunk


@pytest.mark.asyncio(loop_scope="module")
async def test_a_body_beyond_what_its_route_takes_is_refused_before_it_is_read(running: Served) -> None:
    one_mib = b" " * 2**20
    for content in (one_mib + b" ", in_chunks(b" " * 2**16, 17)):
        answer = await running.client.post("/v1/shelves/1/books", content=content)
        assert (answer.status_code, answer.json()["reason"]) == (413, "REQUEST_TOO_LARGE")
    assert (await running.client.post("/v1/shelves/1/books", content=one_mib)).status_code == 200


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("body", [b'{"name":', b"{}", b" "])
async def test_a_route_that_reads_no_body_refuses_one(running: Served, body: bytes) -> None:
    for content in (body, in_chunks(body, 2)):
        answer = await running.client.request(
            "DELETE", "/loans/1", content=content, headers={"idempotency-key": "no-body"}
        )
        assert (answer.status_code, answer.json()["reason"]) == (400, "UNEXPECTED_BODY")
    answer = await running.client.request("DELETE", "/loans/1", headers={"idempotency-key": "no-body"})
    assert answer.status_code != 400, "202, a replay, or 409 while it is under way"
    read = await running.client.request(
        "GET", "/v1/shelves/1/books", content=b"", headers={"content-length": "0"}
    )
    assert read.status_code == 200
