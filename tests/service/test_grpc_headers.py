"""The compiled header codec says what hpack says, and turns what is wrong into hpack's errors."""

from contextlib import suppress

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagagen.runtime.transports.grpc.fast.headers import HeaderDecoder, HeaderEncoder

LIMIT = 2**16
names = st.sampled_from([b":path", b"content-type", b"grpc-status", b"sagagen-step", b"x"]) | st.binary(
    min_size=1, max_size=20
)
blocks = st.lists(st.lists(st.tuples(names, st.binary(max_size=60)), min_size=1, max_size=25), max_size=8)


@given(blocks)
def test_hpack_reads_what_is_written(sent: list[list[tuple[bytes, bytes]]]) -> None:
    encoder, peer = HeaderEncoder(), hpack.Decoder()
    for headers in sent:
        assert peer.decode(encoder.encode(headers), raw=True) == headers


@given(blocks, st.booleans())
def test_what_hpack_writes_is_read(sent: list[list[tuple[bytes, bytes]]], huffman: bool) -> None:
    peer, decoder = hpack.Encoder(), HeaderDecoder(LIMIT)
    for headers in sent:
        received = decoder.decode(peer.encode(headers, huffman))
        assert received == headers
        assert all(isinstance(header, hpack.HeaderTuple) for header in received)


@given(blocks, st.integers(0, 4096))
def test_a_peer_may_shrink_the_table(sent: list[list[tuple[bytes, bytes]]], size: int) -> None:
    encoder, peer = HeaderEncoder(), hpack.Decoder()
    for number, headers in enumerate(sent):
        if number == 1:
            encoder.header_table_size = size
        assert peer.decode(encoder.encode(headers), raw=True) == headers
    assert encoder.header_table_size in (size, 4096)


@given(st.binary(max_size=40))
def test_any_bytes_are_headers_or_an_error_that_h2_knows(data: bytes) -> None:
    with suppress(hpack.HPACKError):
        HeaderDecoder(LIMIT).decode(data)


@pytest.mark.parametrize(
    "data", [b"\x80", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\x00\x7f", b"\x3f\xe1\xff\x7f"]
)
def test_a_broken_block_is_a_decoding_error(data: bytes) -> None:
    with pytest.raises(hpack.HPACKDecodingError):
        HeaderDecoder(LIMIT).decode(data)


def test_headers_that_unpack_to_more_than_the_limit_are_refused() -> None:
    large = hpack.Encoder().encode([(b"a", b"b" * 200)], huffman=True)
    with pytest.raises(hpack.OversizedHeaderListError):
        HeaderDecoder(100).decode(large)
