"""What gRPC lets over the wire, kept by both transports, and the codecs that leave messages as the bytes they are."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from grpclib.const import Status as Code
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.encoding.proto import ProtoCodec

from sagagen.runtime.rpc.errors import FieldViolation, RpcError
from sagagen.runtime.rpc.transport import MAX_MESSAGE_BYTES

_KEY = re.compile(r"[0-9a-z_.\-]+")
_MESSAGE_CHARACTERS = 1024
_DETAILS_BYTES = 8 * 1024
"""What gRPC's implementations accept as trailers by default."""
_RESERVED = frozenset({"te", "content-type", "user-agent"})


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raises RpcError INTERNAL for an entry that gRPC can't carry (gRPC over HTTP/2, "Custom-Metadata").

    Names are lower case and not gRPC's own; values are printable ASCII and not empty. Values are not repeated in the
    error, since they may be secret.
    """
    values = metadata.values()
    if _are_names(tuple(metadata)) and all(values) and _is_printable_ascii("".join(values)):
        return
    for name, value in metadata.items():
        if not _is_name(name):
            raise RpcError(Code.INTERNAL, f"{name!r} is no name for a metadata entry")
        if not (value and _is_printable_ascii(value)):
            raise RpcError(
                Code.INTERNAL, f"the value of metadata entry {name!r} is not printable ASCII, or empty"
            )


def _is_printable_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable()


@lru_cache(maxsize=64)
def _are_names(names: tuple[str, ...]) -> bool:
    """Every call of a kind has the same."""
    return all(map(_is_name, names))


@lru_cache(maxsize=256)
def _is_name(name: str) -> bool:
    is_ours = name not in _RESERVED and not name.startswith("grpc-") and not name.endswith("-bin")
    return is_ours and _KEY.fullmatch(name) is not None


def check_size(length: int) -> None:
    """Raises RpcError RESOURCE_EXHAUSTED for an encoded message beyond gRPC's default limit of 4 MiB."""
    if length > MAX_MESSAGE_BYTES:
        raise RpcError(
            Code.RESOURCE_EXHAUSTED,
            f"a message of {length} bytes is more than the limit of {MAX_MESSAGE_BYTES}",
        )


def wire_form(error: RpcError) -> tuple[str, bytes]:
    """An error's message and `grpc-status-details-bin`, cut to what fits in trailers.

    Trailers beyond what the other side accepts would end the whole connection, with every call on it.
    """
    message = error.message.encode(errors="replace").decode()
    if len(message) > _MESSAGE_CHARACTERS:
        message = message[: _MESSAGE_CHARACTERS - 1] + "…"
    kept = _with(error, message, error.violations, error.metadata)
    while (details := kept.to_status().SerializeToString()) and len(details) > _DETAILS_BYTES:
        fewer = kept.violations[: len(kept.violations) // 2]
        kept = _with(error, message, fewer, kept.metadata if kept.violations else {})
        if not fewer and not kept.metadata:
            break
    return message, details


def _with(
    error: RpcError, message: str, violations: Iterable[FieldViolation], metadata: Mapping[str, str]
) -> RpcError:
    return RpcError(
        error.code,
        message,
        reason=error.reason,
        domain=error.domain,
        metadata=metadata,
        retry_after_s=error.retry_after_s,
        violations=violations,
    )


def text_entries(metadata: Mapping[str, str | bytes] | None) -> dict[str, str]:
    """The entries that are text; binary ones (`-bin`) are left out, since no code here reads them."""
    return {name: value for name, value in (metadata or {}).items() if isinstance(value, str)}


class PassThrough(ProtoCodec):
    """Encoded messages stay as they are; google.protobuf messages (health, reflection) are encoded as usual."""

    def encode(self, message: Any, message_type: Any) -> bytes:
        return message if message_type is bytes else message.SerializeToString()

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data if message_type is bytes else message_type.FromString(data)


class RawDetails(StatusDetailsCodecBase):
    """`grpc-status-details-bin` as the bytes of a google.rpc.Status; grpclib's own codec needs each type's class."""

    def encode(self, status: Code, message: str | None, details: Any) -> bytes:
        return details

    def decode(self, status: Code, message: str | None, data: bytes) -> bytes:
        return data
