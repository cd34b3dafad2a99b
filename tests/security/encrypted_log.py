"""A saga log that is encrypted, for tests: what is put into it, and what can be found in its files."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from grpclib.const import Status as Code
from small_mesh import TRACE

from sagagen.runtime.engine.log_port import EngineLog
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.saga.events import (
    Accepted,
    Cancelled,
    Done,
    Ended,
    EventTaken,
    Failed,
    LogEvent,
    NextRequest,
    Outcome,
    SagaStatus,
    TurnedBack,
)
from sagagen.runtime.saga.logged import SagaRef
from sagagen.runtime.saga.result import Succeeded, Unsuccessful
from sagagen.runtime.scope import Failure
from sagagen.runtime.vault.vault import FileKeys

CANARY = "c4n4ry-of-a-customer"
SECRET = CANARY.encode()
K1, K2 = ("k1", b"1" * 32), ("k2", b"2" * 32)
KEYS = FileKeys([K1])
DIGEST = b"digest-of-a-request-" + SECRET
ENDED = Ended(at_ms=20, status=SagaStatus.COMPLETED)


def accepted(saga_id: str, caller: str = "ann") -> Accepted:
    return Accepted(
        at_ms=5,
        span_id=TRACE.span_id,
        saga_id=saga_id,
        saga="place",
        version=1,
        digest="d1",
        run="0123456789abcdef",
        caller=caller,
        key="key-1",
        fingerprint=DIGEST,
        input=SECRET + b"input",
        trace=TRACE,
        next=NextRequest(SECRET + b"first"),
        claims=f'{{"mail":"{CANARY}"}}',
    )


ROWS: Sequence[LogEvent] = (
    Done(
        at_ms=6,
        step="one",
        attempt=1,
        response=SECRET + b"one",
        next=NextRequest(SECRET + b"two"),
        result=Succeeded(201, "test.v1.Text", SECRET + b"answer"),
    ),
    Done(at_ms=6, step="two", attempt=1, response=SECRET + b"two", next=NextRequest(problem=CANARY)),
    Failed(
        at_ms=7,
        step="three",
        direction=Direction.ACTION,
        attempt=1,
        outcome=Outcome.REFUSED,
        code=Code.FAILED_PRECONDITION,
        domain="one",
        reason="NO",
        message=CANARY,
        retry_after_s=None,
        is_other_payload=False,
    ),
    EventTaken(
        at_ms=8, event="pay", payload=SECRET, caller="ann", key="k", fingerprint=DIGEST, claims=CANARY
    ),
    Cancelled(at_ms=9, by="ann", note=CANARY, reason="CHANGED_MIND"),
    TurnedBack(
        at_ms=10,
        failure=Failure("ABORTED", "NO", CANARY, "three"),
        outcome=Outcome.REFUSED,
        result=Unsuccessful(Failure("ABORTED", "NO", CANARY, "three"), is_refused=True),
    ),
)


async def begin(log: EngineLog, saga_id: str, subject: str = "") -> SagaRef:
    """A saga with every column that holds what a customer said."""
    ref = await log.accept(accepted(saga_id), (), subject)
    assert ref
    await log.append(ref, ROWS, SagaStatus.COMPENSATING)
    return ref


async def run(log: EngineLog, saga_id: str, subject: str = "") -> None:
    """One that has ended."""
    ref = await begin(log, saga_id, subject)
    await log.append(ref, [ENDED], SagaStatus.COMPLETED)


def files_with(folder: Path, *found: bytes) -> set[str]:
    """Files in which any of these bytes are."""
    contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return {name for name, content in contents.items() if any(each in content for each in found)}


def change(path: Path, *statements: str) -> None:
    """Do to a file what somebody could who may write it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement


def values(path: Path, query: str) -> list[bytes]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(query)]
