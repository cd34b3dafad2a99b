"""A caller who sends too much is refused before a body is read; nobody else notices, and memory stays bounded."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from edge_library import Served, library, served
from starlette.requests import Request

from sagagen.runtime.access.identity import NOBODY, Headers, Identity, Unauthenticated
from sagagen.runtime.edge.buckets import TokenBuckets
from sagagen.runtime.edge.caller_rates import CallerRates
from sagagen.runtime.edge.entry import Entry
from sagagen.runtime.edge.exchange import Exchange
from sagagen.runtime.edge.http.connections import Peers
from sagagen.runtime.edge.problem import ProblemError
from sagagen.runtime.model.security import Access, CallerLimits, Security
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import SettingsError
from sagagen.runtime.telemetry.metrics import REFUSED

SHELF = "/v1/shelves/1/books/b"


# the buckets


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    buckets = TokenBuckets(rate_per_s=10, burst=3)
    assert [buckets.take("ann", 5.0) for _ in range(3)] == [0, 0, 0]
    assert buckets.take("ann", 5.0) == pytest.approx(0.1)
    assert buckets.take("bob", 5.0) == 0, "every caller has a bucket"
    assert buckets.take("ann", 5.05) == pytest.approx(0.05), "what was refused has cost nothing"
    assert buckets.take("ann", 5.1) == 0
    assert buckets.take("ann", 5.1) > 0
    assert [bool(buckets.take("ann", 99.0)) for _ in range(4)] == [False, False, False, True], (
        "no more than full"
    )


def test_a_rate_below_one_a_second_says_when() -> None:
    buckets = TokenBuckets(rate_per_s=0.1, burst=1)
    assert buckets.take("ann", 0.0) == 0
    assert buckets.take("ann", 1.0) == pytest.approx(9.0)


def test_over_a_long_time_no_more_than_the_rate_gets_through() -> None:
    buckets = TokenBuckets(rate_per_s=7, burst=5)
    passed = sum(not buckets.take("ann", 1e6 + i / 100) for i in range(10_000))
    assert passed == 5 + 7 * 100 - 1 or passed == 5 + 7 * 100


def test_a_million_callers_leave_nothing_behind() -> None:
    buckets = TokenBuckets(rate_per_s=50, burst=100)
    most = 0
    for i in range(200_000):  # 100,000 new ones a second, each of whom is full again 20 ms later
        buckets.take(f"caller {i}", i / 100_000)
        most = max(most, len(buckets))
    assert most < 5_000
    for i in range(10_000):
        buckets.take("ann", 10 + i)
    assert len(buckets) <= 2


def test_callers_who_all_keep_their_buckets_empty_are_bounded_too() -> None:
    buckets = TokenBuckets(rate_per_s=1, burst=1, max_buckets=100)
    for i in range(1000):
        assert buckets.take(f"caller {i}", 0.0) == 0
    assert len(buckets) <= 101
    assert buckets.take("caller 999", 0.0) > 0, "the last ones are remembered"


# at the edge


async def test_one_request_too_many_is_429_with_the_time_to_wait(tmp_path: Path) -> None:
    async with served(tmp_path, pace=CallerRates(rate_per_s=0.05, burst=2)) as edge:
        answers = [await edge.client.get(SHELF, headers={"x-caller": "ann"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert (await edge.client.get(SHELF, headers={"x-caller": "bob"})).status_code == 200
    refused = answers[-1]
    assert refused.json()["reason"] == "RATE_LIMITED"
    assert refused.json()["code"] == "RESOURCE_EXHAUSTED"
    assert 18 <= int(refused.headers["retry-after"]) <= 20


async def test_a_refused_body_is_not_waited_for(tmp_path: Path) -> None:
    async with served(tmp_path, pace=CallerRates(rate_per_s=0.01, burst=1)) as edge:
        assert (await lend(edge, "ann", "1")).status_code == 201
        host = edge.client.base_url
        reader, writer = await asyncio.open_connection(host.host, host.port)
        head = f"POST /loans HTTP/1.1\r\nhost: {host.host}\r\nx-caller: ann\r\ncontent-length: 50000\r\n\r\n"
        writer.write(head.encode())  # and no byte of the body
        async with asyncio.timeout(5):
            assert (await reader.readline()).split()[1] == b"429"
        writer.close()


async def test_all_kinds_of_routes_count_and_probes_do_not(tmp_path: Path) -> None:
    async with served(tmp_path, pace=CallerRates(rate_per_s=0.01, burst=1)) as edge:
        started = await lend(edge, "ann", "1")
        saga = started.headers["link"].split("<")[1].split(">")[0]
        for path in (SHELF, saga, "/sagas"):
            assert (await edge.client.get(path, headers={"x-caller": "ann"})).status_code == 429, path
        assert (await lend(edge, "ann", "1")).status_code == 429, "a replay is a request"
        for path in ("/healthz", "/readyz"):
            assert [(await edge.client.get(path)).status_code for _ in range(5)] == [200] * 5


async def test_who_is_anonymous_is_told_by_the_address_that_a_proxy_names(tmp_path: Path) -> None:
    """This machine is a trusted proxy, so its clients are apart; what they forge themselves changes nothing."""
    async with served(tmp_path, pace=CallerRates(rate_per_s=0.01, burst=1)) as edge:
        assert await status(edge, {"x-forwarded-for": "203.0.113.1"}) == 200
        assert await status(edge, {"x-forwarded-for": "203.0.113.2"}) == 200
        assert await status(edge, {"x-forwarded-for": "9.9.9.9, 203.0.113.1"}) == 429
        assert await status(edge, {"x-forwarded-for": "2001:db8::1"}) == 200
        assert await status(edge, {"x-forwarded-for": "2001:db8::ffff"}) == 429, "a /64 is one client"
        assert await status(edge, {"x-forwarded-for": "2001:db8:0:1::1"}) == 200


async def test_a_stranger_who_names_another_address_at_each_request_is_one_stranger(tmp_path: Path) -> None:
    async with served(tmp_path, pace=CallerRates(rate_per_s=0.01, burst=2), peers=Peers(trusted=())) as edge:
        tried = [await status(edge, {"x-forwarded-for": f"203.0.113.{i}"}) for i in range(4)]
        assert tried == [200, 200, 429, 429]


async def test_guessing_is_slow_and_costs_only_that_address(tmp_path: Path) -> None:
    """Nobody is asked who that is any more, so a right guess is no better than a wrong one."""
    refused = REFUSED.labels("failed_authentications")
    before = refused.value
    async with served(tmp_path, pace=CallerRates(rate_per_s=0.01, burst=3)) as edge:
        attacker = {"x-forwarded-for": "203.0.113.1"}
        guesses = [await status(edge, {"x-caller": "nobody", **attacker}) for _ in range(5)]
        assert guesses == [401, 401, 401, 429, 429]
        assert await status(edge, {"x-caller": "ann", **attacker}) == 429
        assert await status(edge, {"x-caller": "ann", "x-forwarded-for": "203.0.113.2"}) == 200
        assert refused.value - before == 3


async def test_without_the_section_nothing_is_counted(tmp_path: Path) -> None:
    async with served(tmp_path) as edge:
        assert {await status(edge, {}) for _ in range(150)} == {200}


def test_the_environment_has_the_last_word(tmp_path: Path) -> None:
    security = Security(schemes=(), limits=CallerLimits(50, 100, 200))
    mesh = replace(library().mesh, security=security)
    env = {"SAGAGEN_CALLER_RATE_PER_S": "5", "SAGAGEN_CALLER_BURST": "7", "SAGAGEN_CALLER_RUNNING": "9"}
    assert Settings.read(env, tmp_path).caller_limits(mesh) == CallerLimits(5.0, 7, 9)
    assert Settings.read({}, tmp_path).caller_limits(mesh) == CallerLimits(50, 100, 200)
    assert Settings.read({}, tmp_path).caller_limits(library().mesh) == CallerLimits()
    with pytest.raises(SettingsError, match="SAGAGEN_CALLER_BURST"):
        Settings.read({"SAGAGEN_CALLER_BURST": "many"}, tmp_path).caller_limits(mesh)


async def lend(edge: Served, caller: str, key: str) -> httpx.Response:
    headers = {"x-caller": caller, "idempotency-key": key}
    return await edge.client.post("/loans", json={"name": "b", "reader": "ann"}, headers=headers)


async def status(edge: Served, headers: Mapping[str, str]) -> int:
    return (await edge.client.get(SHELF, headers=headers)).status_code


class Guarded:
    """A scheme that knows one key, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def challenges(self, error: str = "", scopes: Sequence[str] = ()) -> Sequence[str]:
        return ()

    async def identity(self, headers: Headers) -> Identity:
        self.asked += 1
        keys = headers.getlist("x-api-key")
        if keys == ["right"]:
            return Identity("ann")
        raise Unauthenticated("who are you?", is_missing=not keys)


async def test_schemes_are_not_asked_by_whoever_has_guessed_too_often() -> None:
    scheme = Guarded()
    rates = CallerRates(rate_per_s=0.01, burst=2)

    async def who(exchange: Exchange) -> Identity:
        return await scheme.identity(exchange.request.headers)

    guarded = Entry(who, pace=rates, access=Access(("keys",)))
    public = Entry(anybody, pace=rates, access=Access(()))

    async def status_of(entry: Entry, address: str, key: str = "") -> int:
        try:
            await entry(exchange_from(address, key))
        except ProblemError as error:
            return error.problem.status
        return 200

    assert [await status_of(guarded, "203.0.113.1", "wrong") for _ in range(3)] == [401, 401, 429]
    assert await status_of(guarded, "203.0.113.1", "right") == 429
    assert scheme.asked == 2
    # Whoever shows nothing guesses nothing: that counts as what anybody sends. A public route asks for nothing.
    assert [await status_of(guarded, "203.0.113.2") for _ in range(3)] == [401, 401, 429]
    assert await status_of(guarded, "203.0.113.2", "right") == 200
    assert [await status_of(public, "203.0.113.1") for _ in range(3)] == [200, 200, 429]


async def anybody(exchange: Exchange) -> Identity:
    return NOBODY


def exchange_from(address: str, key: str) -> Exchange:
    headers = [(b"x-api-key", key.encode())] if key else []
    scope = {"type": "http", "method": "GET", "scheme": "http", "client": (address, 1), "headers": headers}
    return Exchange(Request(scope), {}, TraceContext.new())
