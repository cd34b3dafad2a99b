"""Claims of a caller as text: in the saga log, and in the metadata of calls.

The text is canonical JSON: members in order of their names, no blanks, and only what is not its type's default. Equal
claims have equal texts, no claims are the empty text, and an earlier reader finds what a later one does.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import cast

from sagagen.runtime.model.security import MAX_CLAIMS_BYTES, ClaimValue
from sagagen.runtime.rpc.texts import decoded, encoded

CLAIMS = "sagagen-claims"
"""The metadata entry: percent-encoded, and left out where there are none."""
NO_CLAIMS: Mapping[str, ClaimValue] = MappingProxyType({})

_MAX_INT = 1 << 63


class ClaimsTooLong(ValueError):
    """Services are told with each call, so a caller's claims have at most MAX_CLAIMS_BYTES."""


def canonical(claims: Mapping[str, ClaimValue]) -> str:
    """Raises ClaimsTooLong, and ValueError for what is no text of Unicode or no number of 64 bits."""
    told = {name: value for name, value in claims.items() if value}
    if not told:
        return ""
    if wrong := next((name for name, value in told.items() if not _is_claim(value)), ""):
        raise ValueError(f"the claim {wrong} is no text, bool, list of texts, or integer of 64 bits")
    text = json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    length = len(encoded(text))  # its UnicodeEncodeError is a ValueError
    if length > MAX_CLAIMS_BYTES:
        raise ClaimsTooLong(
            f"the claims have {length} bytes as they are sent, at most {MAX_CLAIMS_BYTES} are"
        )
    return text


def claims_of(text: str) -> Mapping[str, ClaimValue]:
    """What `canonical` has written. Raises ValueError for what it never writes."""
    return _claims_of(text) if text else NO_CLAIMS


def claims_entry(text: str) -> str:
    """What stands for canonical claims in metadata."""
    return _entry(text)


def claims_told(metadata: Mapping[str, str]) -> str:
    """The canonical claims in a call's metadata; empty if there are none. Raises ValueError for a broken entry.

    Anybody may have written it: what is returned is of a bounded size, and `claims_of` takes it.
    """
    value = metadata.get(CLAIMS, "")
    if not value:
        return ""
    text = _told(value) if len(value) <= MAX_CLAIMS_BYTES else None
    if text is None:
        raise ValueError(f"{CLAIMS} is percent-encoded JSON of at most {MAX_CLAIMS_BYTES} bytes")
    return text


@lru_cache(maxsize=1024)
def _entry(text: str) -> str:
    """The same caller starts many sagas, of many calls."""
    return encoded(text)


@lru_cache(maxsize=1024)
def _told(value: str) -> str | None:
    text = decoded(value)
    if text is None:
        return None
    try:
        _claims_of(text)
    except ValueError:
        return None
    return text


@lru_cache(maxsize=1024)
def _claims_of(text: str) -> Mapping[str, ClaimValue]:
    try:
        members: object = json.loads(text)
    except RecursionError as error:
        raise ValueError("claims are no list of lists") from error
    if not isinstance(members, dict):
        raise ValueError("claims are a JSON object")
    found: dict[str, ClaimValue] = {}
    for name, value in cast(dict[str, object], members).items():
        claim: object = tuple(cast(list[object], value)) if isinstance(value, list) else value
        if not _is_claim(claim):
            raise ValueError(f"the claim {name!a} has no type that claims have")
        found[name] = cast(ClaimValue, claim)
    return MappingProxyType(found)


def _is_claim(value: object) -> bool:
    match value:
        case str() | bool():
            return True
        case int():
            return -_MAX_INT <= value < _MAX_INT
        case tuple():
            return all(isinstance(each, str) for each in cast(tuple[object, ...], value))
        case _:
            return False
