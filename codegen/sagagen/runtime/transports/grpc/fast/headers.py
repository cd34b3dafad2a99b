"""Header compression (HPACK, RFC 7541) by jh2's compiled codec, in the place of h2's own, which is all Python.

A saga's call has some twenty headers. Writing and reading them in Python, Huffman's code bit by bit, was 40 % of what a
call costs. These take the place of `encoder` and `decoder` of h2. Huffman's code is read but not written: on a mesh's
own network a few bytes are cheaper than the work.
"""

from collections.abc import Iterable
from typing import Any

from hpack import HeaderTuple, HPACKDecodingError, OversizedHeaderListError

try:
    from jh2 import _hazmat as compiled
except (
    ImportError
):  # where jh2 has no wheel for a platform, its pure one is installed: h2 does as well as that
    compiled = None

RawHeader = tuple[bytes, bytes]


class HeaderEncoder:
    """What h2 uses of `hpack.Encoder`."""

    def __init__(self) -> None:
        assert compiled
        self._encoder = compiled.Encoder()

    @property
    def header_table_size(self) -> int:
        """In bytes, as the peer's SETTINGS allow."""
        return self._encoder.header_table_size

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        self._encoder.header_table_size = size

    def encode(self, headers: Iterable[RawHeader]) -> bytes:
        return self._encoder.encode([(name, value, False) for name, value in headers], False)

    def encode_text(self, headers: Iterable[tuple[str, str]]) -> bytes:
        return self._encoder.encode(
            [(name.encode(), value.encode(), False) for name, value in headers], False
        )


class HeaderDecoder:
    """What h2 uses of `hpack.Decoder`; errors are those of hpack, which h2 turns into errors of the connection."""

    def __init__(self, max_header_list_size: int) -> None:
        assert compiled
        self._compiled = compiled
        self._decoder = compiled.Decoder(max_header_list_size)

    @property
    def max_header_list_size(self) -> int:
        """In bytes; one header block may not be larger when it is unpacked."""
        return self._decoder.max_header_list_size

    @max_header_list_size.setter
    def max_header_list_size(self, size: int) -> None:
        self._decoder.max_header_list_size = size

    @property
    def max_allowed_table_size(self) -> int:
        """In bytes, as our SETTINGS allow the peer."""
        return self._decoder.max_allowed_table_size

    @max_allowed_table_size.setter
    def max_allowed_table_size(self, size: int) -> None:
        self._decoder.max_allowed_table_size = size

    def decode(self, data: bytes, raw: bool = True) -> list[HeaderTuple]:
        """Raises OversizedHeaderListError, or HPACKDecodingError for all else that is wrong with `data`."""
        return [HeaderTuple(name, value) for name, value, _ in self._decode(bytes(data), raw)]

    def decode_text(self, data: bytes) -> list[tuple[str, str]]:
        """As UTF-8; an error as with `decode` where it is none."""
        return [(name, value) for name, value, _ in self._decode(data, False)]

    def _decode(self, data: bytes, raw: bool) -> list[tuple[Any, Any, bool]]:
        try:
            return self._decoder.decode(data, raw)
        except self._compiled.OversizedHeaderListError as error:
            raise OversizedHeaderListError(str(error)) from error
        except self._compiled.HPACKError as error:
            raise HPACKDecodingError(str(error)) from error
        except BaseException as error:
            # Data that ends in the middle of a string makes the Rust below panic, which is no Exception in Python.
            if type(error).__name__ != "PanicException":
                raise
            raise HPACKDecodingError("the header block is cut short") from error
