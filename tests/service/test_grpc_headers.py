"""Header blocks of our own, read by hpack's decoder."""

from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from sagagen.runtime.grpc_headers import VARYING, HeaderEncoder

_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=300)
_names = st.sampled_from([name.decode() for name in VARYING]) | st.sampled_from(
    [":method", ":path", "te", "content-type", "sagagen-kind", "sagagen-step", "user-agent"]
)


@given(st.lists(st.lists(st.tuples(_names, _values), max_size=12), max_size=6), st.booleans())
def test_blocks_of_one_connection_are_read_as_they_were_sent(
    blocks: list[list[tuple[str, str]]], is_shrunk: bool
) -> None:
    encoder, decoder = HeaderEncoder(), Decoder()
    decoder.max_header_list_size = 1 << 20
    for number, headers in enumerate(blocks):
        if is_shrunk and number == 1:
            encoder.header_table_size = 64
        read = decoder.decode(encoder.encode(headers))
        assert [tuple(header) for header in read] == headers


def test_what_differs_in_every_call_is_kept_out_of_the_table() -> None:
    encoder = HeaderEncoder()
    encoder.encode([(name.decode(), "x") for name in VARYING])
    assert not encoder.header_table.dynamic_entries


def test_what_repeats_is_sent_as_an_index() -> None:
    encoder = HeaderEncoder()
    encoder.encode([("sagagen-kind", "pivot")])
    assert len(encoder.encode([("sagagen-kind", "pivot")])) == 1
