"""A token (JWT, RFC 7519): its parts, its signature, and whom it makes of its bearer.

Nothing is done that a token's header asks for: keys are found by `kid` among the issuer's own, and `jku`, `x5u`, `x5c`
and `jwk` are not read. The best practice is RFC 8725.
"""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from sagagen.runtime.access.key_set import PublicKey
from sagagen.runtime.model.security import DEFAULT_CLAIMS, ClaimType, ClaimValue, OidcScheme

MAX_TOKEN_BYTES = 8 * 1024
SKEW_S = 60
"""Seconds by which the issuer's clock and this machine's may differ."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_MAX_INT = 1 << 63


class NotBelieved(Exception):
    """Why a token is not believed. The text repeats nothing of it but names of claims."""


@dataclass(frozen=True, slots=True)
class Token:
    """What stands in it. Nothing of that is believed before `check_signature`."""

    algorithm: str
    key_id: str
    payload: Mapping[str, Any]
    signed: bytes
    signature: bytes

    @property
    def issuer(self) -> object:
        return self.payload.get("iss")

    def check_signature(self, key: PublicKey) -> None:
        """Raises NotBelieved."""
        if not key.verifies(self.algorithm, self.signed, self.signature):
            raise NotBelieved("its signature is wrong")


@dataclass(frozen=True, slots=True)
class Bearer:
    """The caller that a token speaks of."""

    id: str
    scopes: frozenset[str]
    claims: Mapping[str, ClaimValue]
    expires_s: float
    """The last moment at which it is good, by this machine's clock."""


def parse(text: str) -> Token:
    """Raises NotBelieved for what is no signed token in compact form (RFC 7515, 3.1)."""
    if len(text) > MAX_TOKEN_BYTES:
        raise NotBelieved(f"it has more than {MAX_TOKEN_BYTES} bytes")
    if not _COMPACT.fullmatch(text):
        raise NotBelieved("it is no signed token (a JWS in compact form)")
    signed, _, signature = text.rpartition(".")
    header, _, payload = signed.partition(".")
    head = _object(header, "header")
    algorithm, key_id, type_ = head.get("alg"), head.get("kid", ""), head.get("typ", "JWT")
    if "crit" in head:
        raise NotBelieved("its header has extensions (`crit`) that are not understood")
    if not isinstance(algorithm, str) or not isinstance(key_id, str):
        raise NotBelieved("its header names no algorithm, or no key")
    if not isinstance(type_, str) or type_.lower() not in _TYPES:
        raise NotBelieved("its `typ` is not that of an access token")
    return Token(algorithm, key_id, _object(payload, "payload"), signed.encode(), _bytes(signature))


def bearer_of(token: Token, scheme: OidcScheme, known: Mapping[str, ClaimType], now_s: float) -> Bearer:
    """The caller of a token whose signature is right. `known` are the claims of the contract.

    Raises NotBelieved where it is for somebody else, not good now, or lacks what the contract needs.
    """
    payload = token.payload
    if payload.get("iss") != scheme.issuer:
        raise NotBelieved("its issuer (`iss`) is another")
    audience = payload.get("aud")
    audiences = cast(list[object], audience) if isinstance(audience, list) else [audience]
    if scheme.audience not in audiences:
        raise NotBelieved("it is for another audience (`aud`)")
    expires_s = _check_times(payload, now_s)
    caller = payload.get(scheme.caller)
    if not isinstance(caller, str) or not _is_text(caller) or not caller:
        raise NotBelieved(f"it does not name the caller: `{scheme.caller}` is no text")
    claims = {name: _claim(payload, scheme, name, type_) for name, type_ in known.items()}
    return Bearer(caller, _scopes(payload), claims, expires_s)


def _check_times(payload: Mapping[str, Any], now_s: float) -> float:
    expires = _time(payload, "exp")
    if expires is None:
        raise NotBelieved("it never expires (`exp` is missing)")
    if now_s >= expires + SKEW_S:
        raise NotBelieved("it has expired (`exp`)")
    begins, issued = _time(payload, "nbf"), _time(payload, "iat")
    if begins is not None and now_s < begins - SKEW_S:
        raise NotBelieved("it is not good yet (`nbf`)")
    if issued is not None and now_s < issued - SKEW_S:
        raise NotBelieved("it was issued in the future (`iat`)")
    return expires + SKEW_S


def _time(payload: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate, seconds since the epoch; None if it is not there."""
    if name not in payload:
        return None
    value: object = payload[name]
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:  # NaN is not
        return float(value)
    raise NotBelieved(f"`{name}` is no time")


def _scopes(payload: Mapping[str, Any]) -> frozenset[str]:
    """`scope` (RFC 8693, 4.2), or `scp`, which some issuers have in its place."""
    found: set[str] = set()
    for name in ("scope", "scp"):
        value = payload.get(name, "")
        if isinstance(value, str):
            found.update(value.split())
        elif name == "scp" and _is_list_of_texts(value):
            found.update(cast(list[str], value))
        else:
            raise NotBelieved(f"`{name}` is no text of scopes")
    return frozenset(found)


def _claim(payload: Mapping[str, Any], scheme: OidcScheme, name: str, type_: ClaimType) -> ClaimValue:
    """A claim that is there has the contract's type: what a rule takes for missing may be what it forbids."""
    value = payload.get(name) if name in scheme.claims else None
    if value is None:
        return DEFAULT_CLAIMS[type_]
    match type_:
        case "string" if isinstance(value, str) and _is_text(value):
            return value
        case "bool" if isinstance(value, bool):
            return value
        case "int" if type(value) is int and -_MAX_INT <= value < _MAX_INT:
            return value
        case "list(string)" if _is_list_of_texts(value):
            return tuple(cast(list[str], value))
        case _:
            raise NotBelieved(f"its claim `{name}` is no {type_}, as the contract says")


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, str) and _is_text(each) for each in cast(list[object], value)
    )


def _is_text(value: str) -> bool:
    """Half a surrogate pair can't be written anywhere."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _object(part: str, what: str) -> Mapping[str, Any]:
    try:
        found: object = json.loads(_bytes(part))
    except (ValueError, RecursionError):
        raise NotBelieved(f"its {what} is no JSON") from None
    if not isinstance(found, dict):
        raise NotBelieved(f"its {what} is no JSON object")
    return cast(dict[str, Any], found)


def _bytes(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise NotBelieved("it is no base64url") from None
