"""Rows outside of the log: any of them comes back as it was, the bytes stay, and what is unknown is refused by name."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from crashing_log import CrashingLog
from engine_world import World, engine
from google.protobuf import descriptor_pb2, json_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpclib.const import Status as Code
from hypothesis import given, settings
from hypothesis import strategies as st
from readable import readable
from released.sql_text import from_text
from small_mesh import SAGA_ID, ManualClock, acceptance, usual_saga
from test_saga_log_file import (
    EVERY_KIND,
    KINDS_OF_SCHEMA_4,
    KINDS_SINCE_SCHEMA_5,
    KINDS_SINCE_SCHEMA_6,
    accepted,
)
from thorough import FUZZ_ROUNDS

from sagagen.runtime.log.search import PAGE
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.restate.failing import is_deployment
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga import codec
from sagagen.runtime.saga.codec import UnknownFields, UnknownFormat, UnknownKind, decode, encode
from sagagen.runtime.saga.events import (
    Accepted,
    Cancelled,
    Compensated,
    Done,
    DoneByHand,
    Ended,
    EventTaken,
    Failed,
    GaveUp,
    Held,
    LogEvent,
    LoopPlanned,
    NextRequest,
    OperatorRow,
    Outcome,
    PassedOver,
    Planned,
    RefusedByHand,
    Resolved,
    Resumed,
    Retried,
    SagaStatus,
    Skipped,
    Stuck,
    TimedOut,
    TimeUp,
    TurnedBack,
)
from sagagen.runtime.saga.history import fold
from sagagen.runtime.saga.history_messages import Batch, Row, descriptor
from sagagen.runtime.saga.journal import JournalUnreadable
from sagagen.runtime.saga.result import StoredAnswer, Succeeded, Superseded, Unsuccessful
from sagagen.runtime.saga.search import SagaQuery
from sagagen.runtime.scope import Failure

PROTO = Path(codec.__file__).with_name("history.proto")
RELEASED = sorted(Path(__file__).parents[1].glob("released/schema_*/saga-log.sql"))

TEXT, BYTES, STEP = st.text(max_size=20), st.binary(max_size=20), st.text(max_size=8)
AT_MS, ATTEMPT = st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1)
DIRECTION, OUTCOME = st.sampled_from(Direction), st.sampled_from(Outcome)
FAILURE = st.builds(Failure, TEXT, TEXT, TEXT, STEP)
NEXT = st.builds(NextRequest, st.none() | BYTES, TEXT, STEP, st.none() | AT_MS)
KEYS = st.lists(STEP, max_size=3).map(tuple)
NUMBER = st.none() | ATTEMPT
RESULT = st.none() | st.one_of(
    st.builds(Succeeded, ATTEMPT, TEXT, BYTES),
    st.builds(Unsuccessful, FAILURE, st.booleans()),
    st.builds(Superseded, TEXT, st.booleans()),
    st.builds(StoredAnswer, ATTEMPT, st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple), BYTES),
)
ROW: dict[str, st.SearchStrategy[object]] = {"at_ms": AT_MS, "span_id": TEXT}
OPERATOR: dict[str, st.SearchStrategy[object]] = {**ROW, "by": TEXT, "note": TEXT}


@st.composite
def accepted_rows(draw: st.DrawFn) -> Accepted:
    span_id = draw(TEXT)
    return Accepted(
        at_ms=draw(AT_MS),
        span_id=span_id,
        saga_id=draw(TEXT),
        saga=draw(TEXT),
        version=draw(ATTEMPT),
        digest=draw(TEXT),
        run=draw(TEXT),
        caller=draw(TEXT),
        key=draw(TEXT),
        fingerprint=draw(BYTES),
        input=draw(BYTES),
        trace=TraceContext(draw(TEXT), span_id, draw(ATTEMPT), draw(TEXT)),
        next=draw(NEXT),
        starts_ms=draw(st.none() | AT_MS),
        claims=draw(TEXT),
    )


ROWS: Sequence[st.SearchStrategy[LogEvent]] = (
    accepted_rows(),
    st.builds(
        Done, **ROW, step=STEP, attempt=ATTEMPT, response=BYTES, next=NEXT, result=RESULT, event=NUMBER
    ),
    st.builds(Planned, **ROW, next=NEXT),
    st.builds(LoopPlanned, **ROW, step=STEP, keys=KEYS, at_once=ATTEMPT, result=RESULT),
    st.builds(Skipped, **ROW, step=STEP, result=RESULT),
    st.builds(TimedOut, **ROW, step=STEP, result=RESULT),
    st.builds(
        EventTaken, **ROW, event=TEXT, key=TEXT, fingerprint=BYTES, payload=BYTES, caller=TEXT, claims=TEXT
    ),
    st.builds(
        Failed,
        **ROW,
        step=STEP,
        direction=DIRECTION,
        attempt=ATTEMPT,
        outcome=OUTCOME,
        code=st.sampled_from(Code),
        domain=TEXT,
        reason=TEXT,
        message=TEXT,
        retry_after_s=st.none() | st.floats(allow_nan=False),
        is_other_payload=st.booleans(),
        owner_run=TEXT,
        event=NUMBER,
    ),
    st.builds(TimeUp, **ROW, step=STEP, direction=DIRECTION),
    st.builds(TurnedBack, **ROW, failure=FAILURE, outcome=OUTCOME, result=RESULT, doubt=KEYS),
    st.builds(Compensated, **ROW, step=STEP, attempt=ATTEMPT),
    st.builds(PassedOver, **ROW, step=STEP, reason=TEXT, message=TEXT),
    st.builds(Ended, **ROW, status=st.sampled_from(SagaStatus), result=RESULT),
    st.builds(Stuck, **ROW, direction=DIRECTION, failure=FAILURE),
    st.builds(Resumed, **ROW),
    st.builds(Retried, **OPERATOR, step=STEP, direction=DIRECTION),
    st.builds(Resolved, **OPERATOR, step=STEP),
    st.builds(Cancelled, **OPERATOR, reason=TEXT, caller=TEXT, key=TEXT, fingerprint=BYTES),
    st.builds(Held, **OPERATOR, step=STEP, direction=DIRECTION),
    st.builds(DoneByHand, **OPERATOR, step=STEP, response=BYTES, next=NEXT, result=RESULT),
    st.builds(RefusedByHand, **OPERATOR, step=STEP),
    st.builds(GaveUp, **OPERATOR, failure=FAILURE, next=NEXT, result=RESULT),
)


@settings(max_examples=150 * FUZZ_ROUNDS)
@given(st.lists(st.one_of(*ROWS), max_size=5).map(tuple))
def test_any_rows_come_back_as_they_were(rows: tuple[LogEvent, ...]) -> None:
    assert decode(encode(rows)) == rows


def test_every_kind_of_row_is_tried() -> None:
    # By name: a dataclass with slots is made twice, and the first one stays in __subclasses__.
    kinds = {kind.__name__ for kind in (*LogEvent.__subclasses__(), *OperatorRow.__subclasses__())}
    assert {type(row).__name__ for row in (accepted(), *EVERY_KIND)} == kinds - {"OperatorRow"}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("rows_of_format_1.hex", KINDS_OF_SCHEMA_4),
        ("rows_of_format_1_since_schema_5.hex", KINDS_SINCE_SCHEMA_5),
        ("rows_of_format_1_since_schema_6.hex", KINDS_SINCE_SCHEMA_6),
    ],
)
def test_the_bytes_of_format_1_stay(name: str, kinds: Sequence[LogEvent]) -> None:
    rows = (accepted(), *kinds)
    golden = bytes.fromhex(Path(__file__).with_name(name).read_text())
    assert encode(rows).hex() == golden.hex(), "a change of these bytes needs another format"
    assert decode(golden) == rows


async def _ended(world: World, clock: ManualClock) -> Sequence[LogEvent]:
    definition, log = usual_saga(respond_after="one"), CrashingLog()
    async with engine(definition, log, world, clock) as running:
        await running.accept(acceptance(definition))
        await running.wait_until_idle()
    return [*log.sagas[SAGA_ID].rows, *log.sagas[SAGA_ID].lazy]


@pytest.mark.parametrize("trouble", ["none", "declined", "in doubt", "stuck"])
def test_the_history_of_a_saga_comes_back_and_says_the_same(trouble: str) -> None:
    clock = ManualClock()
    forgotten = RpcError(Code.FAILED_PRECONDITION, "forgotten", reason="FORGOTTEN", domain="sagagen")
    world = {
        "none": World(clock),
        "declined": World(clock, declines=frozenset({"pivot"})),
        "in doubt": World(clock, faults={("two", Direction.ACTION): ["lost", "down"]}),
        "stuck": World(clock, faults={("after", Direction.ACTION): [forgotten]}),
    }[trouble]
    rows = asyncio.run(_ended(world, clock))
    assert len(rows) > 5
    assert fold(decode(encode(rows))) == fold(rows)


@pytest.mark.parametrize("text", RELEASED, ids=lambda path: path.parent.name)
async def test_what_released_versions_logged_comes_back(text: Path, tmp_path: Path) -> None:
    from_text(text.read_text(), tmp_path / "saga-log.db")
    async with SagaLog.open(tmp_path / "saga-log.db") as log:
        sagas = await log.search(SagaQuery(statuses=tuple(SagaStatus), limit=PAGE))
    assert len(sagas) > 20
    for saga in readable(sagas):
        assert decode(encode(saga.rows)) == saga.rows


def test_another_format_is_refused_by_name() -> None:
    with pytest.raises(UnknownFormat, match="reads rows of format 2") as refused:
        decode(Batch(format=2).SerializeToString())
    assert refused.value.number == 2
    with pytest.raises(UnknownFormat, match="format 0"):
        decode(b"")


def test_another_kind_of_row_is_refused_by_name() -> None:
    with pytest.raises(UnknownKind, match='"AWAITED"') as refused:
        decode(Batch(format=1, rows=[Row(kind="AWAITED", at_ms=1)]).SerializeToString())
    assert refused.value.kind == "AWAITED"


@pytest.mark.parametrize("data", [b"\xff", b"\x08\x01\x1a\x00", b"\x08\x01\x12\x08\x0a\x04DONE\x10\x01"])
def test_what_is_no_batch_is_refused(data: bytes) -> None:
    """Bytes that are no message, a field of the batch that nobody knows, and a row that lacks most of its columns."""
    with pytest.raises(JournalUnreadable):
        decode(data)


def test_a_column_that_nobody_knows_is_refused() -> None:
    row = Row(kind="RESUMED", at_ms=1).SerializeToString() + b"\xfa\x07\x01x"
    batch = b"\x08\x01\x12" + bytes([len(row)]) + row
    with pytest.raises(UnknownFields, match="127") as refused:
        decode(batch)
    assert refused.value.numbers == (127,)
    assert is_deployment(refused.value), "sagas on Restate say that they wait for other code"


def test_the_proto_file_says_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "history.proto").write_bytes(PROTO.read_bytes())
    buf = Path(sys.executable).with_name("buf")
    command = [buf, "build", "--as-file-descriptor-set", "--exclude-source-info", "-o", "-"]
    image = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    (file,) = FileDescriptorSet.FromString(image).file
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    assert json_format.MessageToDict(file) == json_format.MessageToDict(descriptor())
    assert file.edition == descriptor_pb2.EDITION_2023
