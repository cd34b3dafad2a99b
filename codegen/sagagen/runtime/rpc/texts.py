"""Texts of any characters in gRPC metadata, which carry visible ASCII: what is none, and `%`, is percent-encoded UTF-8.

RFC 3986, section 2.1, as gRPC itself writes `grpc-message`. A space is encoded as well, since those at a value's ends
get lost on the way.
"""

from functools import lru_cache
from string import ascii_letters, digits, punctuation
from urllib.parse import quote, unquote_to_bytes

_AS_THEY_ARE = (ascii_letters + digits + punctuation).replace("%", "")


@lru_cache(maxsize=1024)
def encoded(text: str) -> str:
    """What stands for the text in metadata. Raises UnicodeEncodeError for half a surrogate pair."""
    return quote(text, safe=_AS_THEY_ARE)


@lru_cache(maxsize=1024)
def decoded(value: str) -> str | None:
    """The text that `encoded` made the value of, or None. A text has one value: `%41` is none, A stands for itself."""
    try:
        text = unquote_to_bytes(value).decode()
        return text if encoded(text) == value else None
    except UnicodeError:
        return None
