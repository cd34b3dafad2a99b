"""Final answers, passed between gateways that share services and a Redis, but no log.

Theory of operation. A key that two gateways accept is two runs of one saga; the services let one of them own it, and
tell the other which, by a digest (OTHER_RUN). Answers are stored under saga and that digest of their run, after their
row is committed, and looked up only under the digest that a service has named. So what is found belongs to the effects
that are in the services' databases, however old it is. It has a MAC by a secret that the gateways have in common, so
nobody else made it. A request that no other gateway had before costs no lookup. An answer never changes, so it has no
generation. Without one from Redis the gateway says SAGA_ELSEWHERE, which is true as well.

An event, and a request to cancel, name a saga by its id alone. So a gateway tells of each saga that takes them that it
has it; another one that has not says SAGA_ELSEWHERE then, and otherwise UNKNOWN_SAGA, which is all that it can know.
"""

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.identity import owner_digest
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.redis.observation import traced_lookup
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.events import Accepted
from sagagen.runtime.settings import Settings
from sagagen.runtime.telemetry import spans as tracing

if TYPE_CHECKING:
    from sagagen.runtime.redis.pipeline import RedisPipeline
    from sagagen.runtime.redis.seal import Seal

LARGEST_ANSWER = 64 * 1024
"""Bytes of its body; a larger one is not shared."""
_FIELD = "answer"
_PLACE = "here"
"""Stands for the run's digest in the key by which a gateway tells that it has a saga. No digest is like it."""


@dataclass(frozen=True, slots=True)
class SharedAnswer:
    """What a gateway answered to the first request with a key."""

    fingerprint: bytes
    """Of trigger and payload, as in the log."""
    trace_id: str
    answer: Answer

    def encode(self) -> bytes:
        answer = self.answer
        body = base64.b64encode(answer.body).decode()
        return json.dumps(
            [self.fingerprint.hex(), self.trace_id, answer.status, answer.headers, body]
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> "SharedAnswer | None":
        """None for what is no answer: a gateway of another version may have written it."""
        try:
            fingerprint, trace_id, status, headers, body = json.loads(data)
            pairs = tuple((str(name), str(value)) for name, value in headers)
            answer = Answer(int(status), pairs, base64.b64decode(body, validate=True))
            return cls(bytes.fromhex(fingerprint), str(trace_id), answer)
        except (ValueError, TypeError, RecursionError):
            return None


class SharedAnswers:
    """Of one project. Made by `open`."""

    def __init__(self, project: str, redis: "RedisPipeline", seal: "Seal") -> None:
        self._prefix = _prefix(project)
        self._redis = redis
        self._seal = seal

    @classmethod
    @asynccontextmanager
    async def open(cls, project: str, settings: Settings) -> AsyncGenerator["SharedAnswers | None"]:
        """None unless the environment says that there are other gateways."""
        if not (settings.shares_answers and settings.redis and settings.share_answers_key):
            yield None
            return
        from sagagen.runtime.redis.pipeline import RedisPipeline  # only here: redis takes a sixth of a start
        from sagagen.runtime.redis.seal import seal

        async with RedisPipeline.open(settings.redis, f"{_prefix(project)}:trial") as line:
            yield cls(project, line, seal(settings.share_answers_key, is_encrypted=settings.is_encrypted))

    def store(self, saga: Saga, accepted: Accepted, answer: Answer) -> None:
        """The answer is committed. Kept as long as the saga's key is."""
        if accepted.key and len(answer.body) <= LARGEST_ANSWER:
            shared = SharedAnswer(accepted.fingerprint, accepted.trace.trace_id, answer)
            key = self._key(accepted.saga_id, owner_digest(accepted.saga_id, accepted.run))
            sealed = self._seal.close(key, shared.encode())
            self._redis.store(key, {_FIELD: sealed}, max(1, int(saga.retention_s)))

    async def find(self, saga_id: str, owner: str, trace: TraceContext) -> SharedAnswer | None:
        """What the run that owns the saga answered, if it has, and if Redis knows it and replies within its limit.

        `owner`: its digest, as a service tells it. `trace`: the span of the request that asks.
        """
        data = await self._asked(self._key(saga_id, owner), trace)
        return None if data is None else SharedAnswer.decode(data)

    async def _asked(self, key: str, trace: TraceContext) -> bytes | None:
        """What Redis has under this key, if one of these gateways has put it there."""
        if not self._redis.is_up:
            return None
        with traced_lookup(tracing.GATEWAY, trace) as lookup:
            found = await self._redis.find(key, [_FIELD])
            lookup.is_answered = found is not None
        return self._seal.open(key, found[0]) if found else None

    def tell(self, saga: Saga, saga_id: str) -> None:
        """This gateway has a saga to which others may be sent events. Kept as long as it may run, and its answer."""
        start_s = saga.start.at_most_s if saga.start else 0.0
        key = self._key(saga_id, _PLACE)
        kept_s = max(1, int(start_s + saga.deadline_s + saga.retention_s))
        self._redis.store(key, {_FIELD: self._seal.close(key, _PLACE.encode())}, kept_s)

    async def is_elsewhere(self, saga_id: str, trace: TraceContext) -> bool:
        """Whether a gateway has told that it has this saga; False where Redis does not reply within its limit."""
        key = self._key(saga_id, _PLACE)
        data = await self._asked(key, trace)
        return data == _PLACE.encode()

    def _key(self, saga_id: str, owner: str) -> str:
        return f"{self._prefix}:{saga_id}:{owner}"


def _prefix(project: str) -> str:
    return f"sagagen:{project}:answers"
