"""Bodies that a fuzzer makes: whatever they are, the gateway answers, logs no failure of its own, and does not grow.

A release sends 15,000 of them (SAGAGEN_FUZZ_ROUNDS).
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from edge_library import served
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import FUZZ_ROUNDS, SLOW_AND_LARGE
from waiting import LIMIT_S

EXAMPLES = 300 * FUZZ_ROUNDS
GROWTH_MIB = 20.0
"""For a thousand bodies that were sent before. Each costs a few KiB of the service's memory of settled calls."""
Sent = tuple[tuple[str, str], bytes]
ROUTES = [
    ("POST", "/v1/shelves/1/books"),
    ("PATCH", "/v1/shelves/1/books/any"),
    ("POST", "/v1/shelves/1/books/any:archive"),
    ("POST", "/loans"),
    ("DELETE", "/loans/1"),
]
FIELDS = """
    name title genre pages copies price weight isLent is_lent cover tags stock_by_branch stockByBranch
    flags publish_time publishTime loan_period extras edition subtitle publisher donor sequels serial
    note attached shown reader reason x
""".split()  # noqa: SIM905 - a list of them would be 30 lines
TEXTS = st.sampled_from(
    [
        *(
            "",
            "a",
            "NOVEL",
            "1",
            "-0",
            "1e400",
            "NaN",
            "Infinity",
            "true",
            "null",
            "😁",
            "\ud800",
            "\x00",
            "QUFB",
            "_-",
        ),
        *("1s", "-0.5s", "315576000000.999999999s", "2020-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"),
        *("0001-01-01T00:00:00+00:01", "fooBar", "a,b.c", "type.googleapis.com/library.v1.Book", "x" * 300),
        *(
            "type.googleapis.com/google.protobuf.Duration",
            "type.googleapis.com/google.protobuf.Struct",
            "@type",
        ),
    ]
) | st.text(max_size=5)
NUMBERS = (
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**30, -0.0, 1e300, 1e-300, 0.1])
    | st.integers()
    | st.floats(allow_nan=False)
)
NAMES = st.sampled_from([*FIELDS, "@type", "value"]) | TEXTS
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=6).map(lambda value: json.dumps(value).encode())


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A document, often with a few bytes changed; or bytes."""
    body = bytearray(draw(DOCUMENTS | st.binary(max_size=40)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 3))] = draw(
            st.sampled_from([b"", b"[", b'"', b"{", b"\xff", b"0", b":"])
        )
    return bytes(body)


@contextmanager
def running(folder: Path) -> Generator[str]:
    """The library in a thread of its own: hypothesis is not async."""
    url: list[str] = []
    is_up, is_over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with served(folder) as started:
            url.append(str(started.client.base_url))
            is_up.set()
            await asyncio.to_thread(is_over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert is_up.wait(LIMIT_S)
        yield url[0]
    finally:
        is_over.set()
        thread.join(LIMIT_S)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def again(client: httpx.Client, sent: Iterable[Sent]) -> None:
    """The same, without hypothesis, which remembers whatever it made up."""
    for (verb, path), body in sent:
        client.request(verb, path, content=body, headers={"content-type": "application/json"})


def test_no_body_makes_the_gateway_fail_or_grow(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sent: deque[Sent] = deque(maxlen=1000)
    with running(tmp_path) as url, httpx.Client(base_url=url, timeout=LIMIT_S) as client:

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=SLOW_AND_LARGE)
        @given(st.sampled_from(ROUTES), bodies(), st.booleans())
        def send(route: tuple[str, str], body: bytes, is_chunked: bool) -> None:
            sent.append((route, body))
            answer = client.request(
                *route,
                content=iter([body[:7], body[7:]]) if is_chunked else body,
                headers={"content-type": "application/json"},
            )
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
                assert len(answer.json().get("violations", [])) <= 20

        send()
        again(client, sent)
        before_mib = resident_mib()
        again(client, sent)
        assert resident_mib() - before_mib < GROWTH_MIB
    assert "Traceback" not in "".join(capfd.readouterr())
