"""What was settled already, answered without the database: from this process's memory, otherwise from Redis.

What memory has no room for is evicted to Redis, so that a step costs no round trip before that. Only repeats ask; a
first attempt goes straight to the barrier, which must be passed anyway. What is found here was committed: the store
reports a row after its COMMIT. Both directions of a step stand in one entry, so that a compensation, once remembered,
can't be forgotten while its action is remembered. Whatever does not match in saga, run, step, direction and digest is
left to the barrier, and so is all that is not found.

Redis is not trusted: what it holds has a MAC by a key that each start makes anew and keeps in memory. A value that was
true once may come back, though, written by whoever kept it: so it is remembered here for which steps Redis was given a
compensation, and the answers of their actions are not asked for any more.
"""

import base64
import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from sagagen.runtime.addresses import RedisAddress
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.redis.observation import traced_lookup
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.secret_file import Secret
from sagagen.runtime.service.barrier.calls import CallResult, Record, result_of_row
from sagagen.runtime.service.barrier.rules import BarrierRow, State
from sagagen.runtime.service.store import DatabaseIdentity
from sagagen.runtime.telemetry.metrics import HITS

if TYPE_CHECKING:
    from sagagen.runtime.redis.pipeline import RedisPipeline
    from sagagen.runtime.redis.seal import Seal

CACHE_BYTES = 1024 * 1024
"""Of outcomes and what surrounds them: some 2,000, and small enough for a processor's cache.

Once it is full, each call evicts an entry. Sixteen times as much costs a saga 6 % more then (measured).
"""
MAX_COMPENSATED = 20_000
"""Steps of which is remembered that Redis has their compensation, some 3 MiB; one more begins a new generation."""
LARGEST_OUTCOME = 64 * 1024
"""Bytes; the barrier answers what is larger."""
_ROW_BYTES = 500
KEY_BYTES = 32
"""As many as a MAC has (RFC 2104, section 3)."""
MEMORY, REDIS, BARRIER = "memory", "redis", "barrier"
"""What may answer a repeat; values of a label."""


class Entry(NamedTuple):
    """A row of the barrier, as it was committed."""

    saga: str
    run: str
    step: str
    direction: Direction
    digest: bytes
    state: State
    outcome: bytes | None
    """None: ask the barrier."""

    @classmethod
    def of(cls, record: Record) -> "Entry":
        is_kept = record.state is not State.PENDING and len(record.outcome) <= LARGEST_OUTCOME
        call = record.call
        return cls(
            call.saga_id,
            call.run,
            call.step,
            call.direction,
            record.digest,
            record.state,
            record.outcome if is_kept else None,
        )

    def answers(self, call: SagaCall, digest: bytes) -> bool:
        return self.outcome is not None and (self.saga, self.run, self.step, self.direction, self.digest) == (
            call.saga_id,
            call.run,
            call.step,
            call.direction,
            digest,
        )

    def encode(self) -> list[str | None]:
        outcome = None if self.outcome is None else base64.b64encode(self.outcome).decode()
        return [self.saga, self.run, self.step, self.direction, self.digest.hex(), self.state, outcome]

    @classmethod
    def decode(
        cls, saga: str, run: str, step: str, direction: str, digest: str, state: str, outcome: str | None
    ) -> "Entry":
        found = None if outcome is None else base64.b64decode(outcome)
        return cls(saga, run, step, Direction(direction), bytes.fromhex(digest), State(state), found)


Entries = Mapping[Direction, Entry]
_FIELD = "entries"
"""Of the hash in Redis that holds both directions of a step, so that they have one MAC."""


def _encoded(entries: Iterable[Entry]) -> bytes:
    return json.dumps([entry.encode() for entry in entries]).encode()


def _decoded(data: bytes) -> Entries:
    entries = [Entry.decode(*parts) for parts in json.loads(data)]
    return {entry.direction: entry for entry in entries}


class OutcomeCache:
    """The settled calls of one service. Made by `open`."""

    def __init__(
        self,
        service: str,
        redis: "RedisPipeline | None" = None,
        prefix: str = "",
        seal: "Seal | None" = None,
    ) -> None:
        """`prefix` of keys in Redis names this database and this start of it, among all that share the server.

        `seal` is needed with `redis`, and is of this start alone.
        """
        self._service = service
        self._prefix = prefix
        self._hits = {layer: HITS.labels(service, layer) for layer in (MEMORY, REDIS, BARRIER)}
        self.redis = redis
        self._seal = seal
        self._compensated: set[str] = set()
        self._cache: OrderedDict[tuple[str, str], dict[Direction, Entry]] = OrderedDict()
        self._free = CACHE_BYTES

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        project: str,
        service: str,
        identity: DatabaseIdentity,
        address: RedisAddress | None = None,
        *,
        is_encrypted: bool = False,
    ) -> AsyncGenerator["OutcomeCache"]:
        """Without an address of Redis there is only the memory of this process. `is_encrypted`: what is in Redis is."""
        if address is None:
            yield cls(service)
            return
        from sagagen.runtime.redis.pipeline import RedisPipeline  # only here: redis takes a sixth of a start
        from sagagen.runtime.redis.seal import seal

        # A database restored from a backup counts epochs up that have been before; so each start has a random part too.
        start = f"{identity.epoch}-{secrets.token_hex(8)}"
        prefix = f"sagagen:{project}:{service}:{identity.database_id:x}:{start}"
        async with RedisPipeline.open(address, f"{prefix}:trial") as pipeline:
            yield cls(
                service,
                pipeline,
                prefix,
                seal(
                    Secret.of("a key of this start", secrets.token_bytes(KEY_BYTES)),
                    is_encrypted=is_encrypted,
                ),
            )

    def remember(self, record: Record) -> None:
        """The row is committed: from now on it answers repeats."""
        entry = Entry.of(record)
        place = (entry.saga, entry.step)
        rows = self._cache.setdefault(place, {})
        if earlier := rows.get(entry.direction):
            self._free += _weight(earlier)
        rows[entry.direction] = entry
        self._free -= _weight(entry)
        self._cache.move_to_end(place)
        while self._free < 0:
            self._evict(*self._cache.popitem(last=False))

    def forget_all(self) -> None:
        """The database may lack what is remembered: from now on the barrier is asked."""
        self._cache.clear()
        self._free = CACHE_BYTES
        self._compensated.clear()
        if self.redis:
            self.redis.forget()

    def _evict(self, place: tuple[str, str], rows: Mapping[Direction, Entry]) -> None:
        """Redis gets what memory has no room for; until then nobody would ask it."""
        self._free += sum(_weight(row) for row in rows.values())
        if self.redis and self._seal:
            if Direction.COMPENSATION in rows:
                self._note_compensation(self.redis, _name(*place))
            key = self._key(self.redis, *place)
            self.redis.store(key, {_FIELD: self._seal.close(key, _encoded(rows.values()))})

    def _note_compensation(self, redis: "RedisPipeline", name: str) -> None:
        if len(self._compensated) >= MAX_COMPENSATED:
            redis.forget()
            self._compensated.clear()
        self._compensated.add(name)

    async def find(
        self, call: SagaCall, digest: bytes, now_ms: int, trace: TraceContext | None = None
    ) -> CallResult | None:
        """The recorded outcome, if the barrier would certainly answer with it too. `trace`: the span of the call."""
        if now_ms > call.not_after_ms:
            return None
        layer, entries = MEMORY, self._cache.get((call.saga_id, call.step))
        if entries is None:
            layer, entries = REDIS, await self._look_up(call, trace)
        result = _result(entries, call, digest)
        self._hits[layer if result else BARRIER].inc()
        return result

    async def _look_up(self, call: SagaCall, trace: TraceContext | None) -> Entries:
        if self.redis is None or self._seal is None or not self.redis.is_up:
            return {}
        if self._is_compensated_there(call):
            return {}
        key = self._key(self.redis, call.saga_id, call.step)
        with traced_lookup(self._service, trace) as lookup:
            found = await self.redis.find(key, [_FIELD])
            lookup.is_answered = found is not None
        # This process may have committed something meanwhile, which is newer than what Redis says.
        if latest := self._cache.get((call.saga_id, call.step)):
            return latest
        if self._is_compensated_there(call):  # and memory had no room for it
            return {}
        data = self._seal.open(key, found[0]) if found else None
        return {} if data is None else _decoded(data)

    def _is_compensated_there(self, call: SagaCall) -> bool:
        """Redis was given the compensation of this action: what it says of the action may be older."""
        return call.direction is Direction.ACTION and _name(call.saga_id, call.step) in self._compensated

    def _key(self, redis: "RedisPipeline", saga: str, step: str) -> str:
        return f"{self._prefix}.{redis.generation}:{_name(saga, step)}"


def _result(entries: Entries, call: SagaCall, digest: bytes) -> CallResult | None:
    if call.direction is Direction.ACTION and Direction.COMPENSATION in entries:
        return None  # the barrier refuses it now, whatever it answered before
    entry = entries.get(call.direction)
    if entry is None or entry.outcome is None or not entry.answers(call, digest):
        return None
    return result_of_row(BarrierRow(entry.run, entry.digest, entry.state, entry.outcome))


def _weight(entry: Entry) -> int:
    return _ROW_BYTES + len(entry.outcome or b"")


def _name(saga: str, step: str) -> str:
    return hashlib.sha256(f"{len(saga)}:{saga}{step}".encode()).hexdigest()[:32]
