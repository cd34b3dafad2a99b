"""What gateways tell each other through Redis: what they have answered, and nothing that anybody else put there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from collecting import collecting
from edge_library import library, served
from kept_spans import KeptSpans
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind
from redis import Redis
from redis_server import RedisServer
from waiting import eventually_async

from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.problem import ProblemError
from sagagen.runtime.edge.shared_answers import LARGEST_ANSWER, SharedAnswer, SharedAnswers
from sagagen.runtime.edge.start import of_owner
from sagagen.runtime.engine.port import Started
from sagagen.runtime.identity import owner_digest
from sagagen.runtime.redis import pipeline
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
OTHER = "fedcba9876543210"
OWNER, OTHER_OWNER = owner_digest("saga", ACCEPTED.run), owner_digest("saga", OTHER)
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


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """These are about what is found; on a machine that is busy enough, 20 ms are over before Redis has its turn."""
    monkeypatch.setattr(pipeline, "LIMIT_S", 5.0)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def settings(**environment: str) -> Settings:
    return Settings.read(environment, Path())


SECRET = "the same secret of thirty-two bytes"


def sharing(redis: RedisServer, secret: str = SECRET) -> Settings:
    return settings(SAGAGEN_REDIS_URL=redis.url, SAGAGEN_SHARE_ANSWERS="1", SAGAGEN_SHARE_ANSWERS_KEY=secret)


async def stored(shared: SharedAnswers, at: SharedAnswers, *entries: tuple[Accepted, Answer]) -> SharedAnswer:
    """Store these, and then one that must arrive, until `at` finds that: lines are made in the background."""

    async def found() -> SharedAnswer | None:
        for accepted, answer in (*entries, (ACCEPTED, ANSWER)):
            shared.store(SAGA, accepted, answer)
        return await at.find("saga", OWNER, TRACE)

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
        assert await other.find("another saga", owner_digest("another saga", ACCEPTED.run), TRACE) is None
        await stored(stranger, stranger, (replace(ACCEPTED, run=OTHER), ANSWER))
        assert await other.find("saga", "fedcba9876543210", TRACE) is None
        kept_s = int(redis.ask("TTL", f"sagagen:shop:answers:saga:{OWNER}").strip().removeprefix(b":"))
        assert SAGA.retention_s - 10 < kept_s <= SAGA.retention_s


async def test_an_event_for_a_saga_of_another_gateway_is_told_from_one_for_nobody(
    redis: RedisServer, tmp_path: Path
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    async with (
        SharedAnswers.open("library", sharing(redis)) as ours,
        SharedAnswers.open("library", sharing(redis)) as theirs,
        served(tmp_path / "one", mesh=collecting(), shared=ours) as one,
        served(tmp_path / "other", mesh=collecting(), shared=theirs) as other,
    ):

        async def refused() -> tuple[int, str]:
            """Of an event for a saga that the first gateway has, sent to the other: it is told in the background."""
            loan = {"name": "b", "reader": "ann"}
            lent = await one.client.post("/loans", json=loan, headers={"idempotency-key": "lent"})
            event = f"/loans/{lent.json().get('id') or lent.json()['saga_id']}:cancel"
            answer = await other.client.post(event, headers={"idempotency-key": "k"})
            assert "retry-after" in answer.headers
            return answer.status_code, answer.json()["reason"]

        await eventually_async("it to be told", refused, lambda found: found == (409, "SAGA_ELSEWHERE"))
        unknown = await other.client.post(
            "/loans/5c0e2f9e-0000-5000-8000-000000000001:cancel", headers={"idempotency-key": "k"}
        )
        assert (unknown.status_code, unknown.json()["reason"]) == (404, "UNKNOWN_SAGA")


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "another run's": lambda value: value,
    "altered": lambda value: value.replace(b"201", b"200"),
    "without a MAC": lambda value: value[value.index(b"[") :],
    "nothing": lambda _value: b"",
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_who_can_write_to_redis_answers_no_request(redis: RedisServer, forgery: str) -> None:
    async with SharedAnswers.open("shop", sharing(redis)) as shared:
        assert shared
        await stored(shared, shared)
        with Redis(port=redis.port) as intruder:
            client: Any = intruder
            (entry,) = [client.hgetall(key) for key in client.keys("sagagen:shop:answers:saga:*")]
            forged = {field: FORGERIES[forgery](value) for field, value in entry.items()}
            client.hset("sagagen:shop:answers:saga:fedcba9876543210", mapping=forged)
        assert await shared.find("saga", "fedcba9876543210", TRACE) is None


async def test_gateways_with_another_secret_know_nothing_of_each_other(redis: RedisServer) -> None:
    async with (
        SharedAnswers.open("shop", sharing(redis)) as one,
        SharedAnswers.open("shop", sharing(redis, SECRET[::-1])) as other,
    ):
        assert one
        assert other
        await stored(one, one)
        # Its own has to arrive first, so that it is certain to be connected.
        await stored(other, other, (replace(ACCEPTED, run=OTHER), ANSWER))
        assert await one.find("saga", OTHER_OWNER, TRACE) is None


async def test_the_secret_may_be_in_a_file(redis: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    of_file = settings(
        SAGAGEN_REDIS_URL=redis.url,
        SAGAGEN_SHARE_ANSWERS="1",
        SAGAGEN_SHARE_ANSWERS_KEY_FILE=str(tmp_path / "secret"),
    )
    async with (
        SharedAnswers.open("shop", sharing(redis)) as one,
        SharedAnswers.open("shop", of_file) as other,
    ):
        assert one
        assert other
        assert await stored(one, other) == EXPECTED


async def test_what_has_no_key_or_is_large_is_not_shared(redis: RedisServer) -> None:
    keyless = (replace(ACCEPTED, saga_id="keyless", key=""), ANSWER)
    large = (replace(ACCEPTED, saga_id="large"), replace(ANSWER, body=b"x" * (LARGEST_ANSWER + 1)))
    async with SharedAnswers.open("shop", sharing(redis)) as shared:
        assert shared
        assert await stored(shared, shared, keyless, large) == EXPECTED
        for saga_id in ("keyless", "large"):
            assert await shared.find(saga_id, owner_digest(saga_id, ACCEPTED.run), TRACE) is None


async def test_a_question_to_redis_is_a_span_of_the_request_that_asks(redis: RedisServer) -> None:
    kept = KeptSpans()
    async with SharedAnswers.open("shop", sharing(redis)) as shared:
        assert shared
        await stored(shared, shared)
        with tracing.recording(Spans(kept.on_end, ALWAYS_ON)):
            await shared.find("saga", OWNER, TRACE)
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
        (
            {"SAGAGEN_SHARE_ANSWERS": "1", "SAGAGEN_REDIS_URL": "redis://x"},
            "SAGAGEN_SHARE_ANSWERS=1 needs SAGAGEN_SHARE_ANSWERS_KEY, or SAGAGEN_SHARE_ANSWERS_KEY_FILE",
        ),
        (
            {"SAGAGEN_SHARE_ANSWERS_KEY": "a secret", "SAGAGEN_SHARE_ANSWERS_KEY_FILE": "/run/key"},
            "SAGAGEN_SHARE_ANSWERS_KEY and SAGAGEN_SHARE_ANSWERS_KEY_FILE are both set; keep one",
        ),
        (
            {"SAGAGEN_SHARE_ANSWERS_KEY_FILE": "/nowhere/key"},
            "SAGAGEN_SHARE_ANSWERS_KEY_FILE: /nowhere/key can't be read: No such file or directory",
        ),
        (
            {"SAGAGEN_SHARE_ANSWERS_KEY": "short"},
            "SAGAGEN_SHARE_ANSWERS_KEY: a secret of 5 bytes; it needs at least 32",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(environment: Mapping[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings(**environment)


def test_a_secret_is_not_printed() -> None:
    printed = repr(settings(SAGAGEN_SHARE_ANSWERS_KEY=SECRET))
    assert SECRET not in printed
