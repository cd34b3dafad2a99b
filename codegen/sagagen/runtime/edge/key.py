"""The idempotency key of a request: `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07) and the older
`X-Idempotency-Key` are one header, and a key is the same whether it is quoted or bare."""

import re
from typing import TYPE_CHECKING

from sagagen.runtime.edge.problem import ProblemError, invalid
from sagagen.runtime.model.definition import MAX_KEY_LENGTH

if TYPE_CHECKING:
    from starlette.datastructures import Headers

NAMES = ("idempotency-key", "x-idempotency-key")

_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_STRING = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
"""sf-string of RFC 8941, section 3.3.3."""
_ESCAPE = re.compile(r'\\(["\\])')


def idempotency_key(headers: "Headers") -> str:
    """The key of a request, or empty. Raises ProblemError for one that is malformed or ambiguous: 400."""
    keys = {_parse(value) for name in NAMES for value in headers.getlist(name)}
    if len(keys) > 1:
        raise _invalid("the request has several idempotency keys, and they differ")
    return keys.pop() if keys else ""


def missing_key() -> ProblemError:
    return invalid(
        "IDEMPOTENCY_KEY_MISSING",
        "this request needs the header Idempotency-Key: a text of your choice that names it, for example a UUID, "
        "so that sending it again has no second effect",
    )


def _parse(value: str) -> str:
    text = value.strip(" \t")
    key = _unquoted(text) if text.startswith('"') else text
    if not _PRINTABLE.fullmatch(key):
        raise _invalid("an idempotency key is printable ASCII and not empty")
    if len(key) > MAX_KEY_LENGTH:
        raise _invalid(f"an idempotency key has at most {MAX_KEY_LENGTH} characters; this one has {len(key)}")
    return key


def _unquoted(text: str) -> str:
    string = _STRING.fullmatch(text)
    if not string:
        raise _invalid("the idempotency key starts with a quote but is no quoted string")
    return _ESCAPE.sub(r"\1", string[1])


def _invalid(detail: str) -> ProblemError:
    return invalid("IDEMPOTENCY_KEY_INVALID", detail)
