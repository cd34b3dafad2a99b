"""Emitted messages on the wire: the same bytes as betterproto2's own methods, and as google.protobuf's own classes."""

import contextlib
import copy
import datetime as dt
import sqlite3
from typing import Any, cast

import betterproto2
import pytest
from google.protobuf.message import Message as NativeMessage
from hypothesis import given
from hypothesis import strategies as st

from generated.mesh import MESH
from generated.pb.shop.inventory.v1 import GetStockResponse, ReserveStockRequest, StockLine
from generated.pb.shop.order.v1 import Order, OrderItem, OrderStatus
from sagagen.runtime.messages.exact_times import duration, duration_parts, timestamp
from sagagen.runtime.messages.schema import Schema

SCHEMA = Schema(MESH.descriptors.read_bytes())
NATIVE = SCHEMA.message_type("shop.order.v1.Order")

int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=st.just(dt.UTC))  # noqa: DTZ001 - hypothesis adds the zone
items = st.builds(OrderItem, product_id=text, quantity=int32, unit_price_minor=int64)
orders = st.builds(
    Order,
    order_id=text,
    customer_id=text,
    status=st.sampled_from(OrderStatus) | st.integers(4, 2**31 - 1).map(OrderStatus),
    items=st.lists(items, max_size=3),
    total_minor=int64,
    cancel_reason=st.none() | text,
    create_time=st.none() | moments,
    update_time=st.none() | moments,
)


@given(orders)
def test_what_is_written_is_read_again(order: Order):
    assert Order.parse(bytes(order)) == order


@given(orders)
def test_betterproto2_writes_the_same_bytes(order: Order):
    assert bytes(order) == _of_betterproto2(order)


@given(orders)
def test_betterproto2_reads_what_is_written(order: Order):
    read = Order()
    read.load(_Stream(bytes(order)))
    assert read == order


@given(orders)
def test_google_protobufs_own_class_writes_the_same_bytes(order: Order):
    native: NativeMessage = NATIVE.FromString(bytes(order))
    assert native.SerializeToString(deterministic=True) == bytes(order)


sparse = st.fixed_dictionaries(
    {},
    optional={
        "order_id": st.just(""),
        "status": st.sampled_from([OrderStatus.STATUS_UNSPECIFIED, OrderStatus.PENDING]),
        "items": st.lists(st.just(OrderItem()), max_size=1),
        "total_minor": st.integers(0, 1),
        "cancel_reason": st.sampled_from([None, "", "x"]),
        "create_time": st.none() | moments,
    },
).map(lambda members: Order(**cast(dict[str, Any], members)))


@given(sparse | orders)
def test_it_is_true_where_betterproto2_says_that_it_is(order: Order):
    assert bool(order) == betterproto2.Message.__bool__(order)
    assert (repr(order) == "Order()") == (not order)


@given(st.lists(st.tuples(text, int32), max_size=3))
def test_nested_lists_arrive_in_order(lines: list[tuple[str, int]]):
    request = ReserveStockRequest("o", [StockLine(product, quantity) for product, quantity in lines])
    assert ReserveStockRequest.parse(bytes(request)) == request


def test_a_field_of_a_newer_contract_is_passed_on():
    newer = bytes(OrderItem("apple", 1)) + b"\xa2\x06\x03new"
    assert bytes(OrderItem.parse(newer)) == newer
    nested = Order.parse(b"\x22" + bytes([len(newer)]) + newer)
    assert bytes(nested.items[0]) == newer
    assert bytes(nested) == b"\x22" + bytes([len(newer)]) + newer


LONGEST_S = 315_576_000_000
"""Of a google.protobuf.Duration: ten thousand years."""
nanos = st.integers(-999_999_999, 999_999_999)


@given(st.integers(-62135596799, 253402300798), nanos)
def test_a_time_that_is_passed_on_keeps_every_bit(seconds: int, nanos: int):
    """Nanoseconds, which `datetime` has not, and negative ones, which no Timestamp may have."""
    original = _timed(seconds=seconds, nanos=nanos)
    order = Order.parse(original)
    assert bytes(order) == original
    assert order.create_time
    assert bytes(Order(create_time=order.create_time)) == original
    assert bytes(copy.deepcopy(order)) == bytes(copy.copy(order)) == original
    near = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds, microseconds=nanos // 1000)
    assert order.create_time == near
    computed = order.create_time + dt.timedelta()
    assert bytes(Order(create_time=computed)) == bytes(Order(create_time=near)), "it is Python's own again"


@given(st.integers(-LONGEST_S, LONGEST_S), nanos)
def test_a_duration_that_is_passed_on_keeps_every_bit(seconds: int, nanos: int):
    length = duration(seconds, nanos)
    assert duration_parts(length) == duration_parts(copy.deepcopy(length)) == (seconds, nanos)
    assert abs(length - dt.timedelta(seconds=seconds, microseconds=nanos / 1000)) <= dt.timedelta(
        microseconds=1
    )


@given(st.timedeltas(dt.timedelta(seconds=-LONGEST_S), dt.timedelta(seconds=LONGEST_S)))
def test_a_duration_of_pythons_own_has_parts_of_one_sign(length: dt.timedelta):
    seconds, nanos = duration_parts(length)
    assert seconds * nanos >= 0
    assert duration(seconds, nanos) == length


def test_sqlite_takes_a_time_with_nanoseconds_like_any_other():
    exact = timestamp(0, 123_456_789)
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        assert db.execute("SELECT ?", (exact,)).fetchone() == ("1970-01-01 00:00:00.123456+00:00",)


def _timed(*, seconds: int, nanos: int) -> bytes:
    native: Any = NATIVE()
    native.create_time.SetInParent()
    native.create_time.seconds, native.create_time.nanos = seconds, nanos
    return native.SerializeToString(deterministic=True)


def test_a_status_of_a_newer_contract_is_passed_on():
    assert bytes(Order.parse(b"\x18\x63")) == b"\x18\x63"


def test_an_optional_field_that_is_set_to_its_default_stays_set():
    assert Order.parse(bytes(Order(cancel_reason=""))).cancel_reason == ""
    assert Order.parse(bytes(Order())).cancel_reason is None


@pytest.mark.parametrize(
    ("message", "error", "place"),
    [
        (OrderItem(quantity=2**31), ValueError, "OrderItem.quantity"),
        (OrderItem(unit_price_minor=-(2**63) - 1), ValueError, "OrderItem.unit_price_minor"),
        (Order(items=[OrderItem(quantity=2**31)]), ValueError, "OrderItem.quantity"),
        (GetStockResponse(product_id=5), TypeError, "GetStockResponse.product_id"),  # pyright: ignore[reportArgumentType]
        (Order(create_time=dt.datetime(2026, 1, 1)), ValueError, "Order.create_time: .*time zone"),  # noqa: DTZ001 - that is the mistake
        (Order(create_time=5), TypeError, "Order.create_time: datetime expected"),  # pyright: ignore[reportArgumentType]
        (Order(items=[StockLine("apple", 1)]), TypeError, "Order.items"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_field(
    message: betterproto2.Message, error: type[Exception], place: str
):
    with pytest.raises(error, match=place):
        bytes(message)


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x0a\x01\xff"])
def test_bytes_that_encode_no_message_raise(data: bytes):
    with pytest.raises(ValueError, match="no encoded Order"):
        Order.parse(data)


class _Stream:
    """What betterproto2's own reader reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1, /) -> bytes:
        cut = len(self._data) if size < 0 else size
        read, self._data = self._data[:cut], self._data[cut:]
        return read


def _of_betterproto2(message: Any) -> bytes:
    """With the nested messages' bytes from here too: they come by way of `bytes()`."""
    return betterproto2.Message.__bytes__(message)
