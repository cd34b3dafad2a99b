"""What has come on a stream and was not read yet: kept as grpclib's Buffer keeps it."""

import asyncio

import pytest
from grpclib.protocol import Buffer
from hypothesis import given
from hypothesis import strategies as st
from waiting import LIMIT_S

from sagagen.runtime.transports.grpc.fast.streams import Incoming

FRAMES = st.tuples(st.binary(min_size=1, max_size=20), st.integers(0, 3))
"""Data, and bytes of padding: flow control counts both."""
WAITS = "waits"


def read_now(kept: Buffer | Incoming, size: int) -> bytes | str:
    """What is read, or why nothing is."""
    reading = kept.read(size)
    try:
        reading.send(None)
    except StopIteration as done:
        return done.value
    except AssertionError as error:
        return str(error)
    reading.close()
    return WAITS


@given(
    frames=st.lists(FRAMES, max_size=6), ends=st.booleans(), sizes=st.lists(st.integers(0, 30), max_size=8)
)
async def test_it_is_read_and_acknowledged_as_in_grpclibs(
    frames: list[tuple[bytes, int]], ends: bool, sizes: list[int]
) -> None:
    outcomes: list[object] = []
    for make in (Buffer, Incoming):
        acknowledged: list[int] = []
        kept = make(acknowledged.append)
        for data, padding in frames:
            kept.add(data, len(data) + padding)
        if ends:
            kept.eof()
        found: list[bytes | str] = []
        while len(found) < len(sizes) and not (found and isinstance(found[-1], str)):
            found.append(read_now(kept, sizes[len(found)]))
        outcomes.append((found, acknowledged, kept.unacked_size(), kept.unacked_size()))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("ending", [b"def", b""])
async def test_a_reader_waits_for_what_it_wants_or_for_the_end(ending: bytes) -> None:
    acknowledged: list[int] = []
    incoming = Incoming(acknowledged.append)
    reading = asyncio.create_task(incoming.read(5))
    await asyncio.sleep(0)
    incoming.add(b"abc", 10)
    incoming.add(b"", 0)  # says nothing, not even that the stream ends
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not reading.done()
    assert acknowledged == [10], "the sender may go on"
    incoming.add(ending, len(ending))
    incoming.eof()
    async with asyncio.timeout(LIMIT_S):
        if ending:
            assert await reading == b"abcde"
            assert acknowledged == [10, 3]
        else:
            with pytest.raises(AssertionError, match="less data"):
                await reading


async def test_who_stops_waiting_leaves_it_as_it_is() -> None:
    incoming = Incoming(lambda _: None)
    reading = asyncio.create_task(incoming.read(3))
    await asyncio.sleep(0)
    reading.cancel()
    incoming.add(b"abc", 3)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert reading.cancelled()
    assert await incoming.read(3) == b"abc"
