"""What a process is told of Restate, orders as bytes, and permits: without a server."""

import asyncio
from dataclasses import replace

import pytest
from waiting import eventually_async

from generated.mesh import MESH
from sagagen.runtime.addresses import Address, RestateAddress
from sagagen.runtime.audit.entry import AuditEntry, Result
from sagagen.runtime.engine.port import CommandRejected, Delivery, NotDelivered, OperatorCommand, Refusal
from sagagen.runtime.process.restate import refuse_short_memory
from sagagen.runtime.restate.batch import RowBatch, encoded_rows_in, from_bytes, to_bytes
from sagagen.runtime.restate.orders import (
    DONE,
    REPEATED,
    is_new_of,
    order_from_bytes,
    order_to_bytes,
    refusal_to_bytes,
)
from sagagen.runtime.restate.permits import Permits
from sagagen.runtime.restate.replies import Replies, ReplyListener, Told
from sagagen.runtime.restate.state import of_state, to_state
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.saga.codec import UnknownFormat
from sagagen.runtime.saga.commands import Act
from sagagen.runtime.saga.events import Accepted, NextRequest, Outcome, Resumed
from sagagen.runtime.saga.history import fold
from sagagen.runtime.startup import SettingsError, StartupError

URL = "restate+http://127.0.0.1:8080"
ROW = Accepted(
    at_ms=1,
    span_id="00f067aa0ba902b7",
    saga_id="s",
    saga="place",
    version=1,
    digest="d",
    run="r",
    caller="ann",
    key="k",
    fingerprint=b"f",
    input=b"i",
    trace=TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1, ""),
    next=NextRequest(),
)

RESUMED = Resumed(at_ms=2)


def test_without_a_url_and_with_that_of_postgresql_there_is_no_restate() -> None:
    assert RestateAddress.read({}) is None
    assert RestateAddress.read({"SAGAGEN_ENGINE_URL": "postgresql://log@db/sagas"}) is None


def test_one_url_is_enough_on_one_machine() -> None:
    read = RestateAddress.read({"SAGAGEN_ENGINE_URL": URL})
    assert read
    assert (read.ingress, read.admin) == (("http://127.0.0.1:8080",), ("http://127.0.0.1:9070",))
    assert (read.listens, read.hears) == (Address("127.0.0.1", 9080), Address("127.0.0.1", 0))


def test_a_cluster_has_several_hosts_and_tells_nobody_unasked() -> None:
    read = RestateAddress.read({"SAGAGEN_ENGINE_URL": "restate+https://a:443,b:444"})
    assert read
    assert (read.ingress, read.hears) == (("https://a:443", "https://b:444"), None)
    assert read.admin == ("http://a:9070", "http://b:9070")


def test_any_of_the_admin_listeners_that_are_written_will_do() -> None:
    written = "http://a:1, https://b:2/"
    read = RestateAddress.read({"SAGAGEN_ENGINE_URL": URL, "SAGAGEN_ENGINE_ADMIN_URL": written})
    assert read
    assert read.admin == ("http://a:1", "https://b:2")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SAGAGEN_ENGINE_URL": "redis://x"}, r"write restate\+http://host:8080"),
        ({"SAGAGEN_ENGINE_URL": "http://localhost:8080"}, r"write restate\+http://host:8080"),
        ({"SAGAGEN_ENGINE_URL": "restate+http://localhost"}, "is no address"),
        ({"SAGAGEN_ENGINE_URL": URL, "SAGAGEN_ENGINE_ADDR": "0.0.0.0:9080"}, "SAGAGEN_ENGINE_IDENTITY_KEY"),
        ({"SAGAGEN_ENGINE_URL": URL, "SAGAGEN_ENGINE_IDENTITY_KEY": "secret"}, "begins with publickeyv1_"),
    ],
)
def test_what_can_not_be_used_is_said_with_the_way_out(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        RestateAddress.read(environment)


def test_an_adapter_that_others_reach_knows_restate_or_says_that_it_need_not() -> None:
    there = {"SAGAGEN_ENGINE_URL": URL, "SAGAGEN_ENGINE_ADDR": "0.0.0.0:9080"}
    assert RestateAddress.read({**there, "SAGAGEN_ENGINE_INSECURE": "1"})
    assert RestateAddress.read({**there, "SAGAGEN_ENGINE_IDENTITY_KEY": "publickeyv1_x"})


AUDIT = AuditEntry(1, "ann", "cancel", Result.DONE)


@pytest.mark.parametrize(
    "order",
    [
        OperatorCommand(Act.RETRY, "ann"),
        OperatorCommand(Act.RESOLVE, "ann", "note", "two", Outcome.REFUSED, b"\x00\xff", audit=AUDIT),
        Delivery("place", "s", "answered", "k", b"\x00f", b"\xffp", "ann", claims="{}", audit=AUDIT),
    ],
)
def test_orders_come_back_as_they_were(order: OperatorCommand | Delivery) -> None:
    assert order_from_bytes(order_to_bytes(order)) == order


def test_what_is_said_to_an_order_comes_back() -> None:
    assert (is_new_of(DONE), is_new_of(REPEATED)) == (True, False)
    with pytest.raises(CommandRejected, match="no"):
        is_new_of(refusal_to_bytes(CommandRejected("no")))
    with pytest.raises(NotDelivered) as refused:
        is_new_of(refusal_to_bytes(NotDelivered(Refusal.TOO_LATE, "late")))
    assert (refused.value.refusal, refused.value.retry_after_s) == (Refusal.TOO_LATE, None)


@pytest.mark.parametrize(
    "batch",
    [
        RowBatch(),
        RowBatch((ROW, Resumed(at_ms=2)), 7, True, True, True, 3, b"reply", b"audit", "one two"),
        RowBatch((ROW,), 0),
    ],
)
def test_batches_come_back_as_they_were(batch: RowBatch) -> None:
    read = from_bytes(to_bytes(batch))
    assert replace(read, rows=tuple(read.rows)) == replace(batch, rows=tuple(batch.rows))


def test_a_batch_of_a_later_format_is_refused() -> None:
    with pytest.raises(UnknownFormat, match="format 9"):
        from_bytes(b"\x09" + to_bytes(RowBatch())[1:])


def test_permits_are_bounded_and_those_are_asked_about_first_that_are_out_longest() -> None:
    now_s = 0.0
    permits = Permits(2, lambda: now_s)
    assert permits.take("a")
    assert not permits.take("a"), "a repeat takes none"
    now_s = 1.0
    assert permits.take("b")
    assert permits.room == 0
    now_s = 6.0
    assert permits.longest(9, older_than_s=5.5) == ["a"]
    permits.look_later("a")
    now_s = 20.0
    assert permits.longest(9, older_than_s=5.0) == ["b", "a"]
    permits.give_back("a")
    assert (permits.room, permits.row("b")) == (1, None), "nobody has said yet that it was accepted here"
    permits.accepted("b", ROW)
    assert permits.row("b") == ROW


def test_a_key_that_restate_forgets_before_a_service_does_is_refused_at_start() -> None:
    refuse_short_memory(MESH)
    (first, *others) = MESH.services
    longer = replace(first, barrier_retention_s=max(saga.retention_s for saga in MESH.sagas) + 1)
    with pytest.raises(StartupError, match=f'saga "place_order" after 2592000 s, and service "{first.name}"'):
        refuse_short_memory(replace(MESH, services=(longer, *others)))


async def test_a_gateway_that_stops_reports_no_connection_of_an_adapter_as_an_error() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    listener = ReplyListener(lambda _: None, Address("127.0.0.1", 0))
    await listener.open()
    place = Address.parse(listener.reply_to.decode().partition(" ")[0], "reply-to")
    reader, writer = await asyncio.open_connection(place.host, place.port)
    writer.write(b"{}")
    await asyncio.sleep(0.01)  # it is being read
    listener.close()
    assert await reader.read() == b""
    await asyncio.sleep(0)
    assert not reported
    writer.close()


async def told_of(heard: list[Told], count: int) -> None:
    await eventually_async(f"{count} lines", lambda: len(heard), lambda found: found == count)


async def test_a_gateway_is_told_what_comes_while_an_adapter_reaches_it_and_at_its_end() -> None:
    heard: list[Told] = []
    listener, replies = ReplyListener(heard.append, Address("127.0.0.1", 0)), Replies()
    await listener.open()
    told = [Told(f"saga {number}", None, is_resting=True) for number in range(4)]
    try:
        replies.tell(listener.reply_to, told[0])
        replies.tell(listener.reply_to, told[1])
        await told_of(heard, 2)
        replies.tell(listener.reply_to, told[2])
        replies.tell(listener.reply_to, told[3])
        replies.close()
        await told_of(heard, 4)
        assert heard == told
    finally:
        replies.close()
        listener.close()


async def test_a_gateway_that_could_not_be_reached_is_told_once_it_can() -> None:
    heard: list[Told] = []
    gone, replies = ReplyListener(heard.append, Address("127.0.0.1", 0)), Replies()
    await gone.open()
    gone.close()
    replies.tell(gone.reply_to, Told("lost", None, is_resting=True))
    place, _, token = gone.reply_to.decode().partition(" ")
    back = ReplyListener(heard.append, Address.parse(place, "reply-to"))
    back.token = token
    await back.open()
    try:
        found = Told("found", None, is_resting=True)
        while found not in heard:  # nothing depends on a line that nobody gets
            replies.tell(gone.reply_to, found)
            await asyncio.sleep(0.01)
    finally:
        replies.close()
        back.close()


def test_rows_of_batches_put_together_are_all_rows() -> None:
    batches = [to_bytes(RowBatch([ROW])), to_bytes(RowBatch([])), to_bytes(RowBatch([RESUMED, RESUMED]))]
    together = b"".join(map(encoded_rows_in, batches))
    shown = to_state(RowBatch(at_steps="a b"), fold([ROW, RESUMED]), together)
    assert of_state(shown).rows == (ROW, RESUMED, RESUMED)
