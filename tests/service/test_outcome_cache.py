"""The way around the barrier for repeats: memory and a real Redis, which may fail in any way without an effect."""

import asyncio
import hashlib
import hmac
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from grpclib.const import Status as Code
from kept_spans import KeptSpans
from ledger import (
    ACT,
    PUT,
    SERVICE,
    Ledger,
    PutRequest,
    PutResponse,
    RunningLedger,
    database_in,
    put,
    running,
)
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind
from redis import Redis
from redis_server import RedisServer
from small_mesh import ManualClock, saga_call
from waiting import LIMIT_S as PATIENCE_S
from waiting import eventually_async, under_load

from sagagen.runtime.addresses import RedisAddress
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.redis import pipeline as pipeline_module
from sagagen.runtime.redis.pipeline import LIMIT_S, RedisPipeline
from sagagen.runtime.rpc.errors import Declined, RpcError
from sagagen.runtime.rpc.metadata import REPLAYED, SagaCall
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.service import outcome_cache
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.spans import FinishedSpan, Spans

REPEAT = saga_call(attempt=2)


def pipeline_of(host: ServiceHost) -> RedisPipeline:
    found = host._context.outcome_cache.redis  # pyright: ignore[reportPrivateUsage] - it shows itself nowhere else
    assert found is not None
    return found


@dataclass
class Bench(RunningLedger):
    def forget(self) -> None:
        """Empty the barrier behind the service's back: what is still known comes from elsewhere."""
        self.query("DELETE FROM sagagen_barrier")
        self.query("DELETE FROM entries")

    @property
    def pipeline(self) -> RedisPipeline:
        return pipeline_of(self.host)

    async def up(self) -> None:
        await eventually_async("the pipeline to be up", lambda: self.pipeline.is_up)

    async def missed(self) -> None:
        await eventually_async("the pipeline to be down", lambda: not self.pipeline.is_up)

    async def down(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.pipeline.is_up:
                await self.act(REPEAT)


@asynccontextmanager
async def opened(
    folder: Path, redis: RedisServer | None = None, *, project: str = "lab", clock: ManualClock | None = None
) -> AsyncGenerator[Bench]:
    ledger = Ledger()
    async with running(
        folder, ledger, project=project, clock=clock, redis_url=redis.url if redis else ""
    ) as host:
        bench = Bench(host, ledger, database_in(folder))
        if redis:
            await bench.up()
        yield bench


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With what is remembered in the process alone, or in Redis alone."""
    if request.param == "memory":
        async with opened(tmp_path) as bench:
            yield bench
        return
    monkeypatch.setattr(outcome_cache, "CACHE_BYTES", 0)
    # These are about what is found; on a machine that is busy enough, 20 ms are over before Redis has its turn.
    monkeypatch.setattr(pipeline_module, "LIMIT_S", 5.0)
    with RedisServer(tmp_path) as server:
        async with opened(tmp_path, server) as bench:
            yield bench


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_cache, "CACHE_BYTES", 0)


async def test_a_repeat_is_answered_without_the_barrier(bench: Bench):
    first = await bench.act()
    bench.forget()
    repeat = await bench.act(REPEAT)
    assert (repeat.response, repeat.trailers, bench.ledger.puts) == (first.response, {REPLAYED: "true"}, 1)


async def test_a_refusal_is_told_again_without_the_barrier(bench: Bench):
    async def decline(request: PutRequest, call: CallContext) -> PutResponse:
        raise Declined("NO", "never")

    bench.ledger.on_put = decline
    with pytest.raises(RpcError):
        await bench.act()
    bench.forget()
    with pytest.raises(RpcError) as caught:
        await bench.act(REPEAT)
    assert (caught.value.is_refusal, caught.value.reason, bench.ledger.puts) == (True, "NO", 1)


async def test_a_direct_write_with_a_key_asks_since_it_counts_no_attempts(bench: Bench):
    for _ in range(2):
        await bench.host.handle(PUT.path, put(), {"idempotency-key": "k"}, 10.0)
        bench.forget()
    assert bench.ledger.puts == 1


async def test_a_first_attempt_goes_straight_to_the_barrier(bench: Bench):
    await bench.act()
    bench.forget()
    await bench.act()
    assert bench.ledger.puts == 2


async def test_a_compensation_hides_the_answer_of_its_action(bench: Bench):
    await bench.act()
    await bench.undo()
    with pytest.raises(RpcError) as caught:
        await bench.act(REPEAT)
    assert caught.value.reason == "STEP_COMPENSATED"


@pytest.mark.parametrize(
    ("call", "request_", "reason"),
    [
        (REPEAT, put("other"), "PAYLOAD_MISMATCH"),
        (saga_call(run="run-2", attempt=2), put(), "OTHER_RUN"),
        (saga_call(attempt=2, not_after_ms=1), put(), "EXPIRED"),
    ],
)
async def test_what_does_not_match_in_all_is_left_to_the_barrier(
    bench: Bench, call: SagaCall, request_: bytes, reason: str
):
    await bench.act()
    with pytest.raises(RpcError) as caught:
        await bench.act(call, request_)
    assert caught.value.reason == reason


async def test_an_outcome_too_large_to_keep_is_answered_by_the_barrier(bench: Bench):
    async def large(request: PutRequest, call: CallContext) -> PutResponse:
        return PutResponse(padding=b"x" * outcome_cache.LARGEST_OUTCOME)

    bench.ledger.on_put = large
    first = await bench.act()
    assert (await bench.act(REPEAT)).response == first.response
    bench.forget()
    await bench.act(REPEAT)
    assert bench.ledger.puts == 2


async def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outcome_cache, "CACHE_BYTES", 2_000)
    async with opened(tmp_path) as bench:
        for number in range(10):
            await bench.act(saga_call(saga=f"s{number}"), put(f"n{number}"))
        bench.forget()
        await bench.act(saga_call(saga="s9", attempt=2), put("n9"))
        assert bench.ledger.puts == 10
        await bench.act(saga_call(saga="s0", attempt=2), put("n0"))
        assert bench.ledger.puts == 11


@pytest.mark.usefixtures("no_memory")
async def test_a_killed_redis_costs_nothing_and_is_used_again_when_it_is_back(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    async with opened(tmp_path, redis) as bench:
        await bench.act()
        redis.kill()
        assert (await bench.act(REPEAT)).trailers == {REPLAYED: "true"}
        await bench.down()
        began = time.process_time()
        for _ in range(1000):
            assert await bench.pipeline.find("name", ["action"]) is None
        assert (time.process_time() - began) / 1000 < 0.0005
        redis.start()
        await bench.up()
        monkeypatch.setattr(pipeline_module, "LIMIT_S", 5.0)
        await bench.act(saga_call(saga="s2"), put("b"))
        bench.forget()
        await bench.act(saga_call(saga="s2", attempt=2), put("b"))
        assert bench.ledger.puts == 2


async def test_a_redis_that_goes_is_missed_although_nobody_asks(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline_module, "IDLE_S", 0.05)
    async with opened(tmp_path, redis) as bench:
        await asyncio.sleep(0.5)
        assert (bench.pipeline.is_up, bench.pipeline.failures) == (True, 0)
        redis.kill()
        await bench.missed()
        redis.start()
        await bench.up()


@pytest.mark.usefixtures("no_memory")
async def test_what_was_stored_before_a_failure_is_not_believed_after_it(tmp_path: Path, redis: RedisServer):
    """Redis may have lost that the action was compensated."""
    async with opened(tmp_path, redis) as bench:
        await bench.act()
        assert await bench.pipeline.find("anything", ["action"]) == [None]
        redis.freeze()
        await bench.undo()
        await bench.missed()
        redis.thaw()
        await bench.up()
        with pytest.raises(RpcError) as caught:
            await bench.act(REPEAT)
        assert caught.value.reason == "STEP_COMPENSATED"


@pytest.mark.usefixtures("no_memory")
async def test_a_frozen_redis_is_waited_for_once_and_briefly(tmp_path: Path, redis: RedisServer):
    async with opened(tmp_path, redis) as bench:
        await bench.act()
        await bench.act(REPEAT)
        redis.freeze()
        took: list[float] = []
        for _ in range(20):
            began = time.perf_counter()
            assert (await bench.act(REPEAT)).trailers == {REPLAYED: "true"}
            took.append(time.perf_counter() - began)
        redis.thaw()
        assert max(took) < under_load(LIMIT_S + 0.2), "20 ms, and what a busy machine adds"
        assert sorted(took)[10] < under_load(LIMIT_S)
        assert bench.ledger.puts == 1


class FlappingPipeline(RedisPipeline):
    """Of a server that takes connections, and loses them after the times in `lasts_s`."""

    def __init__(self, lasts_s: list[float]) -> None:
        self._now_s = 0.0
        super().__init__(RedisAddress.at("redis://127.0.0.1:1"), "trial", lambda: self._now_s)
        self._lasts_s = lasts_s

    async def _connect(self) -> bool:
        return True

    async def _exchange_until_lost(self) -> None:
        self._now_s += self._lasts_s.pop(0)


async def test_a_server_that_is_too_slow_is_tried_ever_more_rarely_until_it_lasts(
    monkeypatch: pytest.MonkeyPatch,
):
    pauses_s: list[float] = []
    pipeline = FlappingPipeline([0.1] * 8 + [60.0, 0.1])

    async def sleep(seconds: float) -> None:
        pauses_s.append(seconds)
        if len(pauses_s) == 10:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await pipeline._serve()  # pyright: ignore[reportPrivateUsage]
    assert pauses_s == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 0.25, 0.5]


@pytest.mark.usefixtures("no_memory")
async def test_a_question_to_redis_has_a_span_which_tells_whether_it_was_answered(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline_module, "LIMIT_S", 0.2)
    kept, trace = KeptSpans(), TraceContext.new()

    async def repeat() -> list[FinishedSpan]:
        kept.spans.clear()
        metadata = {**REPEAT.to_metadata(), **trace.to_metadata()}
        await bench.host.handle(PUT.path, put(), metadata, 10.0)
        return kept.spans

    async with opened(tmp_path, redis) as bench:
        await bench.act()
        with tracing.recording(Spans(kept.on_end, ALWAYS_ON)):
            asked, call = await repeat()
            assert (asked.name, asked.kind, asked.service) == ("HMGET", SpanKind.CLIENT, SERVICE.name)
            assert asked.attributes == {"db.system.name": "redis", "db.operation.name": "HMGET"}
            assert (asked.parent_id, asked.error) == (call.trace.span_id, "")
            redis.freeze()
            asked, *_ = await repeat()
            redis.thaw()
            assert (asked.error, asked.attributes["error.type"]) == ("timeout", "timeout")


@pytest.mark.usefixtures("no_memory")
async def test_a_flushed_redis_is_a_detour(tmp_path: Path, redis: RedisServer):
    async with opened(tmp_path, redis) as bench:
        await bench.act()
        redis.ask("FLUSHALL")
        assert (await bench.act(REPEAT)).trailers == {REPLAYED: "true"}
        assert bench.ledger.puts == 1


@pytest.mark.usefixtures("no_memory")
async def test_a_full_redis_is_given_up(tmp_path: Path, redis: RedisServer):
    async with opened(tmp_path, redis) as bench:
        redis.ask("CONFIG", "SET", "maxmemory", "1")
        await bench.act()
        await bench.down()
        assert (await bench.act(REPEAT)).trailers == {REPLAYED: "true"}
        assert bench.ledger.puts == 1


async def test_a_server_that_speaks_no_redis_is_given_up(tmp_path: Path):
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running(tmp_path, Ledger(), redis_url=f"redis://127.0.0.1:{port}/0") as host:
        for call in (ACT, REPEAT):
            await host.handle(PUT.path, put(), call.to_metadata(), 10.0)
        await eventually_async("a failure", lambda: pipeline_of(host).failures)


@pytest.mark.usefixtures("no_memory")
async def test_what_others_wrote_is_left_to_the_barrier(tmp_path: Path, redis: RedisServer):
    async with opened(tmp_path, redis) as bench:
        await bench.act()
        await bench.act(REPEAT)
        key = next(
            word for word in redis.ask("KEYS", "sagagen:lab:ledger:*").split() if b".0:" in word
        ).decode()
        for value in ("nonsense", "[1,2,3]", '["saga-1","run-1","put","action","00","DONE",""]', "null"):
            redis.ask("HSET", key, "entries", value)
            assert (await bench.act(REPEAT)).trailers == {REPLAYED: "true"}
        redis.ask("SET", key, "no-hash")
        assert (await bench.act(REPEAT)).trailers == {REPLAYED: "true"}
        assert bench.ledger.puts == 1


@dataclass
class Intruder:
    """Whoever can read and write this Redis, and nothing else."""

    client: Redis

    @classmethod
    @contextmanager
    def at(cls, server: RedisServer) -> Generator["Intruder"]:
        with Redis(port=server.port) as client:
            yield cls(client)

    def entries(self) -> dict[bytes, dict[bytes, bytes]]:
        """What services have stored: hashes by their keys."""
        keys: list[Any] = cast(Any, self.client).keys("sagagen:*.0:*")
        return {key: cast(Any, self.client).hgetall(key) for key in keys}

    def plant(self, key: bytes, entry: dict[bytes, bytes]) -> None:
        self.client.delete(key)
        self.client.hset(key, mapping=cast(Any, entry))


Forgery = Callable[[bytes], bytes]
"""Of a value that a service has stored for saga-1, one that says the same of saga-2."""
FORGERIES: dict[str, Forgery] = {
    "as it is": lambda value: value.replace(b"saga-1", b"saga-2"),
    "without a MAC": lambda value: value.replace(b"saga-1", b"saga-2")[value.index(b"[") :],
    "with an empty MAC": lambda value: bytes(32) + value.replace(b"saga-1", b"saga-2")[value.index(b"[") :],
    "with a MAC by a guessed key": lambda value: (
        hmac.digest(b"", value.replace(b"saga-1", b"saga-2")[value.index(b"[") :], "sha256")
        + value.replace(b"saga-1", b"saga-2")[value.index(b"[") :]
    ),
}


def key_of(intruder: Intruder, saga: str) -> bytes:
    """Where a service will look for the entry of a saga: all that its name is made of can be seen or guessed."""
    prefix = next(iter(intruder.entries())).partition(b".0:")[0]
    name = hashlib.sha256(f"{len(saga)}:{saga}put".encode()).hexdigest()[:32]
    return prefix + b".0:" + name.encode()


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize("forgery", FORGERIES)
async def test_who_can_write_to_redis_confirms_nothing(
    tmp_path: Path, redis: RedisServer, forgery: str, monkeypatch: pytest.MonkeyPatch
):
    """A call that the service has never done is not answered from what somebody planted there."""
    monkeypatch.setattr(pipeline_module, "LIMIT_S", 5.0)
    async with opened(tmp_path, redis) as bench:
        bench.ledger.on_put = agree
        await bench.act()
        await bench.act(REPEAT)  # which is answered once the entry is there
        with Intruder.at(redis) as intruder:
            ((_, entry),) = intruder.entries().items()
            forged = {field: FORGERIES[forgery](value) for field, value in entry.items()}
            intruder.plant(key_of(intruder, "saga-2"), forged)
        await bench.act(saga_call(saga="saga-2", attempt=2))
        assert bench.ledger.puts == 2, "the handler has done it"


@pytest.mark.usefixtures("no_memory")
async def test_an_entry_is_believed_in_its_own_place_alone(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline_module, "LIMIT_S", 5.0)
    async with opened(tmp_path, redis) as bench:
        bench.ledger.on_put = agree
        await bench.act()
        await bench.act(REPEAT)
        with Intruder.at(redis) as intruder:
            ((key, entry),) = intruder.entries().items()
            bits = range(0, 8 * min(map(len, entry.values())), 97)
            for bit in bits:
                bench.forget()
                await bench.pipeline.find("anything", ["x"])  # after it, all that was stored has arrived
                intruder.plant(key, {field: flipped(value, bit) for field, value in entry.items()})
                await bench.act(REPEAT)
            assert bench.ledger.puts == 1 + len(bits), "none of them answers"
            bench.forget()
            await bench.pipeline.find("anything", ["x"])
            intruder.plant(key, entry)
            await bench.act(REPEAT)
        assert bench.ledger.puts == 1 + len(bits), "as it was, it does"


async def agree(_request: PutRequest, _call: CallContext) -> PutResponse:
    return PutResponse(total=7)


def flipped(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.usefixtures("no_memory")
async def test_an_old_entry_does_not_hide_a_compensation(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    """Written back as it was before the compensation, with its own MAC."""
    monkeypatch.setattr(pipeline_module, "LIMIT_S", 5.0)
    async with opened(tmp_path, redis) as bench:
        await bench.act()
        await bench.act(REPEAT)
        with Intruder.at(redis) as intruder:
            ((key, before),) = intruder.entries().items()
            await bench.undo()
            await bench.act(saga_call(saga="saga-2"), put("b"))
            await bench.act(
                saga_call(saga="saga-2", attempt=2), put("b")
            )  # what was stored before is there too
            intruder.plant(key, before)
            with pytest.raises(RpcError) as caught:
                await bench.act(REPEAT)
        assert caught.value.reason == "STEP_COMPENSATED"


@pytest.mark.usefixtures("no_memory")
async def test_a_compensation_while_redis_is_asked_is_not_missed(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    """By the time that Redis has answered, memory has left the compensation to it as well."""
    monkeypatch.setattr(pipeline_module, "LIMIT_S", 5.0)
    find = RedisPipeline.find
    async with opened(tmp_path, redis) as bench:

        async def find_and_undo(self: RedisPipeline, key: str, fields: list[str]) -> Any:
            found = await find(self, key, fields)
            monkeypatch.setattr(RedisPipeline, "find", find)
            await bench.undo()
            return found

        await bench.act()
        monkeypatch.setattr(RedisPipeline, "find", find_and_undo)
        with pytest.raises(RpcError) as caught:
            await bench.act(REPEAT)
        assert caught.value.reason == "STEP_COMPENSATED"


@pytest.mark.usefixtures("no_memory")
async def test_what_is_remembered_of_compensations_is_bounded(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    """One too many begins a new generation: nothing that was stored before is found again."""
    monkeypatch.setattr(pipeline_module, "LIMIT_S", 5.0)
    monkeypatch.setattr(outcome_cache, "MAX_COMPENSATED", 3)
    async with opened(tmp_path, redis) as bench:
        for number in range(4):
            await bench.act(saga_call(saga=f"s{number}"), put(f"n{number}"))
            await bench.undo(saga_call(saga=f"s{number}", direction=Direction.COMPENSATION))
        assert bench.pipeline.generation == 1
        with pytest.raises(RpcError) as caught:
            await bench.act(saga_call(saga="s0", attempt=2), put("n0"))
        assert caught.value.reason == "STEP_COMPENSATED"


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize("project", ["lab", "staging"])
async def test_environments_that_share_a_redis_know_nothing_of_each_other(
    tmp_path: Path, redis: RedisServer, project: str
):
    """Even if one's database is a copy of the other's."""
    (tmp_path / "a").mkdir()
    async with opened(tmp_path / "a", redis):
        pass
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    async with (
        opened(tmp_path / "a", redis) as ours,
        opened(tmp_path / "b", redis, project=project) as theirs,
    ):
        await ours.act()
        await theirs.act(REPEAT)
        assert (ours.ledger.puts, theirs.ledger.puts) == (1, 1)


@pytest.mark.usefixtures("no_memory")
async def test_a_restored_database_is_not_told_what_it_has_lost(tmp_path: Path, redis: RedisServer):
    async with opened(tmp_path, redis):
        pass
    shutil.copytree(tmp_path / "var", tmp_path / "backup")
    async with opened(tmp_path, redis) as bench:
        await bench.act()
        await bench.act(REPEAT)
    shutil.rmtree(tmp_path / "var")
    shutil.copytree(tmp_path / "backup", tmp_path / "var")
    async with opened(tmp_path, redis) as bench:
        assert (await bench.act(REPEAT)).trailers == {}
        assert bench.ledger.puts == 1


@pytest.mark.usefixtures("no_memory")
async def test_effects_happen_once_whatever_befalls_redis(tmp_path: Path, redis: RedisServer):
    troubles = [redis.freeze, redis.thaw, lambda: redis.ask("FLUSHALL"), redis.kill, redis.start]

    async def deliver(bench: Bench, number: int) -> None:
        saga, request = f"s{number}", put(f"n{number}", number)
        replies = [
            await bench.act(saga_call(saga=saga, attempt=attempt), request) for attempt in (1, 2, 2, 3)
        ]
        assert len({reply.response for reply in replies}) == 1

    async with opened(tmp_path, redis) as bench:
        for part, trouble in enumerate(troubles):
            trouble()
            await asyncio.gather(*(deliver(bench, 20 * part + number) for number in range(20)))
        assert bench.ledger.puts == 20 * len(troubles)


async def test_a_call_that_was_not_committed_is_not_remembered(bench: Bench):
    async def fail(request: PutRequest, call: CallContext) -> PutResponse:
        raise RpcError(Code.INTERNAL, "no")

    body, bench.ledger.on_put = bench.ledger.on_put, fail
    with pytest.raises(RpcError):
        await bench.act()
    bench.ledger.on_put = body
    assert (await bench.act(REPEAT)).trailers == {}
