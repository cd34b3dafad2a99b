"""What every answer says to browsers and caches, whoever made it.

An answer of an API is nobody's page and no proxy's copy: its type is what it says (`nosniff`), and it is not kept
(`no-store`) unless whoever made it says otherwise, as the files of /docs do. docs/decisions/218-origins-and-headers.md
"""

from collections.abc import Iterable

RawHeader = tuple[bytes, bytes]

_NOSNIFF: RawHeader = (b"x-content-type-options", b"nosniff")
_NO_STORE: RawHeader = (b"cache-control", b"no-store")
STRICT_TRANSPORT: RawHeader = (b"strict-transport-security", b"max-age=31536000")
"""RFC 6797: for a year this host is asked by https alone. Only to be said over https (section 7.2)."""

LINES = tuple(f"{name.decode()}: {value.decode()}" for name, value in (_NOSNIFF, _NO_STORE))
"""The same, for answers that are written as text."""


def with_defaults(headers: Iterable[RawHeader], *, is_secure: bool) -> list[RawHeader]:
    """The headers of an answer, by lower-case names, and those of these that it lacks. `is_secure`: over https."""
    added = [*headers]
    names = {name for name, _ in added}
    if _NOSNIFF[0] not in names:
        added.append(_NOSNIFF)
    if _NO_STORE[0] not in names:
        added.append(_NO_STORE)
    if is_secure and STRICT_TRANSPORT[0] not in names:
        added.append(STRICT_TRANSPORT)
    return added
