"""What gateways tell each other through Redis: what they have answered, and nothing that anybody else put there."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from edge_library import library
from redis_server import RedisServer

from sagagen.runtime.answer import Answer
from sagagen.runtime.history_rows import Accepted, NextRequest
from sagagen.runtime.settings import Settings, SettingsError
from sagagen.runtime.shared_answers import LARGEST_ANSWER, SharedAnswer, SharedAnswers
from sagagen.runtime.trace import TraceContext

TRACE = TraceContext.new()
ANSWER = Answer(201, (("content-type", "application/json"), ("link", "</sagas/x>")), b'{"a": "\xc3\xa9"}')
ACCEPTED = Accepted(
    at_ms=1,
    saga_id="saga",
    saga="place",
    version=1,
    digest="d",
    run="0123456789abcdef",
    caller="anonymous",
    key="key",
    fingerprint=b"print",
    input=b"",
    trace=TRACE,
    next=NextRequest(),
)
EXPECTED = SharedAnswer(b"print", TRACE.trace_id, ANSWER)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def settings(**environment: str) -> Settings:
    return Settings.read(environment, Path())


def sharing(redis: RedisServer) -> Settings:
    return settings(SAGAGEN_REDIS_URL=redis.url, SAGAGEN_SHARE_ANSWERS="1")


async def found(shared: SharedAnswers, saga: str = "saga", run: str = ACCEPTED.run) -> SharedAnswer | None:
    """What is there within a moment: the line is made in the background, and writes wait for their batch."""
    for _ in range(100):
        if answer := await shared.find(saga, run):
            return answer
        await asyncio.sleep(0.01)
    return None


async def once_up(shared: SharedAnswers) -> None:
    async with asyncio.timeout(10):
        while not shared.is_up:  # noqa: ASYNC110 - the line is made in the background
            await asyncio.sleep(0.01)


async def test_another_gateway_finds_the_answer_by_saga_and_run(redis: RedisServer) -> None:
    saga = library().mesh.sagas[0]
    async with (
        SharedAnswers.open("shop", sharing(redis)) as one,
        SharedAnswers.open("shop", sharing(redis)) as other,
        SharedAnswers.open("museum", sharing(redis)) as stranger,
    ):
        assert one
        assert other
        assert stranger
        for each in (one, other, stranger):
            await once_up(each)
        one.store(saga, ACCEPTED, ANSWER)
        assert await found(other) == EXPECTED
        assert await other.find("saga", "another run") is None
        assert await other.find("another saga", ACCEPTED.run) is None
        assert await stranger.find("saga", ACCEPTED.run) is None
        name = f"sagagen:shop:answers:saga:{ACCEPTED.run}"
        kept_s = int(redis.ask("TTL", name).strip().removeprefix(b":"))
        assert saga.retention_s - 10 < kept_s <= saga.retention_s


async def test_what_has_no_key_or_is_large_is_not_shared(redis: RedisServer) -> None:
    async with SharedAnswers.open("shop", sharing(redis)) as shared:
        assert shared
        await once_up(shared)
        saga = library().mesh.sagas[0]
        shared.store(saga, replace(ACCEPTED, saga_id="keyless", key=""), ANSWER)
        large = replace(ANSWER, body=b"x" * (LARGEST_ANSWER + 1))
        shared.store(saga, replace(ACCEPTED, saga_id="large"), large)
        shared.store(saga, ACCEPTED, ANSWER)  # written after the others, if they were
        assert await found(shared) == EXPECTED
        for saga_id in ("keyless", "large"):
            assert await shared.find(saga_id, ACCEPTED.run) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        "null",
        "[1,2,3,4,5]",
        '["00","t",201,[],"not base64!"]',
        '["zz","t",201,[],""]',
        '["00","t","x",[],""]',
        '["00","t",201,[["a"]],""]',
        '["00","t",201,7,""]',
        "\xff",
    ],
)
def test_what_others_wrote_is_no_answer(value: str) -> None:
    assert SharedAnswer.decode(value.encode("latin-1")) is None


def test_an_answer_comes_back_as_it_was() -> None:
    assert SharedAnswer.decode(EXPECTED.encode()) == EXPECTED


async def test_nothing_is_shared_unless_the_environment_says_so() -> None:
    async with SharedAnswers.open("shop", settings(SAGAGEN_REDIS_URL="redis://127.0.0.1:1")) as shared:
        assert shared is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"SAGAGEN_SHARE_ANSWERS": "yes"},
            'SAGAGEN_SHARE_ANSWERS="yes" is unknown; write 1, or leave it out',
        ),
        ({"SAGAGEN_SHARE_ANSWERS": "1"}, "SAGAGEN_SHARE_ANSWERS=1 needs SAGAGEN_REDIS_URL"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environment: Mapping[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings(**environment)
