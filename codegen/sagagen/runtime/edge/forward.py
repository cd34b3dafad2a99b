"""The routes that a service answers: reads, and writes outside any saga."""

import asyncio
import re
from random import Random, SystemRandom

from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.entry import Entry
from sagagen.runtime.edge.exchange import Exchange
from sagagen.runtime.edge.json.protojson import AnswerNotWritten, JsonWriter
from sagagen.runtime.edge.key import idempotency_key
from sagagen.runtime.edge.problem import Problem, ProblemError, from_rpc_error, invalid, retry_after
from sagagen.runtime.edge.responder import JSON, not_written
from sagagen.runtime.edge.start import REPLAYED
from sagagen.runtime.edge.transcoding.request import RequestReader
from sagagen.runtime.identity import direct_id
from sagagen.runtime.model.definition import Route
from sagagen.runtime.rpc.errors import Code, RpcError
from sagagen.runtime.rpc.metadata import IDEMPOTENCY_KEY, caller_metadata
from sagagen.runtime.rpc.metadata import REPLAYED as REPLAYED_TRAILER
from sagagen.runtime.rpc.transport import Reply, Transport

DEFAULT_TIMEOUT_S = 10.0
"""Time in seconds that a service has, unless the request asks for less."""
RETRY_PAUSE_S = 0.05

_OF_A_THING = frozenset(
    {
        Code.NOT_FOUND,
        Code.FAILED_PRECONDITION,
        Code.PERMISSION_DENIED,
        Code.ALREADY_EXISTS,
        Code.ABORTED,
        Code.OUT_OF_RANGE,
        Code.CANCELLED,
    }
)
"""What a service says of the thing that is read. Where that may be another's, all of it is 404."""
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
"""gRPC's wire format of a timeout, which grpc-gateway reads from the header Grpc-Timeout."""


class Waiting:
    """Counts the requests that wait for a service, of all routes together, and refuses one too many."""

    def __init__(self, limit: int, at_most_s: float = DEFAULT_TIMEOUT_S) -> None:
        """`at_most_s` is how long one waits, in seconds; a client may ask for less."""
        self.at_most_s = at_most_s
        self._limit = limit
        self._count = 0

    def __enter__(self) -> None:
        if self._count >= self._limit:
            detail = f"{self._limit} requests wait for an answer already; send this one again a little later"
            raise ProblemError(
                Problem(503, "RESOURCE_EXHAUSTED", "OVERLOADED", detail, headers=(retry_after(),))
            )
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1


class ForwardEndpoint:
    """Calls one rpc of a service."""

    def __init__(
        self,
        route: Route,
        reader: RequestReader,
        writer: JsonWriter,
        entry: Entry,
        transport: Transport,
        waiting: Waiting,
        random: Random | None = None,
    ) -> None:
        self._random = random or SystemRandom()
        self._method = route.method
        self._reader = reader
        self._writer = writer
        self._entry = entry
        self._transport = transport
        self._waiting = waiting

    async def __call__(self, exchange: Exchange) -> Answer:
        identity = await self._entry(exchange)
        timeout_s = _timeout_s(exchange.request.headers.get("grpc-timeout", ""), self._waiting.at_most_s)
        metadata = (
            exchange.trace.to_metadata()
            | self._key_metadata(exchange, identity.caller)
            | caller_metadata(identity.caller, identity.told_claims)
        )
        body = await exchange.body(self._reader.max_body_bytes)
        data = await self._reader.read(exchange.values, exchange.query, body)
        self._entry.check_request(identity, data)
        with self._waiting:
            reply = await self._call(data, metadata, timeout_s)
        self._entry.check_response(identity, data, reply.response)
        replayed = (REPLAYED,) if reply.trailers.get(REPLAYED_TRAILER) == "true" else ()
        return Answer(200, (*JSON, *replayed), self._written(reply))

    def _written(self, reply: Reply) -> bytes:
        try:
            return self._writer.write(reply.response)
        except AnswerNotWritten as error:
            raise ProblemError(not_written("the service has answered", error)) from error

    def _key_metadata(self, exchange: Exchange, caller: str) -> dict[str, str]:
        """A write always has a key, the client's own if it sent one: so it is safe to repeat it here."""
        if self._method.is_read:
            return {}
        key = idempotency_key(exchange.request.headers)
        if not key:
            return {
                IDEMPOTENCY_KEY: direct_id(caller, self._method.path, f"{self._random.getrandbits(128):032x}")
            }
        return {IDEMPOTENCY_KEY: direct_id(caller, self._method.path, key)}

    async def _call(self, request: bytes, metadata: dict[str, str], timeout_s: float) -> Reply:
        try:
            async with asyncio.timeout(timeout_s) as limit:
                return await self._call_twice(request, metadata, limit)
        except TimeoutError as error:
            late = RpcError(Code.DEADLINE_EXCEEDED, "the service did not answer in time")
            raise ProblemError(from_rpc_error(late)) from error
        except RpcError as error:
            if self._entry.hides and error.code in _OF_A_THING:
                raise self._entry.not_found() from error
            raise ProblemError(from_rpc_error(error)) from error

    async def _call_twice(self, request: bytes, metadata: dict[str, str], limit: asyncio.Timeout) -> Reply:
        """Once more where no answer came: a connection that broke while it was idle is no reason to fail."""
        try:
            return await self._call_once(request, metadata, limit)
        except RpcError as error:
            if error.code is not Code.UNAVAILABLE or error.is_ours:
                raise
        await asyncio.sleep(RETRY_PAUSE_S)
        return await self._call_once(request, metadata, limit)

    async def _call_once(self, request: bytes, metadata: dict[str, str], limit: asyncio.Timeout) -> Reply:
        left_s = (limit.when() or 0.0) - asyncio.get_running_loop().time()
        return await self._transport.call(
            self._method.path, request, metadata=metadata, timeout_s=max(left_s, 0.001)
        )


def _timeout_s(header: str, at_most_s: float) -> float:
    if not header:
        return at_most_s
    parts = _TIMEOUT.fullmatch(header)
    if not parts:
        raise invalid(
            "INVALID_TIMEOUT", 'Grpc-Timeout is a number and a unit, for example "500m" for half a second'
        )
    return min(int(parts[1]) * _UNITS_S[parts[2]], at_most_s)
