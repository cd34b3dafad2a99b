"""What gateways tell each other through Redis: what they have answered, and nothing that anybody else put there."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from edge_library import library
from kept_spans import KeptSpans
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind
from redis_server import RedisServer
from waiting import eventually_async

from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.problem import ProblemError
from sagagen.runtime.edge.shared_answers import LARGEST_ANSWER, SharedAnswer, SharedAnswers
from sagagen.runtime.edge.start import of_owner
from sagagen.runtime.engine.port import Started
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.events import Accepted, NextRequest, SagaStatus
from sagagen.runtime.settings import Settings
from sagagen.runtime.startup import SettingsError
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.spans import Spans

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
SAGA = library().mesh.sagas[0]
EXPECTED = SharedAnswer(b"print", TRACE.trace_id, ANSWER)


STARTED = Started(
    saga_id="saga",
    is_new=True,
    caller="anonymous",
    fingerprint=b"print",
    result=None,
    trace_id="ours",
    started_ms=1,
    status=SagaStatus.SUPERSEDED,
)
ELSEWHERE = Answer(409, (), b"elsewhere")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def settings(**environment: str) -> Settings:
    return Settings.read(environment, Path())


def sharing(redis: RedisServer) -> Settings:
    return settings(SAGAGEN_REDIS_URL=redis.url, SAGAGEN_SHARE_ANSWERS="1")


async def stored(shared: SharedAnswers, at: SharedAnswers, *entries: tuple[Accepted, Answer]) -> SharedAnswer:
    """Store these, and then one that must arrive, until `at` finds that: lines are made in the background."""

    async def found() -> SharedAnswer | None:
        for accepted, answer in (*entries, (ACCEPTED, ANSWER)):
            shared.store(SAGA, accepted, answer)
        return await at.find("saga", ACCEPTED.run, TRACE)

    last = await eventually_async("an answer to be shared", found)
    assert last is not None
    return last


async def test_another_gateway_finds_the_answer_by_saga_and_run(redis: RedisServer) -> None:
    async with (
        SharedAnswers.open("shop", sharing(redis)) as one,
        SharedAnswers.open("shop", sharing(redis)) as other,
        SharedAnswers.open("museum", sharing(redis)) as stranger,
    ):
        assert one
        assert other
        assert stranger
        assert await stored(one, other) == EXPECTED
        assert await other.find("saga", "another run", TRACE) is None
        assert await other.find("another saga", ACCEPTED.run, TRACE) is None
        await stored(stranger, stranger, (replace(ACCEPTED, run="fedcba9876543210"), ANSWER))
        assert await other.find("saga", "fedcba9876543210", TRACE) is None
        kept_s = int(redis.ask("TTL", f"sagagen:shop:answers:saga:{ACCEPTED.run}").strip().removeprefix(b":"))
        assert SAGA.retention_s - 10 < kept_s <= SAGA.retention_s


async def test_what_has_no_key_or_is_large_is_not_shared(redis: RedisServer) -> None:
    keyless = (replace(ACCEPTED, saga_id="keyless", key=""), ANSWER)
    large = (replace(ACCEPTED, saga_id="large"), replace(ANSWER, body=b"x" * (LARGEST_ANSWER + 1)))
    async with SharedAnswers.open("shop", sharing(redis)) as shared:
        assert shared
        assert await stored(shared, shared, keyless, large) == EXPECTED
        for saga_id in ("keyless", "large"):
            assert await shared.find(saga_id, ACCEPTED.run, TRACE) is None


async def test_a_question_to_redis_is_a_span_of_the_request_that_asks(redis: RedisServer) -> None:
    kept = KeptSpans()
    async with SharedAnswers.open("shop", sharing(redis)) as shared:
        assert shared
        await stored(shared, shared)
        with tracing.recording(Spans(kept.on_end, ALWAYS_ON)):
            await shared.find("saga", ACCEPTED.run, TRACE)
    (asked,) = kept.spans
    assert (asked.name, asked.kind, asked.service) == ("HMGET", SpanKind.CLIENT, tracing.GATEWAY)
    assert (asked.trace.trace_id, asked.parent_id, asked.error) == (TRACE.trace_id, TRACE.span_id, "")


def test_the_owners_answer_takes_the_place_of_elsewhere() -> None:
    answer, trace_id = of_owner(STARTED, b"print", ELSEWHERE, EXPECTED)
    assert (answer.status, answer.body, trace_id) == (ANSWER.status, ANSWER.body, TRACE.trace_id)
    assert answer.header("idempotency-replayed") == "true"


def test_until_the_owner_has_answered_the_client_may_ask_again() -> None:
    answer, trace_id = of_owner(STARTED, b"print", ELSEWHERE, None)
    assert (answer.status, answer.body, trace_id) == (409, b"elsewhere", "ours")
    assert answer.header("retry-after") == "1"


def test_another_payload_is_refused_although_no_service_saw_the_difference() -> None:
    with pytest.raises(ProblemError) as refused:
        of_owner(STARTED, b"another", ELSEWHERE, EXPECTED)
    assert (refused.value.problem.status, refused.value.problem.reason) == (422, "IDEMPOTENCY_KEY_REUSED")


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
        "[" * 100_000,
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
